// SPDX-License-Identifier: Apache-2.0
/*
 * rules.c - see rules.h.
 * Trust: as in the header.
 *
 * The table, and why each chain is there:
 *   gHASH        a map for each set of INSs that have the same ports: slot to INS (spread.h). A change of weights alone changes maps
 *                alone, so that the counters which pick slots go on. It is named for the set: another set is another map (steps.h).
 *   ins-HOST-N   DNAT to that INS, each of its ports. No masquerade: the INS sees the client's address, and answers must come back this way.
 *   publish      picks a slot. 127.0.0.0/8 and ::1 cannot be routed off `lo`, fe80::/10 cannot be forwarded: left alone.
 *   prerouting   for other machines; output: for the host's own programs. Before the broker's chains (priority -100): a
 *                connection is translated once, and where both say how, this one counts.
 * Only a connection's first packet comes by: established ones stay where they are, whatever becomes of the table.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "front/rules.h"
#include "lib/name.h"

struct published {
	uint8_t proto, family, addr[16];
	bool any;		/* every address of the family */
	uint16_t host_port;
	uint64_t members;	/* a bit for each that publishes it */
	unsigned group;
};


static struct plan {
	struct published ports[2 * RULES_PORTS_MAX];
	size_t count;
	struct group {
		uint64_t members;
		uint32_t id;
	} groups[2 * RULES_PORTS_MAX];
	size_t group_count;
} plan;

static bool is_taken(const struct rules *r, const struct entry_port *p)
{
	for (size_t i = 0; i < r->taken_count; i++)
		if (r->taken[i].proto == p->proto && r->taken[i].host_port == p->host_port)
			return true;
	return false;
}

static struct published published_of(const struct entry_port *p, uint8_t family)
{
	static const uint8_t zero[16];
	struct published out = { .proto = p->proto, .family = family, .host_port = p->host_port };

	out.any = p->family == AF_UNSPEC || !memcmp(p->addr, zero, sizeof(zero));
	if (!out.any)
		memcpy(out.addr, p->addr, family == AF_INET ? 4 : 16);
	return out;
}

/* Certain addresses first: their rules must come before those for all. */
static int compare(const void *a, const void *b)
{
	const struct published *x = a, *y = b;

	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	if (x->any != y->any)
		return x->any ? 1 : -1;
	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	if (x->host_port != y->host_port)
		return x->host_port < y->host_port ? -1 : 1;
	return memcmp(x->addr, y->addr, sizeof(x->addr));
}

static int add(struct published *p, size_t first, size_t member)
{
	size_t i = first;

	while (i < plan.count && compare(&plan.ports[i], p))
		i++;
	if (i == plan.count) {
		if (plan.count - first == RULES_PORTS_MAX)
			return -ENOSPC;
		plan.ports[plan.count++] = *p;
	}
	plan.ports[i].members |= 1ull << member;
	return 0;
}

static int collect(const struct rules *r, uint8_t family)
{
	size_t first = plan.count;

	for (size_t m = 0; m < r->count; m++) {
		const struct entry *e = r->members[m].e;

		if (!(family == AF_INET ? e->has4 : e->has6))
			continue;
		for (size_t i = 0; i < e->port_count; i++) {
			const struct entry_port *port = &e->ports[i];
			struct published p = published_of(port, family);

			if (!port->host_port || entry_port_is_loopback(port) || is_taken(r, port) ||
			    (port->family != AF_UNSPEC && port->family != family))
				continue;
			if (add(&p, first, m) < 0)
				return -ENOSPC;
		}
	}
	return 0;
}

/* From the names of its INSs; no two groups of a plan have the same. */
static uint32_t id_of(const struct rules *r, uint64_t members)
{
	uint32_t id = 0;

	for (size_t m = 0; m < r->count; m++) {
		char key[ENTRY_KEY_BYTES];

		entry_key(key, r->members[m].e);
		if (members >> m & 1)
			id = id * 31 + spread_id(key);
	}
	for (size_t g = 0; g < plan.group_count; g++)
		if (plan.groups[g].id == id) {
			id++;
			g = (size_t)-1;
		}
	return id;
}

static void group(const struct rules *r)
{
	for (size_t i = 0; i < plan.count; i++) {
		unsigned g = 0;

		while (g < plan.group_count && plan.groups[g].members != plan.ports[i].members)
			g++;
		if (g == plan.group_count) {
			uint32_t id = id_of(r, plan.ports[i].members);

			plan.groups[plan.group_count++] = (struct group){ plan.ports[i].members, id };
		}
		plan.ports[i].group = g;
	}
}

static int make_plan(const struct rules *r)
{
	int err;

	plan.count = plan.group_count = 0;
	if (!name_ok(r->name, ENTRY_NAME_MAX) || r->count > SPREAD_MAX)
		return -EINVAL;
	err = collect(r, AF_INET);
	if (err == 0)
		err = collect(r, AF_INET6);
	qsort(plan.ports, plan.count, sizeof(plan.ports[0]), compare);
	group(r);
	return err;
}

