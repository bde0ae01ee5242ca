/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - the application's memory as the kernel would use it: a bad address is an error, not a crash. Used by shim/ and trap/.
 * Trust: addresses and lengths are the application's, and may be anything.
 *
 * One system call each (about a third of a microsecond). On the data path bytes are copied directly: there a bad
 * address costs more to check than to have.
 */
#ifndef MW_SHIM_MEMORY_H
#define MW_SHIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whose memory it is: 0 is our own. The second tier (trap/), which has one thread, serves others, and says whether the
 * one it serves may have privileges that some options need, and how its descriptors are had.
 */
struct memory {
	int pid;
	bool privileged;
	int (*descriptor)(int pid, int fd); /* a duplicate, or -errno */
};
extern struct memory memory;

size_t memory_read(void *to, const void *from, size_t n); /* bytes that could be read: fewer than n at a bad address */
int memory_get(void *to, const void *from, size_t n);     /* 0, or -EFAULT */
int memory_put(void *to, const void *from, size_t n);     /* 0, or -EFAULT; what comes before the bad address is written */

/*
 * True when the address is in our callers' own stack frames, which are there: it may be used as it is. False says
 * nothing. `frame` is __builtin_frame_address(0).
 */
static inline bool memory_near(const void *p, const void *frame)
{
	return !memory.pid && (unsigned long)p - (unsigned long)frame < 1024;
}

#endif
