// SPDX-License-Identifier: Apache-2.0
/*
 * interpose.c - names, options and descriptors: one short function for each libc name, ours or the real one.
 * Trust: arguments are the application's own, and may be wrong addresses: see user.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/device.h"
#include "shim/attach.h"
#include "shim/fdtab.h"
#include "shim/fork.h"
#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/linger.h"
#include "shim/option.h"
#include "shim/route.h"
#include "shim/sock.h"
#include "shim/twin.h"
#include "shim/urgent.h"
#include "shim/user.h"

/* --- naming --- */

EXPORT int socket(int domain, int type, int protocol)
{
	int r;

	if (device_used())
		return device_makes(domain, type) ? (int)ret(device_socket(domain, type, protocol)) : libc()->socket(domain, type, protocol);
	r = sock_create(domain, type, protocol, MW_LANE_RING);
	if (r == -ENOSYS)
		return libc()->socket(domain, type, protocol);
	signal_guard();
	return (int)ret(r);
}

EXPORT int bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_bind(&k, sa, len)) : libc()->bind(fd, sa, len);
}

EXPORT int listen(int fd, int backlog)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_listen(&k, backlog)) : libc()->listen(fd, backlog);
}

EXPORT int accept4(int fd, struct sockaddr *restrict sa, socklen_t *restrict len, int flags)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_accept(&k, sa, len, flags)) : libc()->accept4(fd, sa, len, flags);
}

EXPORT int accept(int fd, struct sockaddr *restrict sa, socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_accept(&k, sa, len, 0)) : libc()->accept(fd, sa, len);
}

EXPORT int connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_connect(&k, sa, len, true)) : libc()->connect(fd, sa, len);
}

EXPORT int shutdown(int fd, int how)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_shutdown(&k, how)) : libc()->shutdown(fd, how);
}

EXPORT int getsockname(int fd, struct sockaddr *restrict sa, socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_name(&k, sa, len, false)) : libc()->getsockname(fd, sa, len);
}

EXPORT int getpeername(int fd, struct sockaddr *restrict sa, socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_name(&k, sa, len, true)) : libc()->getpeername(fd, sa, len);
}

EXPORT int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(option_get(&k, level, name, value, len))
				: libc()->getsockopt(fd, level, name, value, len);
}

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(option_set(&k, level, name, value, len))
				: libc()->setsockopt(fd, level, name, value, len);
}

/* --- descriptors --- */

/* A descriptor of our own: the application does not have it. */
static bool hidden(int fd)
{
	return attach_owns(fd) && in_own_process();
}

EXPORT int close(int fd)
{
	struct sock k;
	bool ours = sock_get(fd, &k);
	uint32_t gen = ours ? SLOT_INS(&k, gen) : 0;
	int seconds, r;

	if (hidden(fd))
		return (int)ret(-EBADF);
	pthread_testcancel(); /* before anything is forgotten */
	seconds = ours ? linger_begin(&k) : 0;
	fdtab_clear(fd);
	r = libc()->close(fd);
	if (seconds)
		linger_wait(&k, gen, seconds);
	else if (ours)
		twin_settle(&k);
	return r;
}

/* Closes a range around our own descriptors. */
static int close_around(unsigned int first, unsigned int last, int flags)
{
	int r = 0;

	for (int ours = attach_next(first); ours >= 0 && (unsigned int)ours <= last; ours = attach_next(first)) {
		if ((unsigned int)ours > first)
			r |= libc()->close_range(first, (unsigned int)ours - 1, flags);
		first = (unsigned int)ours + 1;
	}
	return first <= last ? r | libc()->close_range(first, last, flags) : r;
}

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	if (first > last || !in_own_process())
		return libc()->close_range(first, last, flags);
	if (!(flags & (int)CLOSE_RANGE_CLOEXEC))
		fdtab_clear_from(first, last);
	return close_around(first, last, flags);
}

EXPORT void closefrom(int first)
{
	close_range(first > 0 ? (unsigned int)first : 0, ~0u, 0);
}

EXPORT int dup(int fd)
{
	int r = hidden(fd) ? (int)ret(-EBADF) : libc()->dup(fd);

	if (r >= 0)
		fdtab_copy(fd, r);
	return r;
}

static int make_way(int fd)
{
	return hidden(fd) ? attach_move(fd) : 0;
}

EXPORT int dup2(int from, int to)
{
	int r = hidden(from) ? -EBADF : make_way(to);

	if (r < 0)
		return (int)ret(r);
	r = libc()->dup2(from, to);
	if (r >= 0)
		fdtab_copy(from, to);
	return r;
}

EXPORT int dup3(int from, int to, int flags)
{
	int r = hidden(from) ? -EBADF : make_way(to);

	if (r < 0)
		return (int)ret(r);
	r = libc()->dup3(from, to, flags);
	if (r >= 0)
		fdtab_copy(from, to);
	return r;
}

static int fcntl_any(int fd, int command, void *argument)
{
	int r = hidden(fd) ? (int)ret(-EBADF) : libc()->fcntl64(fd, command, argument);

	if (r >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC))
		fdtab_copy(fd, r);
	if (r >= 0 && (command == F_SETOWN || command == F_SETOWN_EX))
		urgent_owner(fd);
	return r;
}

EXPORT int fcntl(int fd, int command, ...)
{
	va_list ap;
	void *argument;

	va_start(ap, command);
	argument = va_arg(ap, void *);
	va_end(ap);
	return fcntl_any(fd, command, argument);
}

EXPORT int fcntl64(int fd, int command, ...)
{
	va_list ap;
	void *argument;

	va_start(ap, command);
	argument = va_arg(ap, void *);
	va_end(ap);
	return fcntl_any(fd, command, argument);
}

EXPORT int sockatmark(int fd)
{
	struct sock k;

	int at = 0, r = sock_get(fd, &k) ? option_ioctl(&k, SIOCATMARK, &at) : -ENOSYS;

	return r == -ENOSYS ? libc()->sockatmark(fd) : r < 0 ? (int)ret(r) : at;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	struct sock k;
	va_list ap;
	void *argument;
	int r;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	r = sock_get(fd, &k) ? option_ioctl(&k, request, argument) : route_ioctl(fd, request, argument);
	if (r != -ENOSYS)
		return (int)ret(r);
	r = libc()->ioctl(fd, request, argument);
	if (r >= 0 && (request == FIOSETOWN || request == SIOCSPGRP))
		urgent_owner(fd);
	return r;
}
