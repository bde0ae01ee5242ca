// SPDX-License-Identifier: Apache-2.0
/*
 * beside.c - see beside.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/beside.h"

int beside_find(char path[PATH_MAX], const char *installed, const char *file)
{
	char self[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return -errno;
	self[n] = 0;
	slash = strrchr(self, '/');
	*slash = 0;
	snprintf(path, PATH_MAX, "%.2000s/%s", self, file);
	if (access(path, R_OK) == 0)
		return 0;
	snprintf(path, PATH_MAX, "%.2000s/../%s/mwcomms/%s", self, installed, file);
	return access(path, R_OK) == 0 ? 0 : -errno;
}

bool beside_closed(char *path)
{
	char *end = path;
	struct stat st;

	while (*end) {
		char was;

		end += 1 + strcspn(end + 1, "/");
		was = *end;
		*end = 0;
		if (stat(path, &st) == 0 && !(st.st_mode & (S_ISDIR(st.st_mode) ? S_IXOTH : S_IROTH)))
			return true;
		*end = was;
	}
	return false;
}
