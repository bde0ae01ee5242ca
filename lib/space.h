/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.h - an application's limits of address space (RLIMIT_AS), as the kernel has them and as it asked for them.
 * Trust: none. Used by broker/, shim/ and trap/.
 *
 * In a protected process the kernel's number is SPACE_BYTES more than the process's own, and exactly as much is taken
 * by us: a reservation, in which the arena lies. The kernel hands its number on through fork and exec; that it is one
 * of ours is known by its size. Without RLIMIT_AS nothing is reserved.
 */
#ifndef MW_LIB_SPACE_H
#define MW_LIB_SPACE_H

#include <stdbool.h>
#include <sys/resource.h>

#define SPACE_BYTES (1ull << 44) /* above what anybody sets, and an eighth of what there is */

static inline bool space_limited(rlim_t kernels)
{
	return kernels != RLIM_INFINITY && kernels >= SPACE_BYTES;
}

static inline rlim_t space_raise(rlim_t own)
{
	return own >= RLIM_INFINITY - SPACE_BYTES ? own : own + SPACE_BYTES;
}

static inline rlim_t space_lower(rlim_t kernels)
{
	return space_limited(kernels) ? kernels - SPACE_BYTES : kernels;
}

#endif
