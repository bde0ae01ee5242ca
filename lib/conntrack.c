// SPDX-License-Identifier: Apache-2.0
/*
 * conntrack.c - see conntrack.h.
 * Trust: believes the kernel's netlink answers, within their lengths.
 *
 * NAT is decided for the first datagram of a flow, and a flow lives as long as datagrams come. Without this, a client that
 * sent before its server was published, or goes on after that, is led where its first datagram went, for ever. With TCP each
 * connection is a flow of its own; but one that never ended is kept for days, and a client that takes its port is led to who
 * is gone.
 */
#include "lib/conntrack.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define REPLY_BYTES 65536
#define WAIT_S      2

struct request {
	struct nlmsghdr head;
	struct nfgenmsg gen;
	uint8_t tuple[256];
};

/* What is to be forgotten: datagrams to that port of this host, and whatever was led to those addresses. */
struct wanted {
	uint16_t udp_port; /* 0: none */
	const struct conntrack_led *led;
	size_t count;
};

static int netlink_open(void)
{
	struct timeval t = { .tv_sec = WAIT_S };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return fd;
}

static bool request_send(int fd, uint8_t op, uint16_t flags, uint8_t family, const struct nlattr *tuple)
{
	size_t n = tuple ? NLA_ALIGN(tuple->nla_len) : 0;
	struct request q = { .gen = { .nfgen_family = family } };

	if (n > sizeof(q.tuple))
		return false;
	if (tuple)
		memcpy(q.tuple, tuple, tuple->nla_len);
	q.head.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof(q.gen)) + n);
	q.head.nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | op);
	q.head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return send(fd, &q, q.head.nlmsg_len, 0) == (ssize_t)q.head.nlmsg_len;
}

/* The attribute of that type among n bytes, or NULL; its whole length is within them. */
static const struct nlattr *attr_find(const void *from, size_t n, unsigned type)
{
	const uint8_t *p = from;

	while (n >= sizeof(struct nlattr)) {
		const struct nlattr *a = (const struct nlattr *)(const void *)p;
		size_t step;

		if (a->nla_len < sizeof(*a) || a->nla_len > n)
			return NULL;
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		step = (size_t)NLA_ALIGN(a->nla_len);
		step = step < n ? step : n;
		p += step;
		n -= step;
	}
	return NULL;
}

static const struct nlattr *attr_in(const struct nlattr *nest, unsigned type)
{
	return nest ? attr_find(nest + 1, nest->nla_len - sizeof(*nest), type) : NULL;
}

static bool attr_get(const struct nlattr *a, void *to, size_t n)
{
	if (!a || a->nla_len < sizeof(*a) + n)
		return false;
	memcpy(to, a + 1, n);
	return true;
}

/* An address of this host is one that can be bound. */
static bool is_local(uint8_t family, const struct nlattr *ip)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	bool four = family == AF_INET, local;
	int fd;

	if (four ? !attr_get(attr_in(ip, CTA_IP_V4_DST), &in.sin_addr, 4) : !attr_get(attr_in(ip, CTA_IP_V6_DST), &in6.sin6_addr, 16))
		return false;
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	local = bind(fd, four ? (struct sockaddr *)&in : (struct sockaddr *)&in6, four ? sizeof(in) : sizeof(in6)) == 0;
	close(fd);
	return local;
}

static bool is_to_port(uint8_t family, const struct nlattr *tuple, uint16_t port)
{
	const struct nlattr *proto = attr_in(tuple, CTA_TUPLE_PROTO);
	uint8_t number = 0;
	uint16_t to = 0;

	return attr_get(attr_in(proto, CTA_PROTO_NUM), &number, 1) && number == IPPROTO_UDP &&
	       attr_get(attr_in(proto, CTA_PROTO_DST_PORT), &to, 2) && ntohs(to) == port &&
	       is_local(family, attr_in(tuple, CTA_TUPLE_IP));
}

/* Answers come from whom it was led to. */
static bool is_led_there(uint8_t family, const struct nlattr *reply, const struct wanted *w)
{
	const struct nlattr *ip = attr_in(reply, CTA_TUPLE_IP);
	struct in_addr from4;
	struct in6_addr from6;
	bool four = family == AF_INET;

	if (four ? !attr_get(attr_in(ip, CTA_IP_V4_SRC), &from4, 4) : !attr_get(attr_in(ip, CTA_IP_V6_SRC), &from6, 16))
		return false;
	for (size_t i = 0; i < w->count; i++)
		if (four ? !memcmp(&from4, &w->led[i].to4, 4) : !memcmp(&from6, &w->led[i].to6, 16))
			return true;
	return false;
}

/* One record of the dump, of several messages. False at its end. */
static bool forget_some(int fd, const uint8_t *from, size_t bytes, const struct wanted *w)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)from;
	ssize_t n = (ssize_t)bytes; /* NLMSG_NEXT may make it negative */

	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct nfgenmsg *g = NLMSG_DATA(h);
		const struct nlattr *tuple, *reply;

		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
			return false;
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*g)))
			continue;
		tuple = attr_find(g + 1, h->nlmsg_len - NLMSG_LENGTH(sizeof(*g)), CTA_TUPLE_ORIG);
		reply = attr_find(g + 1, h->nlmsg_len - NLMSG_LENGTH(sizeof(*g)), CTA_TUPLE_REPLY);
		if (tuple && ((w->udp_port && is_to_port(g->nfgen_family, tuple, w->udp_port)) || is_led_there(g->nfgen_family, reply, w)))
			request_send(fd, IPCTNL_MSG_CT_DELETE, 0, g->nfgen_family, tuple);
	}
	return true;
}

static void forget(const struct wanted *w)
{
	static uint8_t reply[REPLY_BYTES] __attribute__((aligned(8)));
	int list = netlink_open(), remove = netlink_open();
	ssize_t n = 0;

	if (list >= 0 && remove >= 0 && request_send(list, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC, NULL)) {
		do
			n = recv(list, reply, sizeof(reply), 0);
		while (n > 0 && forget_some(remove, reply, (size_t)n, w));
	}
	if (list >= 0)
		close(list);
	if (remove >= 0)
		close(remove);
}

void conntrack_forget_port(uint16_t udp_port)
{
	forget(&(struct wanted){ .udp_port = udp_port });
}

void conntrack_forget_led(const struct conntrack_led *led, size_t count)
{
	forget(&(struct wanted){ .led = led, .count = count });
}
