// SPDX-License-Identifier: Apache-2.0
/*
 * entry.c - see entry.h.
 * Trust: as in the header. An address that no INS of another has (loopback, multicast, link-local, "any") is refused: it would make
 * a frontend send clients to itself.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "lib/name.h"
#include "registry/entry.h"

static int bad(char *why, const char *text)
{
	snprintf(why, ENTRY_WHY_BYTES, "%s", text);
	return -EINVAL;
}

void entry_key(char key[ENTRY_KEY_BYTES], const struct entry *e)
{
	snprintf(key, ENTRY_KEY_BYTES, "%s/%s/%u", e->host, e->app, e->ins);
}

static bool take_name(char *out, size_t max, const json_t *j)
{
	const char *text = json_string_value(j);

	if (!text || !name_ok(text, max))
		return false;
	snprintf(out, max + 1, "%s", text);
	return true;
}

static bool take_whole(uint32_t *out, const json_t *j, uint32_t low, uint32_t high)
{
	json_int_t n = json_integer_value(j);

	if (!json_is_integer(j) || n < low || n > high)
		return false;
	*out = (uint32_t)n;
	return true;
}

/* Absent is 0. */
static bool take_number(double *out, const json_t *j, double high)
{
	double n = json_number_value(j);

	if (j && (!json_is_number(j) || !isfinite(n) || n < 0 || n > high))
		return false;
	*out = n;
	return true;
}

static bool is_unicast4(const uint8_t a[4])
{
	return a[0] != 0 && a[0] != 127 && a[0] < 224 && !(a[0] == 169 && a[1] == 254);
}

static bool is_unicast6(const uint8_t a[16])
{
	struct in6_addr in;

	memcpy(&in, a, sizeof(in));
	return !IN6_IS_ADDR_UNSPECIFIED(&in) && !IN6_IS_ADDR_LOOPBACK(&in) && !IN6_IS_ADDR_MULTICAST(&in) && !IN6_IS_ADDR_LINKLOCAL(&in) &&
	       !IN6_IS_ADDR_V4MAPPED(&in);
}

/* Absent or "" is none. */
static bool take_address(int family, uint8_t *out, bool *has, const json_t *j)
{
	const char *text = json_string_value(j);

	*has = text && *text;
	if (!*has)
		return !j || text;
	return inet_pton(family, text, out) == 1 && (family == AF_INET ? is_unicast4(out) : is_unicast6(out));
}

static bool take_state(enum entry_state *out, const json_t *j)
{
	static const char *const names[] = { [ENTRY_STARTING] = "starting", [ENTRY_UP] = "up", [ENTRY_DRAIN] = "drain", [ENTRY_DOWN] = "down" };
	const char *text = json_string_value(j);

	for (unsigned i = 0; text && i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(text, names[i])) {
			*out = (enum entry_state)i;
			return true;
		}
	return false;
}

bool entry_port_is_loopback(const struct entry_port *p)
{
	return (p->family == AF_INET && p->addr[0] == 127) ||
	       (p->family == AF_INET6 && !memcmp(p->addr, &in6addr_loopback, sizeof(in6addr_loopback)));
}

/* IPv6 in brackets, or not. */
static bool take_host(struct entry_port *p, const json_t *j)
{
	const char *text = json_string_value(j);
	char bare[INET6_ADDRSTRLEN];
	size_t n = text ? strlen(text) : 0;

	p->family = AF_UNSPEC;
	if (!n)
		return !j || text;
	p->family = AF_INET;
	if (inet_pton(AF_INET, text, p->addr) == 1)
		return true;
	p->family = AF_INET6;
	if (n > 2 && n < sizeof(bare) + 2 && text[0] == '[' && text[n - 1] == ']') {
		snprintf(bare, sizeof(bare), "%.*s", (int)n - 2, text + 1);
		text = bare;
	}
	return inet_pton(AF_INET6, text, p->addr) == 1;
}

static bool take_port(struct entry_port *p, const json_t *j)
{
	const char *proto = json_string_value(json_object_get(j, "proto"));
	uint32_t port, host_port;

	memset(p, 0, sizeof(*p));
	if (!proto || (strcmp(proto, "tcp") && strcmp(proto, "udp")))
		return false;
	p->proto = proto[0] == 't' ? IPPROTO_TCP : IPPROTO_UDP;
	if (!take_whole(&port, json_object_get(j, "port"), 1, 65535) ||
	    !take_whole(&host_port, json_object_get(j, "host_port"), 0, 65535) || !take_host(p, json_object_get(j, "host")))
		return false;
	p->port = (uint16_t)port;
	p->host_port = (uint16_t)host_port;
	return true;
}

static int take_ports(struct entry *e, const json_t *j, char *why)
{
	if (!json_is_array(j))
		return bad(why, "ports is not a list");
	if (json_array_size(j) > ENTRY_PORTS_MAX)
		return bad(why, "it has too many ports");
	for (e->port_count = 0; e->port_count < json_array_size(j); e->port_count++)
		if (!take_port(&e->ports[e->port_count], json_array_get(j, e->port_count)))
			return bad(why, "one of its ports is no port");
	return 0;
}

static int take_load(struct entry *e, const json_t *j, char *why)
{
	if (!take_number(&e->cpu, json_object_get(j, "cpu"), 1e3) || !take_number(&e->connections, json_object_get(j, "connections"), 1e9) ||
	    !take_number(&e->rate, json_object_get(j, "rate"), 1e9))
		return bad(why, "its load makes no sense");
	if (e->cpu > 1)
		e->cpu = 1;
	return 0;
}

static int take(struct entry *e, const json_t *j, char *why)
{
	uint32_t version;

	if (!json_is_object(j))
		return bad(why, "it is not a JSON object");
	if (!take_whole(&version, json_object_get(j, "v"), 1, UINT32_MAX))
		return bad(why, "it has no version");
	if (version != 1)
		return bad(why, "it is of a version that this mw does not know");
	if (!take_name(e->app, ENTRY_NAME_MAX, json_object_get(j, "app")))
		return bad(why, "app is no name");
	if (!take_name(e->host, ENTRY_HOST_MAX, json_object_get(j, "host")))
		return bad(why, "host is no name");
	if (!take_whole(&e->ins, json_object_get(j, "ins"), 0, ENTRY_INS_MAX))
		return bad(why, "ins is no number");
	if (!take_state(&e->state, json_object_get(j, "state")))
		return bad(why, "state is unknown");
	if (!take_address(AF_INET, e->addr4, &e->has4, json_object_get(j, "address")) ||
	    !take_address(AF_INET6, e->addr6, &e->has6, json_object_get(j, "address6")))
		return bad(why, "its address is none that an INS has");
	if (!e->has4 && !e->has6)
		return bad(why, "it has no address");
	if (!take_number(&e->heartbeat, json_object_get(j, "heartbeat"), 1e15))
		return bad(why, "heartbeat is no number");
	if (take_load(e, json_object_get(j, "load"), why) < 0)
		return -EINVAL;
	return take_ports(e, json_object_get(j, "ports"), why);
}

int entry_parse(struct entry *out, const char *text, size_t bytes, char why[ENTRY_WHY_BYTES])
{
	json_t *j;
	int r;

	if (bytes > ENTRY_BYTES_MAX)
		return bad(why, "it is too large");
	j = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
	if (!j)
		return bad(why, "it is not JSON");
	memset(out, 0, sizeof(*out));
	r = take(out, j, why);
	json_decref(j);
	return r;
}
