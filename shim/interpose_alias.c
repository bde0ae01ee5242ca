// SPDX-License-Identifier: Apache-2.0
/*
 * interpose_alias.c - libc's second names of the same functions.
 * Trust: none.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/interpose.h"

EXPORT ssize_t __read(int fd, void *to, size_t n);
EXPORT ssize_t __read(int fd, void *to, size_t n)
{
	return read(fd, to, n);
}

EXPORT ssize_t __write(int fd, const void *from, size_t n);
EXPORT ssize_t __write(int fd, const void *from, size_t n)
{
	return write(fd, from, n);
}

EXPORT ssize_t __pread64(int fd, void *to, size_t n, off64_t at);
EXPORT ssize_t __pread64(int fd, void *to, size_t n, off64_t at)
{
	return pread64(fd, to, n, at);
}

EXPORT ssize_t __pwrite64(int fd, const void *from, size_t n, off64_t at);
EXPORT ssize_t __pwrite64(int fd, const void *from, size_t n, off64_t at)
{
	return pwrite64(fd, from, n, at);
}

EXPORT ssize_t __send(int fd, const void *from, size_t n, int flags);
EXPORT ssize_t __send(int fd, const void *from, size_t n, int flags)
{
	return send(fd, from, n, flags);
}

EXPORT int __connect(int fd, const struct sockaddr *sa, socklen_t len);
EXPORT int __connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	return connect(fd, sa, len);
}

EXPORT int __close(int fd);
EXPORT int __close(int fd)
{
	return close(fd);
}

EXPORT int __dup2(int from, int to);
EXPORT int __dup2(int from, int to)
{
	return dup2(from, to);
}

EXPORT int __fcntl(int fd, int command, ...);
EXPORT int __fcntl(int fd, int command, ...)
{
	va_list ap;
	void *argument;

	va_start(ap, command);
	argument = va_arg(ap, void *);
	va_end(ap);
	return fcntl(fd, command, argument);
}

EXPORT FILE *_IO_fdopen(int fd, const char *mode);
EXPORT FILE *_IO_fdopen(int fd, const char *mode)
{
	return fdopen(fd, mode);
}

EXPORT int _IO_fclose(FILE *f);
EXPORT int _IO_fclose(FILE *f)
{
	return fclose(f);
}
