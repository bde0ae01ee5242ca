// SPDX-License-Identifier: Apache-2.0
/*
 * memory.c - see memory.h.
 * Trust: as in the header.
 *
 * process_vm_readv and process_vm_writev on ourselves: always allowed, stop at the first bad page, and say how far
 * they came. Where a filter of the application's own forbids them, memory is used as it is.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/memory.h"

struct memory memory = { .privileged = true };

/* Bytes moved; libc's errno is left alone. */
static size_t move(long call, void *ours, const void *theirs, size_t n)
{
	struct iovec here = { ours, n }, there = { (void *)(unsigned long)theirs, n };
	int saved = errno;
	long r = n ? syscall(call, memory.pid ? memory.pid : syscall(SYS_getpid), &here, 1L, &there, 1L, 0L) : 0; /* all of a register, and of the stack */

	if (r < 0 && !memory.pid && (errno == EPERM || errno == ENOSYS)) {
		r = (long)n;
		if (call == SYS_process_vm_readv)
			memcpy(ours, theirs, n);
		else
			memcpy(there.iov_base, ours, n);
	}
	errno = saved;
	return r < 0 ? 0 : (size_t)r;
}

size_t memory_read(void *to, const void *from, size_t n)
{
	return move(SYS_process_vm_readv, to, from, n);
}

int memory_get(void *to, const void *from, size_t n)
{
	return memory_read(to, from, n) == n ? 0 : -EFAULT;
}

int memory_put(void *to, const void *from, size_t n)
{
	return move(SYS_process_vm_writev, (void *)(unsigned long)from, to, n) == n ? 0 : -EFAULT;
}
