/* SPDX-License-Identifier: Apache-2.0 */
/*
 * landlock.h - what a process may still do with files, and to processes that are not its own. Used by ins/, names/, telem/ and front/.
 * Trust: the kernel. It adds to what else confines a process: where the kernel has less of it, or nothing, that is all that is missing.
 */
#ifndef MW_LIB_LANDLOCK_H
#define MW_LIB_LANDLOCK_H

#include <stdbool.h>

/* Paths end with NULL; a NULL list is empty, and what is not there is left out. */
struct landlock_room {
	const char *const *readable; /* files and directories below which it may read */
	const char *const *writable; /* ... and read, write, make and remove */
	const char *const *removable; /* directories below which it may remove files */
	bool signals;                /* may be sent to processes that it has not started since */
	bool names;                  /* abstract UNIX names of others may be connected to */
};

/*
 * From here on, for this process and whatever it starts: files as in `room`, and none is executed; with ABI 6 (Linux 6.12) signals and
 * abstract UNIX names of others are out of reach. Of Debian 12's ABI 2 the files are left. Needs no_new_privs.
 * 0, also where the kernel has no Landlock; -errno.
 */
int landlock_enter(const struct landlock_room *room);

#endif
