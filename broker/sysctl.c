/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integers under /proc/sys, of the network namespace that the caller is in.
 * Trust: believes the kernel; callers pass interface names that came from the kernel.
 */
#include "broker/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int open_path(const char *path, va_list ap, int flags)
{
	char full[PATH_MAX] = "/proc/sys/";
	const size_t root = sizeof("/proc/sys/") - 1;
	int n, fd;

	n = vsnprintf(full + root, sizeof(full) - root, path, ap);
	if (n < 0 || (size_t)n >= sizeof(full) - root)
		return -ENAMETOOLONG;
	fd = open(full, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int sysctl_read(int *value, const char *path, ...)
{
	char text[32];
	va_list ap;
	ssize_t n;
	int fd;

	va_start(ap, path);
	fd = open_path(path, ap, O_RDONLY);
	va_end(ap);
	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n <= 0)
		return n ? (int)n : -EIO;
	text[n] = 0;
	*value = atoi(text);
	return 0;
}

int sysctl_write(int value, const char *path, ...)
{
	char text[32];
	va_list ap;
	int n, fd, err = 0;

	va_start(ap, path);
	fd = open_path(path, ap, O_WRONLY);
	va_end(ap);
	if (fd < 0)
		return fd;
	n = snprintf(text, sizeof(text), "%d\n", value);
	if (write(fd, text, (size_t)n) != n)
		err = -errno;
	close(fd);
	return err;
}
