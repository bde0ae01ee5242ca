// SPDX-License-Identifier: Apache-2.0
/*
 * gone.c - see gone.h.
 * Trust: as in the header.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "front/gone.h"
#include "front/probe.h"
#include "front/spread.h"
#include "lib/conntrack.h"

static struct member gone[SPREAD_MAX];
static size_t count;

static void drop(size_t i)
{
	probe_stop(&gone[i]);
	memmove(&gone[i], &gone[i + 1], (--count - i) * sizeof(gone[0]));
}

/* As if it were up: so it is probed. */
void gone_add(const struct member *m, int64_t now_ms)
{
	struct member *g;

	if (count == SPREAD_MAX)
		drop(0);
	g = &gone[count++];
	*g = (struct member){ .fd = -1, .beat_ms = now_ms, .e = m->e };
	g->e.state = ENTRY_UP;
}

/* A line of an INS's chain, as nftables shows it: rules.c, write_member. */
static bool read_rule(const char *line, struct entry *e)
{
	const char *dnat = strstr(line, " dnat ip");
	struct entry_port *port = &e->ports[0];
	char addr[INET6_ADDRSTRLEN];

	memset(e, 0, sizeof(*e));
	if (!dnat || dnat > strchrnul(line, '\n'))
		return false;
	if (sscanf(dnat, " dnat ip to %15[0-9.]:%hu", addr, &port->port) == 2)
		e->has4 = inet_pton(AF_INET, addr, e->addr4) == 1;
	else if (sscanf(dnat, " dnat ip6 to [%45[0-9a-f.:]]:%hu", addr, &port->port) == 2)
		e->has6 = inet_pton(AF_INET6, addr, e->addr6) == 1;
	port->host_port = port->port;
	port->proto = memmem(line, (size_t)(dnat - line), "tcp dport", 9) ? IPPROTO_TCP : IPPROTO_UDP;
	e->port_count = 1;
	return e->has4 || e->has6;
}

void gone_found(const char *table, int64_t now_ms)
{
	struct member m;

	for (const char *line = table; line && *line; line = *line ? line + 1 : line) {
		if (read_rule(line, &m.e)) {
			gone_back(&m.e); /* once for each address */
			gone_add(&m, now_ms);
		}
		line = strchrnul(line, '\n');
	}
}

void gone_back(const struct entry *e)
{
	for (size_t i = count; i-- > 0;) {
		const struct entry *g = &gone[i].e;

		if ((e->has4 && g->has4 && !memcmp(e->addr4, g->addr4, sizeof(g->addr4))) ||
		    (e->has6 && g->has6 && !memcmp(e->addr6, g->addr6, sizeof(g->addr6))))
			drop(i);
	}
}

/* What cannot be probed has no connections that could go on. */
static bool is_silent(struct member *g, int64_t now_ms, int64_t heartbeat_ms)
{
	if (g->passed)
		g->beat_ms = now_ms;
	return now_ms - g->beat_ms > GONE_BEATS * heartbeat_ms && (g->failed >= MEMBER_MISSES || !member_probe_port(g));
}

void gone_due(int64_t now_ms, int64_t heartbeat_ms)
{
	struct conntrack_led led[SPREAD_MAX] = { 0 };
	size_t dead = 0;

	for (size_t i = count; i-- > 0;) {
		struct member *g = &gone[i];
		struct pollfd p = { .fd = g->fd, .events = POLLOUT };

		if (poll(&p, 1, 0) > 0)
			probe_ready(g);
		probe_due(g, now_ms, heartbeat_ms);
		if (!is_silent(g, now_ms, heartbeat_ms))
			continue;
		memcpy(&led[dead].to4, g->e.addr4, sizeof(g->e.addr4));
		memcpy(&led[dead++].to6, g->e.addr6, sizeof(g->e.addr6));
		drop(i);
	}
	if (dead)
		conntrack_forget_led(led, dead);
}

void gone_stop(void)
{
	while (count)
		drop(count - 1);
}
