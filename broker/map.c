// SPDX-License-Identifier: Apache-2.0
/*
 * map.c - see map.h.
 * Trust: as in the header.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "broker/map.h"
#include "lib/units.h"

bool map_address(char *text, struct plan_port *m)
{
	size_t n = strlen(text);

	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		text[n - 1] = 0;
		m->family = AF_INET6;
		return inet_pton(AF_INET6, text + 1, m->addr) == 1;
	}
	m->family = AF_INET;
	return inet_pton(AF_INET, text, m->addr) == 1;
}

/* Takes "/udp" or "/tcp" off the end; without one it is TCP. */
static bool parse_proto(char *text, struct plan_port *m)
{
	char *slash = strchr(text, '/');

	m->proto = IPPROTO_TCP;
	if (!slash)
		return true;
	*slash++ = 0;
	if (!strcmp(slash, "udp"))
		m->proto = IPPROTO_UDP;
	return m->proto == IPPROTO_UDP || !strcmp(slash, "tcp");
}

bool map_parse(const char *argument, struct plan_port *m)
{
	char text[128], *port, *host;

	memset(m, 0, sizeof(*m));
	if (strlen(argument) >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%s", argument);
	if (!parse_proto(text, m))
		return false;
	port = strrchr(text, ':');
	if (!port) {
		m->family = AF_UNSPEC;
		return units_port(text, &m->host_port) && units_port(text, &m->ins_port);
	}
	*port++ = 0;
	host = strrchr(text, ':');
	if (host && strchr(host, ']'))
		return false;
	if (host)
		*host++ = 0;
	if (host && !map_address(text, m))
		return false;
	return units_port(host ? host : text, &m->host_port) && units_port(port, &m->ins_port);
}
