/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h - what an INS gives up before it serves anybody. Used by ins/.
 * Trust: as in sandbox.c.
 */
#ifndef MW_INS_SANDBOX_H
#define MW_INS_SANDBOX_H

#include "ins/ins.h"

int sandbox_enter(const char **what); /* for all: the starter's */
int sandbox_keeper(void);             /* fewer, once there is a starter */
int sandbox_worker(void);

#endif
