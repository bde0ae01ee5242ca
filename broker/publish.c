// SPDX-License-Identifier: Apache-2.0
/*
 * publish.c - the INS's wishes: publish what listens, bind what needs a privilege.
 * Trust: an INS may ask for any port; it gets those that the user's command line allows, which is any by default,
 * and a bind() on a TCP or UDP socket of its own network; with --host-loopback a socket that reaches loopback. Nothing else is done
 * for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/confine.h"
#include "broker/deposit.h"
#include "broker/netns.h"
#include "broker/record.h"
#include "broker/share.h"
#include "lib/addr.h"
#include "lib/clock.h"
#include "lib/fdpass.h"

#define ENTRIES_MAX 1024 /* many listeners may share a port, and one listener may have several */
#define LISTENERS_MAX 2 /* on the host's loopback, for each published port: IPv4 and IPv6 */

/* What is published, and for how many listeners of which slots. */
static struct {
	struct plan_port port;
	uint32_t ins, slot, gen;
} entries[ENTRIES_MAX];
static size_t entry_count;
static struct plan_port distinct[PLAN_PORTS_MAX];

static bool same_port(const struct plan_port *a, const struct plan_port *b)
{
	return a->proto == b->proto && a->family == b->family && a->host_port == b->host_port &&
	       !memcmp(a->addr, b->addr, sizeof(a->addr));
}

size_t publish_list(const struct plan_port **list)
{
	size_t n = 0;

	for (size_t i = 0; i < entry_count && n < PLAN_PORTS_MAX; i++) {
		size_t j = 0;

		while (j < n && !same_port(&distinct[j], &entries[i].port))
			j++;
		if (j == n)
			distinct[n++] = entries[i].port;
	}
	*list = distinct;
	return n;
}

static int family_of(const struct mw_addr *a, bool dual)
{
	if (a->family == MW_FAMILY_IP4)
		return AF_INET;
	return dual && addr_is_any(a) ? AF_UNSPEC : AF_INET6;
}

/* An address of the INS's own: it is not reached over the host's loopback, as on a host. */
static bool is_specific(const struct mw_addr *addr)
{
	struct mw_addr a = *addr;

	addr_unmap(&a);
	return !addr_is_any(&a) && !addr_is_loopback(&a);
}

/* Nobody outside the INS's network can reach it (RFC 4291, 2.5.6). */
static bool is_link_local(const struct mw_addr *a)
{
	return a->family == MW_FAMILY_IP6 && a->addr[0] == 0xfe && (a->addr[1] & 0xc0) == 0x80;
}

/* One listener as a published port; datagrams are the INS's alone. A loopback address stays the host's loopback, any other is any. */
static struct plan_port port_of(uint32_t ins, const struct broker_msg *m)
{
	struct mw_addr a = m->addr;
	struct plan_port p = { .only = m->kind == BM_BOUND ? ins + 1 : 0, .proto = m->kind == BM_BOUND ? IPPROTO_UDP : IPPROTO_TCP, .host_port = a.port, .ins_port = a.port };

	addr_unmap(&a); /* an IPv6 socket that listens on ::ffff:127.0.0.1 is reached by IPv4 alone */
	p.family = family_of(&a, m->dual);
	if (addr_is_loopback(&a))
		memcpy(p.addr, a.addr, sizeof(p.addr));
	return p;
}

/* What it is published for has room in the table. */
static int publish(struct net *net, const struct plan_port *p, struct one_ins *ins)
{
	char why[NET_WHY_BYTES] = "";
	int r = -ENOSPC;

	if (entry_count < ENTRIES_MAX)
		r = net_publish(net, p, why, sizeof(why));
	else
		snprintf(why, sizeof(why), "cannot publish port %u: there are %d listeners already", p->host_port, ENTRIES_MAX);
	if (r < 0 && seldom_may(&ins->said, clock_ms()))
		fprintf(stderr, "mw: %s\n", why);
	return r;
}

