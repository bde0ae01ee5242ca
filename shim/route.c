// SPDX-License-Identifier: Apache-2.0
/*
 * route.c - netlink sockets that tell of interfaces, addresses and routes: the INS's network's, made by the resolver process.
 * Trust: what came as such a socket is looked at before the application gets it.
 *
 * The descriptor is the kernel's own, so all calls on it are. Nothing can be changed over it: a message without an address goes to
 * the kernel, which then asks whether whoever *made* the socket has the privilege, too. With an address it asks the sender alone, so
 * the kernel's is left out. An ioctl asks the caller alone, so one that changes is refused here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/route.h"
#include "shim/names.h"
#include "shim/user.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static bool made; /* there is one; its number may be anything by now */

static uint64_t socket_option(int fd, int name)
{
	uint64_t v = 0;
	socklen_t n = sizeof(v);

	return syscall(SYS_getsockopt, fd, SOL_SOCKET, name, &v, &n) == 0 ? v : 0;
}

static bool is_route(int fd)
{
	return socket_option(fd, SO_DOMAIN) == AF_NETLINK && socket_option(fd, SO_PROTOCOL) == NETLINK_ROUTE;
}

/* The network namespace that this process is in. */
static uint64_t own_network(void)
{
	int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = socket_option(fd, SO_NETNS_COOKIE);

	syscall(SYS_close, fd);
	return cookie;
}

bool route_is(int fd)
{
	int saved = errno;
	bool yes = made && is_route(fd) && socket_option(fd, SO_NETNS_COOKIE) != own_network();

	errno = saved;
	return yes;
}

/* The lowest number there is, as socket() gives; the connection had that one. */
static int take(int fd, int type)
{
	int low = -ENETDOWN;

	if (is_route(fd)) {
		low = (int)syscall(SYS_fcntl, fd, type & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
		low = low < 0 ? -errno : low;
	}
	syscall(SYS_close, fd);
	if (low >= 0 && type & SOCK_NONBLOCK)
		syscall(SYS_fcntl, low, F_SETFL, O_RDWR | O_NONBLOCK);
	return low;
}

int route_create(int type, int protocol)
{
	const int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct names_ask ask = { .call = NAMES_ROUTE, .n = { kind } };
	struct names_answer answer;
	int r;

	if (protocol != NETLINK_ROUTE || (kind != SOCK_RAW && kind != SOCK_DGRAM))
		return -ENOSYS;
	r = names_ask(&ask, &answer);
	if (r < 0)
		return r == -ENONET ? -ENOSYS : r == -EAGAIN ? -ENETDOWN : r;
	if (answer.r.value < 0)
		r = answer.r.error > 0 && answer.r.error < 4096 ? -answer.r.error : -ENETDOWN;
	else
		r = answer.fd < 0 ? -EMFILE : 0; /* there was no room for it */
	free(answer.record);
	if (r == 0)
		r = take(answer.fd, type);
	else if (answer.fd >= 0)
		syscall(SYS_close, answer.fd);
	made = made || r >= 0;
	return r;
}

ssize_t route_send(int fd, const struct msghdr *m, int flags)
{
	struct msghdr copy;
	struct sockaddr_nl to;
	long r;

	if (user_get(&copy, m, sizeof(copy)) < 0 || !copy.msg_name || (int)copy.msg_namelen < (int)sizeof(to) ||
	    user_get(&to, copy.msg_name, sizeof(to)) < 0 || to.nl_family != AF_NETLINK)
		return -ENOSYS;
	if (to.nl_pid || to.nl_groups) /* to other programs, as if it were the kernel's word */
		return -EPERM;
	copy.msg_name = NULL;
	copy.msg_namelen = 0;
	r = syscall(SYS_sendmsg, fd, &copy, flags);
	return r < 0 ? -errno : r;
}

/* Queries of interfaces: the rest of Linux's range changes something, or may. */
static bool is_query(unsigned int request)
{
	static const unsigned short queries[] = {
		SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFDSTADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFMETRIC,
		SIOCGIFMEM, SIOCGIFMTU, SIOCGIFENCAP, SIOCGIFHWADDR, SIOCGIFSLAVE, SIOCGIFINDEX, SIOCGIFPFLAGS, SIOCGIFCOUNT,
		SIOCGIFTXQLEN, SIOCGIFMAP,
	};

	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
		if (queries[i] == request)
			return true;
	return false;
}

/* A socket of another kind is of the application's own network: the same question on one of the INS's. */
static int query(unsigned int request, void *argument)
{
	int fd = route_create(SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), r;

	if (fd < 0)
		return fd;
	r = syscall(SYS_ioctl, fd, request, argument) < 0 ? -errno : 0;
	syscall(SYS_close, fd);
	return r;
}

bool route_refuses(int fd, unsigned long request)
{
	return request >= SIOCADDRT && request <= SIOCDEVPRIVATE + 15 && !is_query((unsigned int)request) && route_is(fd);
}

int route_ioctl(int fd, unsigned long request, void *argument)
{
	if (route_refuses(fd, request))
		return -EPERM;
	if (request > UINT32_MAX || !is_query((unsigned int)request) || socket_option(fd, SO_DOMAIN) != AF_UNIX)
		return -ENOSYS;
	return query((unsigned int)request, argument);
}
