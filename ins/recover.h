/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.h - what a worker that died has left, made whole. Used by ins/.
 * Trust: as in recover.c.
 */
#ifndef MW_INS_RECOVER_H
#define MW_INS_RECOVER_H

#include "ins/ins.h"

void recover(void);
int recover_highest(void);      /* no descriptor that belongs to the INS is above it */

#endif
