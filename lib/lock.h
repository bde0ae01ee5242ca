/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.h - lock files that are removed by who has them. Used by broker/ and front/.
 * Trust: the directory is the user's own.
 */
#ifndef MW_LIB_LOCK_H
#define MW_LIB_LOCK_H

#include <stdbool.h>
#include <sys/stat.h>

/* The entry at path still is the file that we locked. Else who had it removed it between our open() and flock(): try again. */
static inline bool lock_is(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

#endif
