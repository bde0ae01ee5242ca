/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user.h - memory that the application named: copied so that a wrong address is EFAULT, as from the kernel.
 * Trust: an address may be anything; only what lies behind a guard is touched.
 *
 * Used inside shim/ only. All return 0 (or a count) or -EFAULT, -EINVAL.
 */
#ifndef MW_SHIM_USER_H
#define MW_SHIM_USER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "chan/ring.h"

#define USER_IO_MAX 0x7ffff000u /* bytes that Linux moves in one call */

int user_get(void *to, const void *theirs, size_t n);
int user_put(void *theirs, const void *from, size_t n);
int user_ring(const struct mw_ring *r, uint64_t pos, void *theirs, uint32_t n, bool to_ring);

/* Not above what an application can have: the kernel checks this before anything else. */
bool user_range_ok(const void *p, size_t n);

/* Bytes of an array of at most IOV_MAX pieces, as Linux checks and clips them. */
ssize_t user_iov_bytes(const struct iovec *iov, size_t count);

/* signal.c: before the first copy; more than once does nothing. */
void signal_guard(void);

/* For the handler of signal.c: does not return when the fault belongs to a copy here. */
void user_fault(const siginfo_t *si, const sigset_t *mask);

#endif
