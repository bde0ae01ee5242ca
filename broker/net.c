/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of an INS's namespace: a veth pair, addresses, the rules that lead to it from published ports (ports.h).
 * Trust: believes the kernel and the broker. Not the name (plan.c checks it), and not the INS at the other end of the veth:
 * it may send from its own addresses only, its router advertisements and redirects are ignored, and nothing is read from it.
 */
#include "broker/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/deposit.h"
#include "broker/netfwd.h"
#include "broker/netns.h"
#include "broker/nft.h"
#include "broker/ports.h"
#include "broker/rtnl.h"
#include "broker/sysctl.h"
#include "lib/conntrack.h"

struct net {
	char name[PLAN_NAME_MAX + 1];
	struct plan_ins ins[PLAN_INS_MAX];
	unsigned host_ifindex[PLAN_INS_MAX];	/* of the same index */
	size_t ins_count;
	bool behind;		/* the rules do not say what they should: nftables refused */
	bool has_v6;
	struct nft nft;
	struct netfwd fwd;
	struct ports ports;
};

static int block = -1; /* of addresses that other hosts reach; -1: none do */

__attribute__((format(printf, 4, 5)))
static int fail(char *why, size_t bytes, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, bytes, fmt, ap);
	va_end(ap);
	return err;
}

/* ---- what an heir must know ---- */

struct left {
	uint32_t has_v6, ins_count;
	int32_t block;
	struct plan_ins ins[PLAN_INS_MAX];
};

static void leave(const struct net *net)
{
	struct left l = { .has_v6 = net->has_v6, .ins_count = (uint32_t)net->ins_count, .block = block };

	memcpy(l.ins, net->ins, net->ins_count * sizeof(l.ins[0]));
	deposit_put("net", &l, sizeof(l), &net->nft.fd, 1, NULL);
}

/* Makes the kernel's table what our lists say; a port that ends is held until it is. */
static int apply(struct net *net, char *why, size_t why_bytes)
{
	struct plan_port ports[PLAN_PORTS_MAX];
	const struct plan plan = { .name = net->name, .ins = net->ins, .ins_count = net->ins_count,
				   .ports = ports, .port_count = ports_wanted(&net->ports, ports),
				   .guard4 = net->fwd.guard4, .guard4_count = net->fwd.guard4_count,
				   .guard6 = net->fwd.guard6, .guard6_count = net->fwd.guard6_count,
				   .has_v6 = net->has_v6, .reach = block >= 0 };
	int err = nft_apply(&net->nft, &plan, why, why_bytes);

	net->behind = err && net->behind;
	if (!err)
		ports_let_go(&net->ports);
	return err;
}

bool net_is_behind(const struct net *net)
{
	return net->behind;
}

bool net_catch_up(struct net *net)
{
	char why[NET_WHY_BYTES];

	return net->behind && apply(net, why, sizeof(why)) == 0;
}

/* ---- the host's end ---- */

/* Makes the veth pair. Its name is its slot's, so the kernel refuses a second one: the claim is atomic. */
static int claim(struct net *net, struct plan_addrs *a, int fd, int netns_fd)
{
	struct plan_prefix *used, *more;
	size_t count;
	int err = rtnl_prefixes(fd, &used, &count);

	if (err)
		return err;
	while (!(err = block < 0 ? plan_pick(a, net->name, used, count) : plan_pick_block(a, (unsigned)block, used, count))) {
		err = rtnl_veth_add(fd, a->host_if, INS_IF, netns_fd);
		if (err != -EEXIST || !if_nametoindex(a->host_if))
			break;
		more = reallocarray(used, count + 1, sizeof(*used));	/* taken, with no address yet: next */
		if (!more) {
			err = -ENOMEM;
			break;
		}
		used = more;
		used[count] = (struct plan_prefix){ .family = AF_INET, .bits = 30 };
		inet_pton(AF_INET, a->host4, used[count++].addr);
	}
	free(used);
	return err;
}

static int host_up(struct net *net, const struct plan_addrs *a, unsigned *ifindex, int fd)
{
	char alias[PLAN_NAME_MAX + 16];
	int err;

	*ifindex = if_nametoindex(a->host_if);
	if (!*ifindex)
		return -errno;
	netns_link_sysctls(a->host_if);
	snprintf(alias, sizeof(alias), "mwcomms %s", net->name);
	err = rtnl_link_up(fd, *ifindex, alias);
	if (!err)
		err = rtnl_addr_add(fd, *ifindex, a->host4, 30);
	if (!err && net->has_v6)
		err = rtnl_addr_add(fd, *ifindex, a->host6, 64);
	return err;
}

