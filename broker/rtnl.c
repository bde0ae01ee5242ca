/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few rtnetlink requests that a network of our own needs.
 * Trust: believes the kernel (answers from other netlink ports are skipped). Names and addresses come from plan.c.
 */
#include "broker/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
	struct nlmsghdr h;
	uint8_t body[1024];	/* every request here is far smaller; append() asserts nothing, it stops */
	bool overrun;
};

struct list {
	struct plan_prefix *p;
	size_t count, room;
};

static void append(struct request *r, const void *data, size_t bytes)
{
	size_t at = NLMSG_ALIGN(r->h.nlmsg_len);

	if (at + bytes > sizeof(r->h) + sizeof(r->body)) {
		r->overrun = true;
		return;
	}
	memcpy((uint8_t *)r + at, data, bytes);
	r->h.nlmsg_len = (uint32_t)(at + bytes);
}

static void begin(struct request *r, unsigned type, unsigned flags, const void *head, size_t bytes)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_len = NLMSG_HDRLEN;
	r->h.nlmsg_type = (uint16_t)type;
	r->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	append(r, head, bytes);
}

static void put(struct request *r, unsigned type, const void *data, size_t bytes)
{
	struct rtattr a = { .rta_len = (uint16_t)RTA_LENGTH(bytes), .rta_type = (uint16_t)type };

	append(r, &a, sizeof(a));
	if (bytes)
		append(r, data, bytes);
}

static void put_text(struct request *r, unsigned type, const char *text)
{
	put(r, type, text, strlen(text) + 1);
}

/* Opens a nested attribute; `close` it with what this returns. */
static size_t nest(struct request *r, unsigned type)
{
	size_t at = NLMSG_ALIGN(r->h.nlmsg_len);

	put(r, type, NULL, 0);
	return at;
}

static void nest_end(struct request *r, size_t at)
{
	struct rtattr *a = (struct rtattr *)((uint8_t *)r + at);

	a->rta_len = (uint16_t)(r->h.nlmsg_len - at);
}

