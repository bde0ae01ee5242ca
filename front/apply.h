/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply.h - the rules in force: what the kernel's table and its maps hold, and the way from there to another plan. Used by frontend.c.
 * Trust: as in table.h. Plans are rules.c's.
 *
 * What nftables refuses leaves what was there; it is said once, and tried again, then less often.
 */
#ifndef MW_FRONT_APPLY_H
#define MW_FRONT_APPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "front/rules.h"

/* 0 or -ENOMEM. */
int apply_open(const char *name);

/* The table that an earlier frontend left, which is taken over; NULL: there is none. Valid until the next call. */
const char *apply_find(void);

/* False: what was refused rests. */
bool apply_is_due(int64_t now_ms);

/* The plan is in force, unless something refuses it. */
void apply_rules(const struct rules *r);
/* Or it is printed. */
bool apply_print(const struct rules *r);

/* A plan of ours is in force. */
bool apply_is_done(void);

/* Who reloads a firewall may flush our table too: then all is made again with the next plan. */
void apply_look(int64_t now_ms);

/* `remove`: the table too. 0, or -EIO, which was said. */
int apply_close(bool remove);

#endif
