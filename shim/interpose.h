/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interpose.h - for every file that replaces a name of libc's: what makes it seen, and where -errno becomes errno and -1.
 * Trust: none.
 */
#ifndef MW_SHIM_INTERPOSE_H
#define MW_SHIM_INTERPOSE_H

#include <errno.h>
#include <sys/types.h>
#include <sys/uio.h>

#define EXPORT __attribute__((visibility("default")))

#define RWF_SOCKET 0x3f /* RWF_ flags that Linux lets a socket have; only RWF_NOWAIT means something there */

static inline ssize_t ret(ssize_t r)
{
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

#endif