int rtnl_open(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* One datagram from the kernel: its length, or -errno. */
static ssize_t receive(int fd, void *buf, size_t bytes)
{
	struct sockaddr_nl from;
	struct iovec iov = { buf, bytes };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	do {
		m.msg_namelen = sizeof(from);
		n = recvmsg(fd, &m, 0);
	} while ((n < 0 && errno == EINTR) || (n >= 0 && from.nl_pid));
	if (n < 0)
		return -errno;
	return m.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

static int talk(int fd, struct request *r)
{
	static uint32_t seq;
	_Alignas(struct nlmsghdr) uint8_t buf[8192];
	struct nlmsghdr *h = (struct nlmsghdr *)buf;

	if (r->overrun)
		return -EMSGSIZE;
	r->h.nlmsg_flags |= NLM_F_ACK;
	r->h.nlmsg_seq = ++seq;
	if (send(fd, r, r->h.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = receive(fd, buf, sizeof(buf));

		if (n < 0)
			return (int)n;
		if (NLMSG_OK(h, n) && h->nlmsg_seq == seq && h->nlmsg_type == NLMSG_ERROR)
			return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
	}
}

int rtnl_veth_add(int fd, const char *name, const char *peer, int netns_fd)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC };
	struct request r;
	size_t link, data, end;

	begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	put_text(&r, IFLA_IFNAME, name);
	link = nest(&r, IFLA_LINKINFO);
	put_text(&r, IFLA_INFO_KIND, "veth");
	data = nest(&r, IFLA_INFO_DATA);
	end = nest(&r, VETH_INFO_PEER);
	append(&r, &info, sizeof(info));
	put_text(&r, IFLA_IFNAME, peer);
	put(&r, IFLA_NET_NS_FD, &netns_fd, sizeof(netns_fd));
	nest_end(&r, end);
	nest_end(&r, data);
	nest_end(&r, link);
	return talk(fd, &r);
}

int rtnl_link_up(int fd, unsigned ifindex, const char *alias)
{
	struct ifinfomsg info = { .ifi_index = (int)ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct request r;

	begin(&r, RTM_NEWLINK, 0, &info, sizeof(info));
	if (alias)
		put(&r, IFLA_IFALIAS, alias, strlen(alias));
	return talk(fd, &r);
}

int rtnl_link_del(int fd, unsigned ifindex)
{
	struct ifinfomsg info = { .ifi_index = (int)ifindex };
	struct request r;

	begin(&r, RTM_DELLINK, 0, &info, sizeof(info));
	return talk(fd, &r);
}

/* Family and bytes of an address in text. */
static int parse(const char *text, uint8_t out[16], size_t *bytes)
{
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	if (inet_pton(family, text, out) != 1)
		return -EINVAL;
	*bytes = family == AF_INET ? 4 : 16;
	return family;
}

int rtnl_addr_add(int fd, unsigned ifindex, const char *addr, unsigned bits)
{
	struct ifaddrmsg info = { .ifa_prefixlen = (uint8_t)bits, .ifa_index = ifindex, .ifa_flags = IFA_F_NODAD };
	struct request r;
	uint8_t raw[16];
	size_t bytes;
	int family = parse(addr, raw, &bytes);

	if (family < 0)
		return family;
	info.ifa_family = (uint8_t)family;
	begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	put(&r, IFA_LOCAL, raw, bytes);
	put(&r, IFA_ADDRESS, raw, bytes);
	return talk(fd, &r);
}

int rtnl_route_default(int fd, unsigned ifindex, const char *gateway)
{
	struct rtmsg info = { .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
			      .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST };
	struct request r;
	uint8_t raw[16];
	size_t bytes;
	int family = parse(gateway, raw, &bytes);

	if (family < 0)
		return family;
	info.rtm_family = (uint8_t)family;
	begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	put(&r, RTA_GATEWAY, raw, bytes);
	put(&r, RTA_OIF, &ifindex, sizeof(ifindex));
	return talk(fd, &r);
}

static int list_add(struct list *l, int family, unsigned bits, const struct rtattr *a)
{
	size_t bytes = family == AF_INET ? 4 : 16;
	struct plan_prefix *p;

	if (RTA_PAYLOAD(a) < bytes || bits > bytes * 8)
		return 0;
	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 64;

		p = reallocarray(l->p, room, sizeof(*p));
		if (!p)
			return -ENOMEM;
		l->p = p;
		l->room = room;
	}
	p = &l->p[l->count++];
	memset(p, 0, sizeof(*p));
	p->family = (uint8_t)family;
	p->bits = (uint8_t)bits;
	memcpy(p->addr, RTA_DATA(a), bytes);
	return 0;
}

/* The prefix that an address or a route stands for. */
static int list_message(struct list *l, struct nlmsghdr *h)
{
	const bool route = h->nlmsg_type == RTM_NEWROUTE;
	const struct rtmsg *rt = NLMSG_DATA(h);
	const struct ifaddrmsg *ifa = NLMSG_DATA(h);
	struct rtattr *a = route ? RTM_RTA(rt) : IFA_RTA(ifa);
	unsigned want = route ? RTA_DST : IFA_ADDRESS, bits;
	int left = (int)(route ? RTM_PAYLOAD(h) : IFA_PAYLOAD(h)), family;

	if (left < 0)
		return 0;
	family = route ? rt->rtm_family : ifa->ifa_family;
	bits = route ? rt->rtm_dst_len : ifa->ifa_prefixlen;
	if ((family != AF_INET && family != AF_INET6) || !bits)
		return 0;
	if (route && rt->rtm_type >= RTN_BLACKHOLE && rt->rtm_type <= RTN_THROW)
		return 0;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == want)
			return list_add(l, family, bits, a);
	return 0;
}

static int dump(int fd, unsigned type, struct list *l)
{
	struct rtmsg info = { .rtm_family = AF_UNSPEC };	/* longer than, and begins like, ifaddrmsg */
	_Alignas(struct nlmsghdr) static uint8_t buf[65536];
	struct request r;
	int err = 0;

	begin(&r, type, NLM_F_DUMP, &info, type == RTM_GETROUTE ? sizeof(info) : sizeof(struct ifaddrmsg));
	if (send(fd, &r, r.h.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = receive(fd, buf, sizeof(buf));

		if (n < 0)
			return (int)n;
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return err;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (!err)
				err = list_message(l, h);
		}
	}
}

int rtnl_prefixes(int fd, struct plan_prefix **list, size_t *count)
{
	struct list l = { 0 };
	int err = dump(fd, RTM_GETADDR, &l);

	if (!err)
		err = dump(fd, RTM_GETROUTE, &l);
	if (err) {
		free(l.p);
		return err;
	}
	*list = l.p;
	*count = l.count;
	return 0;
}
