/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steps.h - from one table to another so that every connection meanwhile finds its rule. Pure, text to text. Used by apply.c.
 * Trust: `plan` and `maps` are rules.c's; `old` is what nftables shows, or an earlier plan. Of it only names are used, of nft's letters.
 *
 * A transaction of nftables is atomic, but a packet on its way through it is not: it may take its rule from before and a map's element
 * from after. So what is gone to must be there before, and go after:
 *   ADD     chains and maps that are new; nobody goes there yet
 *   SWITCH  what the others say, and what maps hold
 *   DROP    chains and maps that are left
 * In place of all that a table deleted and made anew in one transaction loses one in some 15,000 connections (seen).
 */
#ifndef MW_FRONT_STEPS_H
#define MW_FRONT_STEPS_H

#include <stdio.h>

enum steps_step { STEPS_ADD, STEPS_SWITCH, STEPS_DROP, STEPS_COUNT };

/* Writes one step, or nothing if there is nothing to do. */
void steps_write(FILE *out, enum steps_step step, const char *name, const char *plan, const char *maps, const char *old);

#endif
