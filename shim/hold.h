/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold.h - signals in a call that moves some bytes and then waits. Used inside shim/ only.
 * Trust: as in hold.c.
 */
#ifndef MW_SHIM_HOLD_H
#define MW_SHIM_HOLD_H

#include <signal.h>

/* theirs: the mask that was. NULL: not held, for it will not wait. */
sigset_t *hold(int fd, int flags, sigset_t *theirs);
int hold_wait(int fd, short events, int timeout_option, sigset_t *theirs); /* 0: look again; or -errno */
sigset_t *hold_end(const sigset_t *theirs);                                /* NULL, for it is held no more */

#endif
