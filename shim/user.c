// SPDX-License-Identifier: Apache-2.0
/*
 * user.c - see user.h.
 * Trust: as in the header.
 *
 * The copy is an ordinary memcpy. Before it a thread notes where to go on and which addresses are the application's; a
 * SIGSEGV or SIGBUS on one of those goes there (signal.c has the handler) and the copy is -EFAULT. Noting costs two or
 * three nanoseconds, where asking the kernel first would cost a hundred or more. Memory that another thread takes away
 * meanwhile makes no difference.
 */
#include <errno.h>
#include <setjmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/user.h"

struct guard {
	uintptr_t from;
	size_t n;
	struct guard *outer; /* of the call that a signal handler's call interrupted */
	sigjmp_buf point;
};

static __thread struct guard *innermost __attribute__((tls_model("initial-exec")));

#define BARRIER() __asm__ volatile("" ::: "memory")

/* Runs the statement; true when it touched [at, at + bytes) where nothing is. */
#define FAULTS(at, bytes, statement) ({ \
	struct guard g_; \
	bool faulted_; \
	g_.from = (uintptr_t)(at); \
	g_.n = (bytes); \
	g_.outer = innermost; \
	if (sigsetjmp(g_.point, 0) == 0) { \
		innermost = &g_; \
		BARRIER(); \
		statement; \
		BARRIER(); \
		faulted_ = false; \
	} else { \
		faulted_ = true; \
	} \
	innermost = g_.outer; \
	faulted_; })

void user_fault(const siginfo_t *si, const sigset_t *mask)
{
	struct guard *g = innermost;
	uintptr_t at = (uintptr_t)si->si_addr;

	/* an address that is none at all is reported without saying which */
	if (!g || (si->si_code != SI_KERNEL && (si->si_code <= 0 || at - g->from >= g->n)))
		return;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, NULL, _NSIG / 8);
	siglongjmp(g->point, 1);
}

__attribute__((noinline)) int user_get(void *to, const void *theirs, size_t n)
{
	return FAULTS(theirs, n, memcpy(to, theirs, n)) ? -EFAULT : 0;
}

__attribute__((noinline)) int user_put(void *theirs, const void *from, size_t n)
{
	return FAULTS(theirs, n, memcpy(theirs, from, n)) ? -EFAULT : 0;
}

__attribute__((noinline)) int user_ring(const struct mw_ring *r, uint64_t pos, void *theirs, uint32_t n, bool to_ring)
{
	if (to_ring)
		return FAULTS(theirs, n, ring_write(r, pos, theirs, n)) ? -EFAULT : 0;
	return FAULTS(theirs, n, ring_read(r, pos, theirs, n)) ? -EFAULT : 0;
}

bool user_range_ok(const void *p, size_t n)
{
	uintptr_t end = (uintptr_t)p + n;

	return end >= n && (intptr_t)end >= 0;
}

static ssize_t add_up(const struct iovec *iov, size_t count)
{
	size_t total = 0;

	for (size_t i = 0; i < count; i++)
		if ((ssize_t)iov[i].iov_len < 0)
			return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		size_t n = iov[i].iov_len;

		if (count == 1 && n > USER_IO_MAX)
			n = USER_IO_MAX;
		if (!user_range_ok(iov[i].iov_base, n))
			return -EFAULT;
		total += n < USER_IO_MAX - total ? n : USER_IO_MAX - total;
	}
	return (ssize_t)total;
}

__attribute__((noinline)) ssize_t user_iov_bytes(const struct iovec *iov, size_t count)
{
	ssize_t n = -EFAULT;

	if (!user_range_ok(iov, count * sizeof(*iov)))
		return -EFAULT;
	return FAULTS(iov, count * sizeof(*iov), n = add_up(iov, count)) ? -EFAULT : n;
}
