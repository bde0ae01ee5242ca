/* SPDX-License-Identifier: Apache-2.0 */
/*
 * starter.h - the process that makes workers, at the keeper's order. Used by ins/.
 * Trust: as in starter.c.
 */
#ifndef MW_INS_STARTER_H
#define MW_INS_STARTER_H

#include "ins/ins.h"

int starter_pair(void); /* of one that is taken over: before the old one has gone */
int starter_begin(void (*work)(void)); /* in a process of its own. 0 or -errno */
pid_t starter_worker(void);            /* another one's process, or -1 */
void starter_end(void);

#endif
