/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.h - a lock in shared memory, one for each direction of a socket, and one for the control connection.
 * Trust: the word may hold anything; the worst a liar gets is a late or an unguarded answer, never a stuck caller.
 *
 * 0 is free; else the holder's thread id, with LOCK_WAITED when somebody sleeps on it. A holder that died is
 * found by its thread id and robbed. LOCK_INS is the INS giving pages back, for microseconds.
 */
#ifndef MW_SHIM_LOCK_H
#define MW_SHIM_LOCK_H

#include <stdint.h>

#define LOCK_WAITED 0x80000000u
#define LOCK_INS    0x7fffffffu

/* 0, or -EINTR when this very thread holds it: a signal handler came in between. */
int lock_take(uint32_t *word);
void lock_drop(uint32_t *word);

#endif