static void listen_on_loopback(struct net *net, const struct plan_port *p, int backlog, int *fds, int *count)
{
	static const int families[LISTENERS_MAX] = { AF_INET, AF_INET6 };
	char why[NET_WHY_BYTES];

	for (int i = 0; i < LISTENERS_MAX && *count < LISTENERS_MAX; i++) {
		int fd;

		if (p->family != AF_UNSPEC && p->family != families[i])
			continue;
		fd = net_listen_loopback(net, p, families[i], backlog, why, sizeof(why));
		if (fd < 0)
			continue;
		fcntl(fd, F_SETFL, O_NONBLOCK); /* the INS must never wait in accept() */
		fds[(*count)++] = fd;
	}
}

static void leave(void)
{
	deposit_put("publish", entries, entry_count * sizeof(entries[0]), NULL, 0, NULL);
}

void publish_adopt(void)
{
	const struct deposit *d = deposit_find("publish");

	if (!d || d->n > sizeof(entries) || d->n % sizeof(entries[0]))
		return;
	memcpy(entries, d->bytes, d->n);
	entry_count = d->n / sizeof(entries[0]);
}

bool publish_serves(const struct plan_port *port)
{
	for (size_t i = 0; i < entry_count; i++)
		if (same_port(&entries[i].port, port))
			return true;
	return false;
}

static void remember(const struct plan_port *p, uint32_t ins, const struct broker_msg *m)
{
	entries[entry_count].port = *p;
	entries[entry_count].ins = ins;
	entries[entry_count].slot = m->slot;
	entries[entry_count++].gen = m->gen;
	leave();
}

static int open_one(struct net *net, const struct plan_port *p, struct one_ins *ins, const struct broker_msg *m, bool loopback, int *fds, int *count)
{
	int r = publish(net, p, ins);

	if (r < 0)
		return r;
	if (loopback)
		listen_on_loopback(net, p, m->backlog, fds, count);
	remember(p, ins->number, m);
	return 0;
}

/* Publishes under every -p that names the port, or under its own number. */
static int open_all(struct net *net, const struct run_options *o, struct one_ins *ins, const struct broker_msg *m, int *fds, int *count)
{
	struct plan_port p = port_of(ins->number, m);
	bool mapped = false;
	int r = 0;

	for (size_t i = 0; i < o->map_count && r == 0; i++) {
		struct plan_port q = p;

		if (o->maps[i].ins_port != p.ins_port || o->maps[i].proto != p.proto)
			continue;
		mapped = true;
		q.host_port = o->maps[i].host_port;
		if (o->maps[i].family != AF_UNSPEC) {
			q.family = o->maps[i].family;
			memcpy(q.addr, o->maps[i].addr, sizeof(q.addr));
		}
		r = open_one(net, &q, ins, m, true, fds, count);
	}
	return mapped ? r : open_one(net, &p, ins, m, !is_specific(&m->addr), fds, count);
}

static void close_entry(struct net *net, size_t i)
{
	static struct seldom lines;
	const struct plan_port p = entries[i].port, *other = NULL;
	char why[NET_WHY_BYTES];
	int r = 0;

	entries[i] = entries[--entry_count];
	leave();
	for (size_t j = 0; j < entry_count; j++)
		if (same_port(&entries[j].port, &p))
			other = &entries[j].port;
	if (!other)
		r = net_unpublish(net, &p, why, sizeof(why));
	else if (other->only != p.only)
		r = net_publish(net, other, why, sizeof(why)); /* datagrams led to the one that has closed */
	if (r < 0 && seldom_may(&lines, clock_ms()))
		fprintf(stderr, "mw: %s\n", why);
}

void publish_forget(struct net *net, uint32_t ins)
{
	for (size_t i = entry_count; i-- > 0;)
		if (entries[i].ins == ins && entries[i].port.only)
			close_entry(net, i);
}

static void close_all(struct net *net, uint32_t ins, const struct broker_msg *m)
{
	for (size_t i = entry_count; i-- > 0;)
		if (entries[i].ins == ins && entries[i].slot == m->slot && entries[i].gen == m->gen)
			close_entry(net, i);
}

