// SPDX-License-Identifier: Apache-2.0
/*
 * gate.c - `mw gate`: how listeners' gates are set, which is a question; and setting them, which is an order as in verb.c.
 * Trust: the user. An answer is parsed by jansson and looked up by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/registry.h"
#include "ctl/clean.h"
#include "ctl/verb.h"
#include "link/gate.h"

struct gates {
	bool json, header;
	int status;
};

static void help(void)
{
	printf("Usage: mw gate [--json] [NAME]\n"
	       "       mw gate [OPTIONS] NAME PORT none|data|http|tls|auto\n\n"
	       "Lists how the listeners of the application NAME, or of all, keep new connections from it; or sets it for\n"
	       "the application's PORT, also for those that are held now:\n\n"
	       "  none  they do not\n"
	       "  data  until a first byte has come\n"
	       "  http  until a whole HTTP/1 header has come\n"
	       "  tls   until a whole TLS ClientHello has come; what cannot become one is reset\n"
	       "  auto  by the first byte: 0x16 as tls, an uppercase letter as http; anything else goes on at once\n\n"
	       "  --deadline TIME  reset what is not complete after so long: 500ms, 10s, 2m (at first 10s)\n"
	       "  --limit SIZE     and what is longer: 4096, 16k (at first 32k, at most 64k)\n"
	       "  --per-peer N     hold so many of an IPv4 address or IPv6 /64; one more resets that peer's oldest\n"
	       "                   (at first 100; 0: any number)\n"
	       "  --ttl TIME       until then, as in 90s, 10m, 2h (default: until it is undone)\n"
	       "  --why TEXT       for the audit log\n"
	       "  --dry-run        says who is held there now, and does nothing\n"
	       "  --json           one JSON object a line\n"
	       "  -h, --help       this text\n");
}

static void print(const char *app, const json_t *g, struct gates *o)
{
	char where[80];

	if (o->json) {
		json_t *line = json_pack("{s:s}", "app", app);

		json_object_update(line, (json_t *)(uintptr_t)g);
		clean_print(line);
		json_decref(line);
		return;
	}
	if (!o->header)
		printf("%-12s %-22s %-5s %11s %8s %8s %6s %10s %10s\n", "APP", "LISTENER", "GATE", "DEADLINE(s)", "LIMIT", "PER-PEER",
		       "HELD", "PASSED", "DROPPED");
	o->header = true;
	snprintf(where, sizeof(where), "%s %lld", json_string_value(json_object_get(g, "local")),
		 (long long)json_integer_value(json_object_get(g, "port")));
	printf("%-12s %-22s %-5s %11.3f %8lld %8lld %6lld %10lld %10lld\n", app, where, json_string_value(json_object_get(g, "mode")),
	       json_number_value(json_object_get(g, "deadline")), (long long)json_integer_value(json_object_get(g, "limit")),
	       (long long)json_integer_value(json_object_get(g, "per_peer")), (long long)json_integer_value(json_object_get(g, "held")),
	       (long long)json_integer_value(json_object_get(g, "passed")),
	       (long long)json_integer_value(json_object_get(g, "dropped")));
}

static int list_one(struct app *a, void *arg)
{
	struct gates *o = arg;
	json_t *answer = link_answer(a->name, a->view.ins, json_pack("{s:s}", "do", "gates")), *g;
	size_t i;

	if (!json_is_true(json_object_get(answer, "ok")))
		o->status = EXIT_PROBLEM;
	json_array_foreach(json_object_get(answer, "gates"), i, g)
		print(a->name, g, o);
	json_decref(answer);
	return o->status;
}

static int list(const char *name, bool json)
{
	struct gates o = { .json = json };

	return ask_each(name, list_one, &o);
}

static int option(json_t *q, struct verb_options *o, int c)
{
	struct gate_settings g;

	switch (c) {
	case 'D':
		if (!gate_set(&g, "deadline", optarg))
			return usage_error("gate", "--deadline is a time from 1ms to 1h, as in 10s, not '%s'", optarg);
		json_object_set_new(q, "deadline", json_real(g.deadline_ms / 1000.0));
		return 0;
	case 'l':
		if (!gate_set(&g, "limit", optarg))
			return usage_error("gate", "--limit is a size from 1 to 64k, not '%s'", optarg);
		json_object_set_new(q, "limit", json_integer(g.limit_bytes));
		return 0;
	case 'P':
		if (!gate_set(&g, "per-peer", optarg))
			return usage_error("gate", "--per-peer is a number from 0 to %u, not '%s'", GATE_PER_PEER_MAX, optarg);
		json_object_set_new(q, "per_peer", json_integer(g.per_peer));
		return 0;
	}
	return verb_option("gate", o, c);
}

/* NAME PORT MODE */
static int set(char **argv, const struct verb_options *o, json_t *q)
{
	char *end, target[8];
	unsigned long port = strtoul(argv[1], &end, 10);

	if (argv[1][0] < '0' || argv[1][0] > '9' || *end || port < 1 || port > 65535)
		return usage_error("gate", "a port is a number from 1 to 65535, not '%s'", argv[1]);
	if (gate_mode(argv[2]) == GATE_KEEP)
		return usage_error("gate", "a gate is none, data, http, tls or auto, not '%s'", argv[2]);
	snprintf(target, sizeof(target), ":%lu", port);
	json_object_set_new(q, "target", json_string(target));
	json_object_set_new(q, "mode", json_string(argv[2]));
	return verb_give("gate", argv[0], o, json_incref(q));
}

static int gate(int argc, char **argv, json_t *q)
{
	static const struct option longs[] = { { "deadline", 1, NULL, 'D' }, { "limit", 1, NULL, 'l' }, { "per-peer", 1, NULL, 'P' },
					       { "ttl", 1, NULL, 't' },	     { "why", 1, NULL, 'w' },	{ "dry-run", 0, NULL, 'd' },
					       { "json", 0, NULL, 'j' },     { "help", 0, NULL, 'h' },	{ NULL, 0, NULL, 0 } };
	struct verb_options o = { 0 };
	int c, r;

	while ((c = usage_option("gate", argc, argv, ":h", longs)) != -1) {
		if (c == 'h') {
			help();
			return EXIT_OK;
		}
		r = option(q, &o, c);
		if (r)
			return r;
	}
	if (argc - optind == 3)
		return set(argv + optind, &o, q);
	if (argc - optind > 1 || json_object_size(q) || o.ttl > 0 || o.why || o.dry_run)
		return usage_error("gate", "takes NAME PORT MODE, or NAME alone, or nothing");
	return list(optind < argc ? argv[optind] : NULL, o.json);
}

int cmd_gate(int argc, char **argv)
{
	json_t *q = json_object();
	int r = gate(argc, argv, q);

	json_decref(q);
	return r;
}
