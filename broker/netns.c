// SPDX-License-Identifier: Apache-2.0
/*
 * netns.c - see netns.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/net.h"
#include "broker/netns.h"
#include "broker/rtnl.h"
#include "broker/sysctl.h"

/* `home` is the way back. */
static int ns_enter(int netns_fd, int *home)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (setns(netns_fd, CLONE_NEWNET)) {
		int err = -errno;

		close(fd);
		return err;
	}
	*home = fd;
	return 0;
}

static void ns_leave(int home)
{
	while (setns(home, CLONE_NEWNET))
		if (errno != ENOMEM)
			abort();	/* our bug; everything later would happen to the wrong network */
	close(home);
}

int net_socket(int netns_fd, int domain, int type, int protocol)
{
	int home = -1, fd, err = netns_fd < 0 ? 0 : ns_enter(netns_fd, &home);

	if (err)
		return err;
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	err = fd < 0 ? -errno : fd;
	if (home >= 0)
		ns_leave(home);
	return err;
}

/* A socket of the kinds that an INS makes for applications. */
static bool is_inet(int fd)
{
	int domain = 0, type = 0;
	socklen_t n = sizeof(int);

	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && (type == SOCK_STREAM || type == SOCK_DGRAM) &&
	       (domain == AF_INET || domain == AF_INET6);
}

/* It takes CAP_NET_ADMIN to be told. Who cannot be told has not got it. */
bool netns_has_socket(int netns_fd, int fd)
{
	struct stat its, ours;
	bool same;
	int ns;

	if (!is_inet(fd) || netns_fd < 0)
		return is_inet(fd);
	ns = ioctl(fd, SIOCGSKNS);
	same = ns >= 0 && fstat(ns, &its) == 0 && fstat(netns_fd, &ours) == 0 && its.st_ino == ours.st_ino && its.st_dev == ours.st_dev;
	if (ns >= 0)
		close(ns);
	return same;
}

/* The INS's end: quiet, no address detection, nothing learned from the wire. */
void netns_link_sysctls(const char *name)
{
	(void)sysctl_write(0, "net/ipv6/conf/%s/disable_ipv6", name);
	(void)sysctl_write(0, "net/ipv6/conf/%s/accept_ra", name);
	(void)sysctl_write(0, "net/ipv6/conf/%s/accept_redirects", name);
	(void)sysctl_write(0, "net/ipv6/conf/%s/accept_dad", name);
	(void)sysctl_write(0, "net/ipv6/conf/%s/dad_transmits", name);	/* the link-local address too is usable at once */
	(void)sysctl_write(0, "net/ipv4/conf/%s/accept_redirects", name);
	(void)sysctl_write(0, "net/ipv4/conf/%s/send_redirects", name);
	(void)sysctl_write(1, "net/ipv4/conf/%s/rp_filter", name);
}

static int configure(const struct plan_addrs *a, bool has_v6, int somaxconn)
{
	unsigned lo, eth;
	int fd, err = sysctl_write(0, "net/ipv4/ip_unprivileged_port_start");

	if (err)
		return err;
	if (somaxconn > 0)
		(void)sysctl_write(somaxconn, "net/core/somaxconn");
	netns_link_sysctls(INS_IF);
	fd = rtnl_open();
	if (fd < 0)
		return fd;
	lo = if_nametoindex("lo");
	eth = if_nametoindex(INS_IF);
	err = lo && eth ? rtnl_link_up(fd, lo, NULL) : -errno; /* a descriptor may be what it lacks */
	if (!err)
		err = rtnl_link_up(fd, eth, NULL);
	if (!err)
		err = rtnl_addr_add(fd, eth, a->ins4, 30);
	if (!err)
		err = rtnl_route_default(fd, eth, a->host4);
	if (!err && has_v6)
		err = rtnl_addr_add(fd, eth, a->ins6, 64);
	if (!err && has_v6)
		err = rtnl_route_default(fd, eth, a->host6);
	close(fd);
	return err;
}

int netns_configure(int netns_fd, const struct plan_addrs *a, bool has_v6)
{
	int somaxconn = 0, home = -1, err;

	(void)sysctl_read(&somaxconn, "net/core/somaxconn");	/* per namespace; a server's backlog shall count as on the host */
	err = ns_enter(netns_fd, &home);
	if (!err) {
		err = configure(a, has_v6, somaxconn);
		ns_leave(home);
	}
	return err;
}
