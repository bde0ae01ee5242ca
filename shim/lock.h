/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.h - a lock in shared memory, one for each direction of a socket, and one for the control connection.
 * Trust: the word may hold anything. A liar gets an unguarded answer, or has a caller wait for a holder that is none, until his INS has ended.
 *
 * 0 is free; else the holder's thread id, with LOCK_WAITED when somebody sleeps on it. A holder that died is
 * found by its thread id and robbed; so is any other whose socket's INS has ended. LOCK_INS is the INS giving pages back, for
 * microseconds.
 *
 * A signal handler may come while its own thread holds the lock, and use the same socket. It is let in: what the lock
 * guards is done in steps that such a guest may come between, and its host looks whether one did (lock_guests). So
 * no signal need be blocked. A handler that jumps out of the host's frame leaves the lock to the thread's next call.
 */
#ifndef MW_SHIM_LOCK_H
#define MW_SHIM_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#define LOCK_WAITED 0x80000000u
#define LOCK_INS    0x7fffffffu

/* True when it was taken, and must be dropped; false for a guest: this very thread holds it, further up the stack. */
bool lock_take(uint32_t *word);
void lock_drop(uint32_t *word);
uint32_t lock_guests(void); /* how many this thread ever let in */

#endif
