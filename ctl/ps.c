// SPDX-License-Identifier: Apache-2.0
/*
 * ps.c - `mw ps`: what runs protected.
 * Trust: as in ctl.h.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/clean.h"
#include "ctl/ctl.h"

struct ps {
	bool json;
	bool header;
};

static void help(void)
{
	printf("Usage: mw ps [--json]\n\nLists protected applications.\n\n"
	       "  --json      one JSON object a line\n  -h, --help  this text\n");
}

static const char *age_text(time_t s, char *text, size_t n)
{
	s = s < 0 ? 0 : s; /* the clock was set back */
	if (s < 120)
		snprintf(text, n, "%lds", (long)s);
	else if (s < 7200)
		snprintf(text, n, "%ldm", (long)s / 60);
	else if (s < 172800)
		snprintf(text, n, "%ldh", (long)s / 3600);
	else
		snprintf(text, n, "%ldd", (long)s / 86400);
	return text;
}

static void ports_text(const json_t *info, char *text, size_t n)
{
	const json_t *ports = json_object_get(info, "published");
	size_t at = 0;

	snprintf(text, n, "-");
	for (size_t i = 0; i < json_array_size(ports) && at < n; i++) {
		const json_t *p = json_array_get(ports, i);

		const char *proto = json_string_value(json_object_get(p, "proto"));

		at += (size_t)snprintf(text + at, n - at, "%s%s->%d%s", i ? "," : "", json_string_value(json_object_get(p, "host")),
				       (int)json_integer_value(json_object_get(p, "port")),
				       proto && !strcmp(proto, "udp") ? "/udp" : "");
	}
}

static int show(struct app *a, void *arg)
{
	struct ps *ps = arg;
	uint64_t sockets = (uint64_t)json_integer_value(json_object_get(a->info, "sockets"));
	time_t started = (time_t)json_integer_value(json_object_get(a->info, "started"));
	char ports[256], age[32];

	if (!a->first)
		return 0;
	if (ps->json) {
		clean_print(a->info);
		return 0;
	}
	if (!ps->header)
		printf("%-16s %7s %7s %-8s %-5s %8s %6s  %-24s %s\n", "NAME", "PID", "INS", "NET", "LANE", "SOCKETS", "AGE",
		       "PUBLISHED", "COMMAND");
	ps->header = true;
	ports_text(a->info, ports, sizeof(ports));
	printf("%-16s %7d %7d %-8s %-5s %8llu %6s  %-24s %s\n", a->name,
	       (int)json_integer_value(json_object_get(a->info, "app_pid")),
	       (int)json_integer_value(json_object_get(a->info, "ins_pid")),
	       json_string_value(json_object_get(a->info, "net")), json_string_value(json_object_get(a->info, "lane")),
	       (unsigned long long)sockets, age_text(time(NULL) - started, age, sizeof(age)), ports,
	       clean_string(json_array_get(json_object_get(a->info, "command"), 0)));
	return 0;
}

int cmd_ps(int argc, char **argv)
{
	static const struct option longs[] = { { "json", 0, NULL, 'j' }, { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct ps ps = { 0 };
	int c;

	while ((c = usage_option("ps", argc, argv, ":h", longs)) != -1) {
		if (c == 'h') {
			help();
			return EXIT_OK;
		}
		if (c != 'j')
			return EXIT_USAGE;
		ps.json = true;
	}
	if (optind < argc)
		return usage_error("ps", "takes no argument, not '%s'", argv[optind]);
	return ask_each(NULL, show, &ps);
}
