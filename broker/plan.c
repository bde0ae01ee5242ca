/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an application's network shall look like: addresses and nftables text, computed from values alone.
 * Trust: believes nobody about the name, which is checked before it enters nftables text; everything else that enters it
 * is a number, an address printed here, or an interface name made here.
 *
 * The table, and why each chain is there:
 *   spoof        the INS may send from its own addresses only.
 *   publish      DNAT of published ports. No masquerade this way: the INS sees the client's address.
 *   prerouting   for other machines and namespaces; output: for the host's own programs that use a non-loopback address.
 *                127.0.0.0/8 and ::1 cannot be routed off `lo` and are served by listeners of the broker's caller.
 *                fe80::/10 cannot be forwarded (RFC 4291, 2.5.6): left alone, so that it is refused and does not hang.
 *   postrouting  what the INS opens itself leaves with the host's address; also a connection to its own published port
 *                (saddr and daddr are the INS), which it would otherwise drop as its own packet come back.
 *   forward      to the INS only what was published (with `reach`: on the host or on the INS's own address) or is an answer. An accept here does not override a drop in someone
 *                else's table (Docker's and firewalls' FORWARD policy): nftables asks every table.
 *                Interfaces that forward only because we switched it on (netfwd.c) forward to and from us alone.
 */
#include "broker/plan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/name.h"

enum { POOL_SLOTS = 1 << 14, POOLS = 4, SLOTS = POOL_SLOTS * POOLS };

static const uint8_t pools[POOLS][2] = { { 10, 237 }, { 172, 29 }, { 192, 168 }, { 198, 18 } };
static const uint8_t ula[6] = { 0xfd, 0x6d, 0x77, 0x63, 0x6f, 0x6d };	/* fd, then "mwcom" */

bool plan_name_ok(const char *name)
{
	return name_ok(name, PLAN_NAME_MAX);
}

bool plan_port_is_any(const struct plan_port *port)
{
	static const uint8_t zero[16];

	return port->family == AF_UNSPEC || !memcmp(port->addr, zero, port->family == AF_INET ? 4 : 16);
}

bool plan_port_is_loopback(const struct plan_port *port)
{
	if (port->family == AF_INET)
		return port->addr[0] == 127;
	return port->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)port->addr);
}

void plan_port_text(char *out, size_t bytes, const struct plan_port *port)
{
	char addr[PLAN_ADDR_BYTES];

	if (plan_port_is_any(port)) {
		snprintf(out, bytes, "%u", port->host_port);
		return;
	}
	inet_ntop(port->family, port->addr, addr, sizeof(addr));
	snprintf(out, bytes, port->family == AF_INET ? "%s:%u" : "[%s]:%u", addr, port->host_port);
}

static void slot4(uint8_t out[4], unsigned slot, unsigned host)
{
	unsigned low = (slot % POOL_SLOTS) * 4 + host;

	memcpy(out, pools[slot / POOL_SLOTS], 2);
	out[2] = (uint8_t)(low >> 8);
	out[3] = (uint8_t)low;
}

static void slot6(uint8_t out[16], unsigned slot, unsigned host)
{
	memset(out, 0, 16);
	memcpy(out, ula, sizeof(ula));
	out[6] = (uint8_t)(slot >> 8);
	out[7] = (uint8_t)slot;
	out[15] = (uint8_t)host;
}

void plan_slot(struct plan_addrs *out, unsigned slot)
{
	uint8_t a[16];

	out->slot = slot;
	snprintf(out->host_if, sizeof(out->host_if), PLAN_IF_PREFIX "%04x", slot & 0xffff);
	slot4(a, slot, 1);
	inet_ntop(AF_INET, a, out->host4, sizeof(out->host4));
	slot4(a, slot, 2);
	inet_ntop(AF_INET, a, out->ins4, sizeof(out->ins4));
	slot6(a, slot, 1);
	inet_ntop(AF_INET6, a, out->host6, sizeof(out->host6));
	slot6(a, slot, 2);
	inet_ntop(AF_INET6, a, out->ins6, sizeof(out->ins6));
}

/* Whether two addresses agree in their first `bits`. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned rest = bits % 8;

	if (memcmp(a, b, bits / 8))
		return false;
	return !rest || !((a[bits / 8] ^ b[bits / 8]) >> (8 - rest));
}

static bool overlaps(const struct plan_prefix *p, unsigned slot)
{
	uint8_t a[16];
	unsigned bits = p->family == AF_INET ? 30 : 64;

	if (p->family == AF_INET)
		slot4(a, slot, 0);
	else
		slot6(a, slot, 0);
	return same_prefix(p->addr, a, p->bits < bits ? p->bits : bits);
}

static unsigned hash(const char *name)	/* FNV-1a */
{
	uint32_t h = 2166136261u;

	while (*name)
		h = (h ^ (uint8_t)*name++) * 16777619u;
	return (h ^ h >> 14 ^ h >> 28) % POOL_SLOTS;
}

