/* SPDX-License-Identifier: Apache-2.0 */
/*
 * beside.h - where the other programs of the project are. Used by broker/ and ctl/.
 * Trust: /proc, and that whoever could put a file beside this program could have replaced it.
 */
#ifndef MW_LIB_BESIDE_H
#define MW_LIB_BESIDE_H

#include <limits.h>
#include <stdbool.h>

/* The first of: beside this program (a build tree), where `make install` puts it, PREFIX/INSTALLED/mwcomms. 0 or -errno. */
int beside_find(char path[PATH_MAX], const char *installed, const char *file);

/* Whether users that are not its owner can come to that file; if not, `path` is cut behind the part that is closed to them. */
bool beside_closed(char *path);

#endif