static int veth_open(struct net *net, struct plan_addrs *a, unsigned *ifindex, int netns_fd, char *why, size_t why_bytes)
{
	int fd = rtnl_open();
	int err = fd < 0 ? fd : claim(net, a, fd, netns_fd);

	if (err == -EADDRNOTAVAIL)
		fail(why, why_bytes, err, "no free private address range for %s: this host uses or routes all of 10.237.0.0/16, "
		     "172.29.0.0/16, 192.168.0.0/16 and 198.18.0.0/16, or fd6d:7763:6f6d::/48", net->name);
	else if (err == -EEXIST)
		fail(why, why_bytes, err, "the INS's network namespace of %s already has an interface " INS_IF
		     "; give it a new namespace", net->name);
	else if (err)
		fail(why, why_bytes, err, "cannot make a veth pair for %s: %s; mw run needs root (CAP_NET_ADMIN) and a "
		     "kernel with veth", net->name, strerror(-err));
	if (!err) {
		err = host_up(net, a, ifindex, fd);
		if (err)
			fail(why, why_bytes, err, "cannot set up interface %s of %s: %s", a->host_if, net->name,
			     strerror(-err));
	}
	if (fd >= 0)
		close(fd);
	return err;
}

static void veth_close(const struct plan_addrs *a, unsigned ifindex)
{
	int fd;

	if (!ifindex || if_nametoindex(a->host_if) != ifindex)
		return;		/* never made, or gone with the INS's namespace */
	fd = rtnl_open();
	if (fd < 0)
		return;		/* it will go with the INS's namespace */
	(void)rtnl_link_del(fd, ifindex);
	close(fd);
}

/* ---- open, close ---- */

static void forget_ins(const struct plan_ins *ins, size_t count)
{
	struct conntrack_led led[PLAN_INS_MAX] = { 0 };

	for (size_t i = 0; i < count; i++) {
		inet_pton(AF_INET, ins[i].addrs.ins4, &led[i].to4);
		inet_pton(AF_INET6, ins[i].addrs.ins6, &led[i].to6);
	}
	conntrack_forget_led(led, count);
}