/* bind() with our privileges, on a socket of the INS's own network. */
static int bind_for(const struct one_ins *ins, int fd, const struct mw_addr *a)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, &ss);

	if (!netns_has_socket(ins->netns, fd))
		return -EPERM;
	return bind(fd, (struct sockaddr *)&ss, len) < 0 ? -errno : 0;
}

/* A socket that reaches the host's loopback and nothing else. The INS sets options on it, and connects. */
static int loopback_for(const struct run_options *o, const struct mw_addr *a, int *fd)
{
	int r;

	if (!o->host_loopback || (a->family != MW_FAMILY_IP4 && a->family != MW_FAMILY_IP6))
		return -EPERM;
	*fd = socket(a->family == MW_FAMILY_IP4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		     IPPROTO_TCP);
	if (*fd < 0)
		return -errno;
	r = confine_connector(*fd);
	if (r < 0)
		close(*fd);
	return r;
}

static void answer(const struct one_ins *ins, const struct broker_msg *m, int status, int *fds, int count)
{
	struct broker_msg a = *m;

	a.status = status;
	record_answer(ins, &a, fds, count);
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

/* Published when every INS that can serve it does. */
static int listens(struct net *net, const struct run_options *o, struct one_ins *ins, struct broker_msg *m, const int fds[2])
{
	int out[LISTENERS_MAX] = { -1, -1 }, count = 0, r = -EPROTO;
	uint32_t id = 0;

	if (net && is_link_local(&m->addr))
		r = 0;
	else if (net && (m->kind == BM_BOUND || (r = share_begin(net, ins->number, m, fds, &id)) == 0))
		r = open_all(net, o, ins, m, out, &count);
	if (net && r < 0) {
		close_all(net, ins->number, m); /* the first of several -p may have succeeded */
		share_end(id, ins->number);
		id = 0;
	}
	share_hosts(id, out, count);
	m->share = id;
	answer(ins, m, r, out, count);
	return 0;
}

static void closed(struct net *net, const struct one_ins *ins, const struct broker_msg *m)
{
	struct broker_msg was = *m;
	uint32_t of = ins->number;

	if (!net || (m->share && !share_was(m->share, &was, &of)))
		return;
	close_all(net, of, &was);
	share_end(m->share, ins->number);
}

/* A broker died of it, who knows how far: what it had made is unmade. */
static void undo(struct net *net, const struct one_ins *ins, const struct broker_msg *m)
{
	if (!net || (m->kind != BM_LISTEN && m->kind != BM_BOUND))
		return;
	close_all(net, ins->number, m);
	share_end(share_of(ins->number, m->slot, m->gen), ins->number);
}

static bool is_bound(int fd, const struct mw_addr *a)
{
	struct sockaddr_storage want, is = { 0 };
	socklen_t n = addr_to_sockaddr(a, &want), m = sizeof(is);

	return getsockname(fd, (struct sockaddr *)&is, &m) == 0 && n == m && !memcmp(&want, &is, n);
}

int publish_handle(struct net *net, const struct run_options *o, struct one_ins *ins, struct broker_msg *m, const int in[2])
{
	int fd = -1, r;

	if (record_again())
		undo(net, ins, m);
	switch (m->kind) {
	case BM_BIND:
		r = bind_for(ins, in[0], &m->addr);
		answer(ins, m, r == -EINVAL && record_again() && is_bound(in[0], &m->addr) ? 0 : r, NULL, 0);
		return 0;
	case BM_LISTEN:
	case BM_BOUND:
		return listens(net, o, ins, m, in);
	case BM_LOOPBACK:
		r = loopback_for(o, &m->addr, &fd);
		answer(ins, m, r, &fd, r == 0);
		return 0;
	case BM_CLOSED:
		closed(net, ins, m);
		return 0;
	default:
		return -EPROTO;
	}
}