static bool take_slot(struct plan_addrs *out, unsigned slot, const struct plan_prefix *used, size_t count)
{
	for (size_t k = 0; k < count; k++)
		if (overlaps(&used[k], slot))
			return false;
	plan_slot(out, slot);
	return true;
}

int plan_pick(struct plan_addrs *out, const char *name, const struct plan_prefix *used, size_t count)
{
	unsigned start = hash(name);

	for (unsigned i = 0; i < SLOTS; i++)
		if (take_slot(out, i / POOL_SLOTS * POOL_SLOTS + (start + i) % POOL_SLOTS, used, count))
			return 0;
	return -EADDRNOTAVAIL;
}

unsigned plan_block(const char *host)
{
	return hash(host) / PLAN_BLOCK_SLOTS;
}

int plan_pick_block(struct plan_addrs *out, unsigned block, const struct plan_prefix *used, size_t count)
{
	for (unsigned i = 0; i < PLAN_BLOCK_SLOTS; i++)
		if (take_slot(out, block * PLAN_BLOCK_SLOTS + i, used, count))
			return 0;
	return -EADDRNOTAVAIL;
}

void plan_block_text(char *out, size_t bytes, unsigned block)
{
	struct plan_addrs first;
	uint8_t a[16];
	char four[PLAN_ADDR_BYTES], six[PLAN_ADDR_BYTES];

	plan_slot(&first, block * PLAN_BLOCK_SLOTS);
	slot4(a, first.slot, 0);
	inet_ntop(AF_INET, a, four, sizeof(four));
	slot6(a, first.slot, 0);
	inet_ntop(AF_INET6, a, six, sizeof(six));
	snprintf(out, bytes, "%s/24 and %s/58", four, six);
}

/* Whom new connections of a port go to. */
static size_t targets_of(const struct plan *plan, const struct plan_port *port, const struct plan_addrs *out[PLAN_INS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < plan->ins_count && n < PLAN_INS_MAX; i++)
		if (port->only ? port->only == plan->ins[i].number + 1 : plan->ins[i].open)
			out[n++] = &plan->ins[i].addrs;
	return n;
}

/* One: its address; several: each in turn. Connections that exist stay where they are: the kernel has them written down. */
static void write_target(FILE *out, const struct plan_addrs *const targets[], size_t n, int family, unsigned port)
{
	if (n == 1) {
		fprintf(out, family == AF_INET ? "%s:%u\n" : "[%s]:%u\n", family == AF_INET ? targets[0]->ins4 : targets[0]->ins6, port);
		return;
	}
	fprintf(out, "numgen inc mod %zu map {", n);
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s %zu : %s . %u", i ? "," : "", i, family == AF_INET ? targets[i]->ins4 : targets[i]->ins6, port);
	fputs(" }\n", out);
}

static void write_rule(FILE *out, const struct plan *plan, const struct plan_port *port, int family)
{
	const struct plan_addrs *targets[PLAN_INS_MAX];
	size_t n = targets_of(plan, port, targets);
	const char *ip = family == AF_INET ? "ip" : "ip6";
	const char *proto = port->proto == IPPROTO_TCP ? "tcp" : "udp";
	char addr[PLAN_ADDR_BYTES];

	if (!n)
		return;
	if (plan_port_is_any(port))
		fprintf(out, "\t\tmeta nfproto %s", family == AF_INET ? "ipv4" : "ipv6");
	else
		fprintf(out, "\t\t%s daddr %s", ip, inet_ntop(family, port->addr, addr, sizeof(addr)));
	fprintf(out, " %s dport %u dnat %s to ", proto, port->host_port, ip);
	write_target(out, targets, n, family, port->ins_port);
}

static void write_publish(FILE *out, const struct plan *plan)
{
	fputs("\tchain publish {\n"
	      "\t\tip daddr 127.0.0.0/8 return\n"
	      "\t\tip6 daddr ::1 return\n"
	      "\t\tip6 daddr fe80::/10 return\n", out);
	for (size_t i = 0; i < plan->port_count; i++) {
		const struct plan_port *port = &plan->ports[i];

		if (plan_port_is_loopback(port))
			continue;
		if (port->family != AF_INET6)
			write_rule(out, plan, port, AF_INET);
		if (port->family != AF_INET && plan->has_v6)
			write_rule(out, plan, port, AF_INET6);
	}
	fputs("\t}\n"
	      "\tchain prerouting {\n"
	      "\t\ttype nat hook prerouting priority -100; policy accept;\n"
	      "\t\tfib daddr type local jump publish\n"
	      "\t}\n"
	      "\tchain output {\n"
	      "\t\ttype nat hook output priority -100; policy accept;\n"
	      "\t\tfib daddr type local jump publish\n"
	      "\t}\n", out);
}

