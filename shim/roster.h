/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roster.h - which INSs there are, and which of them a new socket goes to. Used by shim/ and trap/.
 * Trust: as in roster.c.
 */
#ifndef MW_SHIM_ROSTER_H
#define MW_SHIM_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

void roster_map(int fd);                   /* with attach.c's lock held */
bool roster_known(void);                   /* else there is INS number 0 alone */
uint32_t roster_high(void);                /* numbers at or above it were never used */
uint32_t roster_home(void);                /* the INS of sockets that are bound, and of datagrams */
uint32_t roster_choose(void);              /* the INS of a new socket: each in turn */
uint32_t roster_fallback(uint32_t ins);    /* that one does not answer: another */
bool roster_serves(uint32_t ins);          /* it has not ended */

#endif
