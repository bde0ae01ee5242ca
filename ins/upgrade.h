/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade.h - the INS moves to another program. Used by ins/.
 * Trust: as in upgrade.c.
 */
#ifndef MW_INS_UPGRADE_H
#define MW_INS_UPGRADE_H

#include "ins/ins.h"

void upgrade_ask(int fd);       /* the worker: to be handed over there, at the end of this loop */
void upgrade_due(void);         /* ... which it is: may not return */
bool upgrade_give(void);        /* the keeper: the next program has it. False: it does not, and never will */
void upgrade_take(void);        /* the next program's keeper: returns when it has it */

#endif
