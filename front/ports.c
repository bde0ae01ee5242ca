// SPDX-License-Identifier: Apache-2.0
/*
 * ports.c - which published ports are not forwarded, because a server of this host has them.
 * Trust: as in front.h. Asked once for each port, before it is forwarded: what works is not taken from anybody later.
 *
 * What an INS of this host publishes is its broker's, which held it before it said so.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/front.h"
#include "front/member.h"
#include "front/rules.h"
#include "front/taken.h"

static struct port {
	uint8_t proto;
	uint16_t host_port;
	bool taken, wanted;
} ports[RULES_PORTS_MAX];
static size_t port_count;
static struct rules_taken taken[RULES_PORTS_MAX];
static char *adopted;

void ports_adopt(char *table)
{
	free(adopted);
	adopted = table;
}

static bool is_adopted(uint8_t proto, uint16_t port)
{
	char rule[32];

	snprintf(rule, sizeof(rule), "%s dport %u ", proto == IPPROTO_TCP ? "tcp" : "udp", port);
	return adopted && strstr(adopted, rule);
}

static struct port *find_or_add(const struct entry_port *p)
{
	size_t i = 0;

	while (i < port_count && (ports[i].proto != p->proto || ports[i].host_port != p->host_port))
		i++;
	if (i == RULES_PORTS_MAX)
		return NULL;
	if (i == port_count)
		ports[port_count++] = (struct port){ .proto = p->proto, .host_port = p->host_port, .taken = !is_adopted(p->proto, p->host_port) };
	return &ports[i];
}

static void forget_unwanted(void)
{
	for (size_t i = port_count; i-- > 0;)
		if (!ports[i].wanted)
			ports[i] = ports[--port_count];
}

static bool is_local(const struct port *port, const struct member *members, size_t count, const char *here)
{
	for (size_t m = 0; m < count; m++)
		for (size_t i = 0; !strcmp(members[m].e.host, here) && i < members[m].e.port_count; i++)
			if (members[m].e.ports[i].proto == port->proto && members[m].e.ports[i].host_port == port->host_port)
				return true;
	return false;
}

size_t ports_taken(const struct rules_taken **out, const struct member *members, size_t count, const char *here)
{
	static bool said[2][65536];
	size_t n = 0;

	for (size_t i = 0; i < port_count; i++)
		ports[i].wanted = false;
	for (size_t m = 0; m < count; m++)
		for (size_t i = 0; i < members[m].e.port_count; i++) {
			const struct entry_port *p = &members[m].e.ports[i];
			struct port *port = p->host_port && !entry_port_is_loopback(p) ? find_or_add(p) : NULL;

			if (port)
				port->wanted = true;
		}
	forget_unwanted();
	for (size_t i = 0; i < port_count; i++) {
		struct port *port = &ports[i];
		bool *told = &said[port->proto == IPPROTO_UDP][port->host_port];

		if (port->taken)
			port->taken = !is_local(port, members, count, here) && taken_port(port->proto, port->host_port);
		if (port->taken && !*told)
			frontend_say("a server of this host has %s port %u: it is not forwarded; end that, or publish another",
				     port->proto == IPPROTO_TCP ? "TCP" : "UDP", port->host_port);
		*told = port->taken;
		if (port->taken)
			taken[n++] = (struct rules_taken){ port->proto, port->host_port };
	}
	*out = taken;
	return n;
}
