// SPDX-License-Identifier: Apache-2.0
/*
 * text_fuzz.c - libFuzzer target: any text where a person gives a time, a size, a port, a prefix, a gate, a socket option's value, a port to
 * publish, a collector, where to listen.
 * Trust: none. What is taken is in its range, and is the same again when it is written and read once more.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "broker/ipfix.h"
#include "broker/map.h"
#include "broker/netflow.h"
#include "lib/addr.h"
#include "lib/prefix.h"
#include "lib/units.h"
#include "link/gate.h"
#include "telem/options.h"
#include "test/fuzz/input.h"

/* --- what the broker has beside it; nothing listens here --- */

int registry_listen(const char *name, const char *file, int type)
{
	(void)name, (void)file, (void)type;
	return -ENOTSUP;
}

void registry_path(char path[REGISTRY_PATH_MAX], const char *name, const char *file)
{
	(void)name, (void)file;
	*path = 0;
}

/* --- the target --- */

static void try_prefix(const char *text)
{
	char again[PREFIX_TEXT_BYTES];
	struct prefix p, q;

	memset(&p, 0, sizeof(p));
	memset(&q, 0, sizeof(q));
	if (prefix_parse(&p, text) < 0)
		return;
	must((p.addr.family == MW_FAMILY_IP4 && p.bits <= 32) || (p.addr.family == MW_FAMILY_IP6 && p.bits <= 128));
	must(prefix_has(&p, &p.addr) && p.addr.port == 0);
	must(prefix_parse(&q, prefix_text(&p, again)) == 0 && !memcmp(&p, &q, sizeof(p)));
}

static void try_units(const char *text)
{
	uint16_t port = 0;
	double v = units_span(text);

	must(v == -1 || v >= 0);
	v = units_size(text);
	must(v == -1 || (v >= 0 && v <= 1e15));
	must(units_port(text, &port) == (port != 0));
}

static void try_gate(const char *text)
{
	struct gate_settings g;
	uint16_t port = 0;

	memset(&g, 0xff, sizeof(g)); /* GATE_KEEP */
	if (gate_parse(text, &port, &g))
		must(gate_ok(&g) && gate_mode_name(g.mode) != NULL);
}

static void try_option(const struct sockopt *o, const char *text)
{
	char shown[OPTION_TEXT_BYTES];
	uint8_t value[OPTION_VALUE_MAX], again[OPTION_VALUE_MAX];
	int n = option_parse(o, text, value);

	must(n <= (int)sizeof(value));
	if (n < 0)
		return;
	must(option_parse(o, option_text(o, value, (uint32_t)n, shown), again) == n && !memcmp(value, again, (size_t)n));
}

static void try_map(const char *text)
{
	struct plan_port m;

	if (!map_parse(text, &m))
		return;
	must((m.proto == IPPROTO_TCP || m.proto == IPPROTO_UDP) && m.host_port && m.ins_port && !m.only);
	must(m.family == AF_UNSPEC || m.family == AF_INET || m.family == AF_INET6);
}

static void try_collector(const char *text)
{
	struct ipfix_target t;
	uint16_t port;

	if (!ipfix_parse(&t, text))
		return;
	must(t.path ? !strcmp(t.kind, "file") && *t.path : *t.host && !strchr(t.host, ' ') && units_port(t.port, &port));
	must(t.path || !strcmp(t.kind, "udp") || !strcmp(t.kind, "tcp"));
}

static void try_netflow(const char *text)
{
	struct mw_addr a, b;
	char again[ADDR_TEXT_BYTES];

	if (!netflow_parse(&a, text))
		return;
	must((a.family == MW_FAMILY_IP4 || a.family == MW_FAMILY_IP6) && a.port);
	must(netflow_parse(&b, addr_text(&a, again)) && !memcmp(&a, &b, sizeof(a)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	uint8_t how = next_byte(&in), value[OPTION_VALUE_MAX];
	const struct sockopt *o = &options[how % option_count];
	char *text = rest_text(&in), shown[OPTION_TEXT_BYTES];

	try_prefix(text);
	try_units(text);
	try_gate(text);
	try_option(o, text);
	try_map(text);
	try_collector(text);
	try_netflow(text);
	memset(value, how, sizeof(value));
	memcpy(value, data, n < sizeof(value) ? n : sizeof(value)); /* as an INS may answer */
	must(strlen(option_text(o, value, how % (sizeof(value) + 1), shown)) < sizeof(shown));
	free(text);
	return 0;
}
