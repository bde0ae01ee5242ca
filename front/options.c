// SPDX-License-Identifier: Apache-2.0
/*
 * options.c - the command lines of `mw frontend` and `mw registry`.
 * Trust: the user.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/front.h"
#include "lib/name.h"
#include "lib/usage.h"
#include "registry/etcd.h"

#define HELP (-1)

static const char *command;

static int help_frontend(void)
{
	printf("Usage: mw frontend [OPTIONS] NAME\n\n"
	       "Spreads the new connections of each published port of the application NAME over its INSs, by nftables rules of its own.\n"
	       "Needs root. Its end by SIGTERM removes them; killed it leaves them, and the next one takes them over.\n\n"
	       "  --balance load|rr|hash|least\n"
	       "                     who gets a new connection. load (default): all alike, less those that are more than half busy;\n"
	       "                     rr: in turn; hash: by the client's address; least: who has the fewest connections\n"
	       "  --etcd URL[,URL]   INSs of several hosts, from etcd (default: those of this host, from /run/mw)\n"
	       "  --heartbeat S      an INS without a sign of life for twice as long gets no new connections (default: 1)\n"
	       "  --min N --max N    start INSs on this host when they are busy, retire them when they are not, between N and N\n"
	       "                     (default: neither; --min alone is 1)\n"
	       "  --high PERCENT     busy: their mean load is above that (default: 75)\n"
	       "  --low PERCENT      not busy: it is below that (default: 25)\n"
	       "  --hold S           for so long, and so long between two changes (default: 10)\n"
	       "  --keep             leave the rules at the end\n"
	       "  --plan             print the rules, and change nothing\n"
	       "  -h, --help         this text\n\n"
	       "On dom0 of Xen INSs are domains, of which `mw xen broker` tells and which it starts and ends.\n"
	       "What runs on another host is reached by the address of its INS: routes there, and back, are yours to make.\n");
	return HELP;
}

static int help_registry(void)
{
	printf("Usage: mw registry --etcd URL[,URL] NAME\n\n"
	       "Publishes the INSs of the application NAME that run on this host in etcd, for frontends on others, while it runs.\n"
	       "`mw run --etcd URL` does it too.\n\n"
	       "  --etcd URL[,URL]   as in http://192.0.2.1:2379\n"
	       "  -h, --help         this text\n");
	return HELP;
}

static bool take_number(double *out, double low, double high)
{
	char *end;
	double n = strtod(optarg, &end);

	if (end == optarg || *end || strspn(optarg, "0123456789.") != strlen(optarg) || n < low || n > high)
		return false;
	*out = n;
	return true;
}

static int take_balance(enum balance *out)
{
	static const char *const names[] = { [BALANCE_LOAD] = "load", [BALANCE_RR] = "rr", [BALANCE_HASH] = "hash", [BALANCE_LEAST] = "least" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(optarg, names[i])) {
			*out = (enum balance)i;
			return 0;
		}
	return usage_error(command, "--balance is load, rr, hash or least, not '%s'", optarg);
}

static int take_etcd(struct front_options *o)
{
	o->etcd = optarg;
	return etcd_urls_ok(optarg) ? 0 : usage_error(command, "--etcd is http://HOST:PORT or https://HOST:PORT, up to %d with commas between, not '%s'",
						ETCD_URLS_MAX, optarg);
}

static int take_root(struct front_options *o)
{
	const char *root = o->helper ? o->helper : getenv("MW_RUNTIME_DIR"); /* mw sets it */

	if (!root || strlen(root) >= sizeof(o->root))
		return usage_error(command, "MW_RUNTIME_DIR does not name the runtime directory");
	snprintf(o->root, sizeof(o->root), "%s", root);
	return 0;
}