/* The port as a match: "meta nfproto ipv4 tcp dport 80" or "ip daddr 192.0.2.1 tcp dport 80". */
static void write_match(FILE *out, const struct published *p)
{
	char addr[INET6_ADDRSTRLEN];

	if (p->any)
		fprintf(out, "\t\tmeta nfproto %s", p->family == AF_INET ? "ipv4" : "ipv6");
	else
		fprintf(out, "\t\t%s daddr %s", p->family == AF_INET ? "ip" : "ip6", inet_ntop(p->family, p->addr, addr, sizeof(addr)));
	fprintf(out, " %s dport %u", p->proto == IPPROTO_TCP ? "tcp" : "udp", p->host_port);
}

/* The INS's own port for what it publishes so. */
static uint16_t port_of(const struct entry *e, const struct published *p)
{
	for (size_t i = 0; i < e->port_count; i++) {
		struct published q = published_of(&e->ports[i], p->family);

		if ((e->ports[i].family == AF_UNSPEC || e->ports[i].family == p->family) && !compare(&q, p))
			return e->ports[i].port;
	}
	return 0;
}

static void write_member(FILE *out, const struct rules *r, size_t m)
{
	const struct entry *e = r->members[m].e;
	char addr[INET6_ADDRSTRLEN];

	fprintf(out, "\tchain ins-%s-%u {\n", e->host, e->ins);
	for (size_t i = 0; i < plan.count; i++) {
		const struct published *p = &plan.ports[i];
		bool four = p->family == AF_INET;

		if (!(p->members >> m & 1))
			continue;
		write_match(out, p);
		inet_ntop(p->family, four ? e->addr4 : e->addr6, addr, sizeof(addr));
		fprintf(out, four ? " dnat ip to %s:%u\n" : " dnat ip6 to [%s]:%u\n", addr, port_of(e, p));
	}
	fputs("\t}\n", out);
}

static void write_publish(FILE *out, const struct rules *r)
{
	fputs("\tchain publish {\n"
	      "\t\tip daddr 127.0.0.0/8 return\n"
	      "\t\tip6 daddr ::1 return\n"
	      "\t\tip6 daddr fe80::/10 return\n", out);
	for (size_t i = 0; i < plan.count; i++) {
		const struct published *p = &plan.ports[i];

		write_match(out, p);
		if (r->balance == BALANCE_HASH)
			fprintf(out, " jhash %s saddr mod %d seed 0x6d77", p->family == AF_INET ? "ip" : "ip6", SPREAD_SLOTS);
		else
			fprintf(out, " numgen inc mod %d", SPREAD_SLOTS);
		fprintf(out, " vmap @g%08x\n", plan.groups[p->group].id);
	}
	fputs("\t}\n", out);
}

int rules_write_table(FILE *out, const struct rules *r)
{
	static const char *const hooks[] = { "prerouting", "output" };
	int err = make_plan(r);

	if (err < 0)
		return err;
	fprintf(out, "table inet mwf-%s {\n", r->name);
	for (size_t g = 0; g < plan.group_count; g++)
		fprintf(out, "\tmap g%08x {\n\t\ttypeof numgen inc mod %d : verdict\n\t}\n", plan.groups[g].id, SPREAD_SLOTS);
	for (size_t m = 0; m < r->count; m++)
		write_member(out, r, m);
	write_publish(out, r);
	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		fprintf(out, "\tchain %s {\n\t\ttype nat hook %s priority -110; policy accept;\n\t\tfib daddr type local jump publish\n\t}\n",
			hooks[i], hooks[i]);
	fputs("}\n", out);
	return ferror(out) ? -EIO : 0;
}

static void write_map(FILE *out, const struct rules *r, size_t g)
{
	size_t of[SPREAD_MAX], count = 0;
	unsigned weights[SPREAD_MAX], sum = 0;
	uint8_t slots[SPREAD_SLOTS];
	uint32_t ids[SPREAD_MAX];

	for (size_t m = 0; m < r->count; m++) {
		const struct entry *e = r->members[m].e;
		char key[ENTRY_KEY_BYTES];

		if (!(plan.groups[g].members >> m & 1))
			continue;
		entry_key(key, e);
		of[count] = m;
		ids[count] = spread_id(key);
		sum += weights[count++] = r->members[m].weight;
	}
	for (size_t i = 0; !sum && i < count; i++)
		weights[i] = 1; /* those that get something have other ports */
	spread_slots(slots, weights, ids, count, r->balance == BALANCE_HASH);
	fprintf(out, "add element inet mwf-%s g%08x {", r->name, plan.groups[g].id);
	for (int s = 0; s < SPREAD_SLOTS; s++) {
		const struct entry *e = r->members[of[slots[s]]].e;

		fprintf(out, "%s %d : goto ins-%s-%u", s ? "," : "", s, e->host, e->ins);
	}
	fputs(" }\n", out);
}

int rules_write_maps(FILE *out, const struct rules *r, bool flush)
{
	int err = make_plan(r);

	if (err < 0)
		return err;
	for (size_t g = 0; g < plan.group_count; g++) {
		if (flush)
			fprintf(out, "flush map inet mwf-%s g%08x\n", r->name, plan.groups[g].id);
		write_map(out, r, g);
	}
	return ferror(out) ? -EIO : 0;
}