static void write_guard(FILE *out, const char *nfproto, const unsigned *index, size_t count)
{
	if (!count)
		return;
	fprintf(out, "\t\tmeta nfproto %s meta iif {", nfproto);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s %u", i ? "," : "", index[i]);
	fputs(" } meta oifname != \"" PLAN_IF_PREFIX "*\" drop\n", out);
}

/* What frontends on other hosts send: to the INS's address, from theirs or by way of them. */
static void write_reach(FILE *out, const struct plan *plan, const char *host_if)
{
	for (size_t i = 0; plan->reach && i < plan->port_count; i++)
		if (!plan_port_is_loopback(&plan->ports[i]))
			fprintf(out, "\t\tmeta oifname \"%s\" %s dport %u accept\n", host_if, plan->ports[i].proto == IPPROTO_TCP ? "tcp" : "udp",
				plan->ports[i].ins_port);
}

static void write_forward(FILE *out, const struct plan *plan)
{
	fputs("\tchain forward {\n"
	      "\t\ttype filter hook forward priority 0; policy accept;\n", out);
	if (plan->ins_count > 1) { /* the application's own addresses, from one to another */
		fputs("\t\tmeta iifname {", out);
		for (size_t i = 0; i < plan->ins_count; i++)
			fprintf(out, "%s \"%s\"", i ? "," : "", plan->ins[i].addrs.host_if);
		fputs(" } meta oifname {", out);
		for (size_t i = 0; i < plan->ins_count; i++)
			fprintf(out, "%s \"%s\"", i ? "," : "", plan->ins[i].addrs.host_if);
		fputs(" } accept\n", out);
	}
	for (size_t i = 0; i < plan->ins_count; i++) {
		const char *host_if = plan->ins[i].addrs.host_if;

		fprintf(out,
			"\t\tmeta oifname \"%s\" ct state established,related accept\n"
			"\t\tmeta oifname \"%s\" ct status dnat accept\n", host_if, host_if);
		write_reach(out, plan, host_if);
		fprintf(out, "\t\tmeta oifname \"%s\" drop\n", host_if);
	}
	for (size_t i = 0; i < plan->ins_count; i++)
		fprintf(out, "\t\tmeta iifname \"%s\" accept\n", plan->ins[i].addrs.host_if);
	write_guard(out, "ipv4", plan->guard4, plan->guard4_count);
	write_guard(out, "ipv6", plan->guard6, plan->guard6_count);
	fputs("\t}\n", out);
}

static void write_ins(FILE *out, const struct plan *plan)
{
	fputs("\tchain spoof {\n"
	      "\t\ttype filter hook prerouting priority -300; policy accept;\n", out);
	for (size_t i = 0; i < plan->ins_count; i++) {
		const struct plan_addrs *a = &plan->ins[i].addrs;

		fprintf(out,
			"\t\tmeta iifname \"%s\" ip saddr != %s drop\n"
			"\t\tmeta iifname \"%s\" ip6 saddr != { ::, %s, fe80::/10 } drop\n", a->host_if, a->ins4, a->host_if, a->ins6);
	}
	fputs("\t}\n"
	      "\tchain postrouting {\n"
	      "\t\ttype nat hook postrouting priority 100; policy accept;\n", out);
	for (size_t i = 0; i < plan->ins_count; i++)
		fprintf(out,
			"\t\tip saddr %s masquerade\n"
			"\t\tip6 saddr %s masquerade\n", plan->ins[i].addrs.ins4, plan->ins[i].addrs.ins6);
	fputs("\t}\n", out);
}

bool plan_port_ok(const struct plan_port *port)
{
	return (port->proto == IPPROTO_TCP || port->proto == IPPROTO_UDP) && port->host_port && port->ins_port &&
	       (port->family == AF_UNSPEC || port->family == AF_INET || port->family == AF_INET6);
}

int plan_write(FILE *out, const struct plan *plan)
{
	if (!plan_name_ok(plan->name))
		return -EINVAL;
	for (size_t i = 0; i < plan->port_count; i++)
		if (!plan_port_ok(&plan->ports[i]))
			return -EINVAL;
	if (plan->first)
		fprintf(out, "create table inet mw-%s {\n\tflags owner\n}\n", plan->name);
	else
		fprintf(out, "flush table inet mw-%s\n", plan->name);
	fprintf(out, "table inet mw-%s {\n\tflags owner\n", plan->name);
	write_ins(out, plan);
	write_publish(out, plan);
	write_forward(out, plan);
	fputs("}\n", out);
	return ferror(out) ? -EIO : 0;
}