static bool is_own_namespace(int netns_fd)
{
	struct stat a, b;

	return !fstat(netns_fd, &a) && !stat("/proc/self/ns/net", &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static bool host_has_v6(void)
{
	int off;

	return !sysctl_read(&off, "net/ipv6/conf/all/disable_ipv6") && !off;
}

static int inside_open(const struct net *net, const struct plan_addrs *a, int netns_fd, char *why, size_t why_bytes)
{
	int err = netns_configure(netns_fd, a, net->has_v6);

	if (err)
		return fail(why, why_bytes, err, "cannot set up the network inside the INS of %s: %s", net->name, strerror(-err));
	return 0;
}

/* Under the lock: one more INS, with its end of a veth pair and its addresses. */
static int join(struct net *net, uint32_t number, int netns_fd, char *why, size_t why_bytes)
{
	struct plan_ins *ins = &net->ins[net->ins_count];
	unsigned *ifindex = &net->host_ifindex[net->ins_count];
	int err;

	*ins = (struct plan_ins){ .number = number, .open = true };
	*ifindex = 0;
	err = veth_open(net, &ins->addrs, ifindex, netns_fd, why, why_bytes);
	if (!err)
		err = inside_open(net, &ins->addrs, netns_fd, why, why_bytes);
	if (err)
		veth_close(&ins->addrs, *ifindex);
	else
		net->ins_count++;
	return err;
}

static int open_parts(struct net *net, int netns_fd, char *why, size_t why_bytes)
{
	int err = join(net, 0, netns_fd, why, why_bytes);

	if (err)
		return err;
	err = netfwd_enable(&net->fwd, net->has_v6);
	if (err)
		return fail(why, why_bytes, err, "cannot make this host forward packets for %s: %s; is /proc/sys writable?",
			    net->name, strerror(-err));
	err = nft_open(&net->nft, net->name, why, why_bytes);
	if (!err)
		err = apply(net, why, why_bytes);
	if (!err)
		leave(net);
	return err;
}

/* Under the lock. */
static void close_parts(struct net *net)
{
	nft_close(&net->nft, net->name);
	for (size_t i = 0; i < net->ins_count; i++)
		veth_close(&net->ins[i].addrs, net->host_ifindex[i]);
	forget_ins(net->ins, net->ins_count);
	netfwd_release();
}

int net_open(struct net **out, const char *name, int netns_fd, char *why, size_t why_bytes)
{
	struct net *net;
	int lock, err;

	if (!plan_name_ok(name))
		return fail(why, why_bytes, -EINVAL, "an application's name is 1 to %d of A-Z a-z 0-9 _ . -; choose one "
			    "with --name", PLAN_NAME_MAX);
	if (is_own_namespace(netns_fd))
		return fail(why, why_bytes, -EINVAL, "the INS of %s is in the host's network namespace; it needs its own",
			    name);
	net = calloc(1, sizeof(*net));
	if (!net)
		return fail(why, why_bytes, -ENOMEM, "no memory for the network of %s", name);
	strcpy(net->name, name);
	net->has_v6 = host_has_v6();
	lock = netfwd_lock();
	if (lock < 0) {
		free(net);
		return fail(why, why_bytes, lock, "cannot lock /run/mwcomms-net.lock for %s: %s; mw run needs root", name,
			    strerror(-lock));
	}
	err = open_parts(net, netns_fd, why, why_bytes);
	if (err) {
		close_parts(net);
		free(net);
	} else {
		*out = net;
	}
	close(lock);
	return err;
}

void net_close(struct net *net)
{
	int lock;

	if (!net)
		return;
	lock = netfwd_lock();
	close_parts(net);
	ports_close(&net->ports);
	if (lock >= 0)
		close(lock);
	free(net);
}

bool net_has_v6(const struct net *net)
{
	return net->has_v6;
}

/* ---- publishing ---- */

static const char *proto_name(const struct plan_port *port)
{
	return port->proto == IPPROTO_TCP ? "tcp" : "udp";
}

/* The settings of interfaces that came since, and the rules. */
static int refresh(struct net *net, char *why, size_t why_bytes)
{
	int lock = netfwd_lock();
	int err = lock < 0 ? lock : netfwd_enable(&net->fwd, net->has_v6);

	if (lock >= 0)
		close(lock);
	if (err)
		return fail(why, why_bytes, err, "cannot make this host forward packets for %s: %s", net->name, strerror(-err));
	return apply(net, why, why_bytes);
}

static int replace(struct net *net, struct published *p, const struct plan_port *port, char *why, size_t why_bytes)
{
	const struct published before = *p;
	int err;

	p->port.ins_port = port->ins_port;
	p->port.only = port->only;
	p->ends = false;
	ports_leave(p);
	err = refresh(net, why, why_bytes);
	if (err) {
		*p = before;
		ports_leave(p);
	} else if (before.port.ins_port != port->ins_port || before.port.only != port->only) {
		ports_forget_led(port);
	}
	return err;
}

void net_reach(unsigned in_block)
{
	block = (int)in_block;
}

int net_publish(struct net *net, const struct plan_port *port, char *why, size_t why_bytes)
{
	struct published *old;
	int err;

	if (!plan_port_ok(port))
		return fail(why, why_bytes, -EINVAL, "cannot publish port %u: protocol, address family or port is none",
			    port->host_port);
	old = ports_find(&net->ports, port);
	if (old)
		return replace(net, old, port, why, why_bytes);
	if (net->ports.count == PLAN_PORTS_MAX)
		return fail(why, why_bytes, -ENOSPC, "cannot publish port %u: %s already publishes %d", port->host_port,
			    net->name, PLAN_PORTS_MAX);
	err = ports_add(&net->ports, port, net->has_v6, why, why_bytes);
	if (err)
		return err;
	err = refresh(net, why, why_bytes);
	if (err)
		ports_undo(&net->ports);
	else
		ports_forget_led(port);
	return err;
}

int net_unpublish(struct net *net, const struct plan_port *port, char *why, size_t why_bytes)
{
	struct published *p = ports_find(&net->ports, port);

	if (!p || p->ends)
		return fail(why, why_bytes, -ENOENT, "%s does not publish %s port %u", net->name, proto_name(port),
			    port->host_port);
	p->ends = true;
	net->behind = true;
	return apply(net, why, why_bytes);
}

int net_listen_loopback(struct net *net, const struct plan_port *port, int family, int backlog, char *why,
			size_t why_bytes)
{
	const struct published *p = ports_find(&net->ports, port);
	int fd;

	if (!p || p->ends)
		return fail(why, why_bytes, -ENOENT, "%s does not publish %s port %u", net->name, proto_name(port),
			    port->host_port);
	if (family == AF_INET6 && port->family == AF_UNSPEC && !net->has_v6)
		return fail(why, why_bytes, -EAFNOSUPPORT, "this host has no IPv6 for port %u", port->host_port);
	fd = ports_listen_loopback(p, family, backlog, why, why_bytes);
	if (fd == -EADDRNOTAVAIL)
		return fail(why, why_bytes, fd, "%s does not publish %s port %u on a loopback address of that family",
			    net->name, proto_name(port), port->host_port);
	return fd;
}

/* ---- several INSs ---- */

/* NULL: it has none. */
static struct plan_ins *ins_of(struct net *net, uint32_t number)
{
	for (size_t i = 0; i < net->ins_count; i++)
		if (net->ins[i].number == number)
			return &net->ins[i];
	return NULL;
}

int net_join(struct net *net, uint32_t number, int netns_fd, char *why, size_t why_bytes)
{
	int lock, err;

	if (net->ins_count == PLAN_INS_MAX)
		return fail(why, why_bytes, -ENOSPC, "%s has %d INSs, and cannot have more", net->name, PLAN_INS_MAX);
	lock = netfwd_lock();
	err = lock < 0 ? lock : join(net, number, netns_fd, why, why_bytes);
	if (lock < 0)
		return fail(why, why_bytes, lock, "cannot lock /run/mwcomms-net.lock for %s: %s", net->name, strerror(-lock));
	if (!err) {
		net->ins[net->ins_count - 1].open = false;
		leave(net);
	}
	close(lock);
	return err ? err : refresh(net, why, why_bytes);
}

int net_spread(struct net *net, uint32_t number, bool on, char *why, size_t why_bytes)
{
	struct plan_ins *ins = ins_of(net, number);

	if (!ins || ins->open == on)
		return 0;
	ins->open = on;
	leave(net);
	net->behind = true;
	return on ? refresh(net, why, why_bytes) : apply(net, why, why_bytes);
}

void net_forget(struct net *net, uint32_t number)
{
	const struct plan_ins *ins = ins_of(net, number);

	if (ins)
		forget_ins(ins, 1);
}

int net_leave(struct net *net, uint32_t number, char *why, size_t why_bytes)
{
	struct plan_ins *ins = ins_of(net, number);
	size_t i = ins ? (size_t)(ins - net->ins) : 0;
	int lock;

	if (!ins)
		return 0;
	lock = netfwd_lock();
	veth_close(&ins->addrs, net->host_ifindex[i]);
	net->ins_count--;
	memmove(net->ins + i, net->ins + i + 1, (net->ins_count - i) * sizeof(net->ins[0]));
	memmove(net->host_ifindex + i, net->host_ifindex + i + 1, (net->ins_count - i) * sizeof(net->host_ifindex[0]));
	leave(net);
	if (lock >= 0)
		close(lock);
	net->behind = true;
	return apply(net, why, why_bytes);
}

const struct plan_addrs *net_addrs(struct net *net, uint32_t number)
{
	const struct plan_ins *ins = ins_of(net, number);

	return ins ? &ins->addrs : NULL;
}

/* ---- a dead broker's ---- */

int net_adopt(struct net **out, const char *name, char *why, size_t why_bytes)
{
	struct deposit *d = deposit_find("net");
	const struct left *l = d ? d->bytes : NULL;
	struct net *net = calloc(1, sizeof(*net));
	int err;

	if (!net || !l || d->n != sizeof(*l) || l->ins_count > PLAN_INS_MAX) {
		free(net);
		return fail(why, why_bytes, -EPROTO, "what the broker of %s left of its network makes no sense", name);
	}
	snprintf(net->name, sizeof(net->name), "%s", name);
	err = nft_adopt(&net->nft, d->fds[0], why, why_bytes);
	if (err) {
		free(net);
		return err;
	}
	d->fds[0] = -1;
	net->has_v6 = l->has_v6;
	block = l->block;
	net->ins_count = l->ins_count;
	memcpy(net->ins, l->ins, sizeof(net->ins));
	for (size_t i = 0; i < net->ins_count; i++)
		net->host_ifindex[i] = if_nametoindex(net->ins[i].addrs.host_if);
	ports_adopt(&net->ports);
	*out = net;
	return 0;
}

int net_settle(struct net *net, bool (*served)(const struct plan_port *port), bool (*lives)(uint32_t ins), char *why, size_t why_bytes)
{
	for (size_t i = net->ports.count; i-- > 0;) {
		const struct plan_port p = net->ports.list[i].port;

		if (!served(&p))
			net_unpublish(net, &p, why, why_bytes);
	}
	for (size_t i = net->ins_count; i-- > 0;)
		if (net->ins[i].number && !lives(net->ins[i].number))
			net_leave(net, net->ins[i].number, why, why_bytes);
	return refresh(net, why, why_bytes);
}