static int take_name(struct front_options *o, int argc, char **argv)
{
	if (optind + 1 != argc)
		return usage_error(command, "one NAME is needed");
	if (!name_ok(argv[optind], ENTRY_NAME_MAX))
		return usage_error(command, "a name has 1 to 32 letters, digits, '.', '_' or '-', not '%s'", argv[optind]);
	snprintf(o->name, sizeof(o->name), "%s", argv[optind]);
	return take_root(o);
}

static int option(struct front_options *o, int c)
{
	double n = 0;

	switch (c) {
	case 'b':
		return take_balance(&o->balance);
	case 'e':
		return take_etcd(o);
	case 'H':
		if (!take_number(&n, 0.1, 3600))
			return usage_error(command, "--heartbeat is a number of seconds from 0.1 to 3600, not '%s'", optarg);
		o->heartbeat_ms = (unsigned)(n * 1000);
		return 0;
	case 'm':
	case 'M':
		if (!take_number(&n, 1, STORE_ENTRIES_MAX) || n != floor(n))
			return usage_error(command, "--min and --max are numbers from 1 to %d, not '%s'", STORE_ENTRIES_MAX, optarg);
		*(c == 'm' ? &o->scale.min : &o->scale.max) = (unsigned)n;
		return 0;
	case 'u':
	case 'l':
		if (!take_number(&n, 1, 100))
			return usage_error(command, "--high and --low are percentages from 1 to 100, not '%s'", optarg);
		*(c == 'u' ? &o->scale.high : &o->scale.low) = n / 100;
		return 0;
	case 'd':
		if (!take_number(&n, 0.5, 86400))
			return usage_error(command, "--hold is a number of seconds from 0.5 to 86400, not '%s'", optarg);
		o->scale.hold_ms = (int64_t)(n * 1000);
		return 0;
	case 'k':
		o->keep = true;
		return 0;
	case 'p':
		o->plan = true;
		return 0;
	default:
		return USAGE_STATUS;
	}
}

static int check_scale(struct scale *s)
{
	if (s->min && !s->max)
		return usage_error(command, "--min goes with --max");
	if (s->max && !s->min)
		s->min = 1;
	if (s->min > s->max)
		return usage_error(command, "--min is at most --max");
	return s->low < s->high ? 0 : usage_error(command, "--low is below --high");
}

int options_frontend(struct front_options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "balance", 1, NULL, 'b' }, { "etcd", 1, NULL, 'e' }, { "heartbeat", 1, NULL, 'H' }, { "min", 1, NULL, 'm' },
		{ "max", 1, NULL, 'M' },     { "high", 1, NULL, 'u' }, { "low", 1, NULL, 'l' },       { "hold", 1, NULL, 'd' },
		{ "keep", 0, NULL, 'k' },    { "plan", 0, NULL, 'p' }, { "help", 0, NULL, 'h' },      { NULL, 0, NULL, 0 } };
	int c, r;

	command = "frontend";
	*o = (struct front_options){ .heartbeat_ms = 1000, .scale = { .high = 0.75, .low = 0.25, .hold_ms = 10000 } };
	while ((c = usage_option(command, argc, argv, ":h", longs)) != -1) {
		r = c == 'h' ? help_frontend() : option(o, c);
		if (r)
			return r;
	}
	r = take_name(o, argc, argv);
	return r ? r : check_scale(&o->scale);
}

int options_registry(struct front_options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "etcd", 1, NULL, 'e' }, { "helper", 1, NULL, 'x' }, { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int c, r = 0;

	command = "registry";
	while ((c = usage_option(command, argc, argv, ":h", longs)) != -1) {
		if (c == 'x')
			o->helper = optarg; /* the broker's, with the runtime directory: FRONT_UP_FD is open */
		else
			r = c == 'h' ? help_registry() : c == 'e' ? take_etcd(o) : USAGE_STATUS;
		if (r)
			return r;
	}
	if (!o->etcd)
		return usage_error(command, "--etcd URL is needed");
	return take_name(o, argc, argv);
}
