/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.h - the process that holds everything and starts workers. Used by ins/.
 * Trust: as in keeper.c.
 */
#ifndef MW_INS_KEEPER_H
#define MW_INS_KEEPER_H

#include "ins/ins.h"

int keeper_init(void);
void keeper_poke(void);               /* journal->unwatched, and there is work */
int keeper(void (*work)(void)); /* runs it in a process of its own, and again when that dies; the INS's exit status */

#endif
