// SPDX-License-Identifier: Apache-2.0
/*
 * broker_options.c - the command line of `mw xen broker`.
 * Trust: the user.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/map.h"
#include "lib/name.h"
#include "lib/units.h"
#include "lib/usage.h"
#include "xen/broker.h"

#define HELP (-1)

static int help(void)
{
	printf("Usage: mw xen broker --publish PORT... --pool FIRST-LAST/PREFIX [OPTIONS] NAME\n\n"
	       "Keeps the INS domains of the protected machine, as the application NAME: `mw frontend NAME` spreads connections over\n"
	       "them, `mw ins list|add|drain|kill` are for them. On dom0, as root. Its end leaves the domains; the next one finds them.\n\n"
	       "  -p, --publish [ADDR:]HOST:PORT[/udp]\n"
	       "                     or PORT for the same number: a port of this host for one that an INS listens on; repeatable\n"
	       "  --pool FIRST-LAST/PREFIX\n"
	       "                     the addresses that INS domains have, as in 192.0.2.11-192.0.2.30/24, or IPv6\n"
	       "  --gateway ADDRESS  theirs: this host, so that answers come back by it (the template's @gw@)\n"
	       "  --template FILE    for `xl create`, as xen/ins.cfg.in; without it no domains are created\n"
	       "  --image DIR        where `make ins-image` put vmlinux and initramfs (the template's @image@)\n"
	       "  --ready TIME       a domain that it created and that is not ready by then is destroyed (default: 60s)\n"
	       "  --drain TIME       a drained domain is destroyed when it has had no connections for 5 s, at the latest after that\n"
	       "                     (default: however long they last)\n"
	       "  -h, --help         this text\n");
	return HELP;
}

static int take_time(const char *name, int64_t *out)
{
	double s = units_span(optarg);

	if (s < 1 || s > 864000)
		return usage_error("xen broker", "--%s is a time from 1s to 10d, not '%s'", name, optarg);
	*out = (int64_t)(s * 1000);
	return 0;
}

static int take_port(struct broker_options *o)
{
	if (o->port_count == BROKER_PORTS_MAX)
		return usage_error("xen broker", "more than %d ports to publish", BROKER_PORTS_MAX);
	if (!map_parse(optarg, &o->ports[o->port_count]) || plan_port_is_loopback(&o->ports[o->port_count]))
		return usage_error("xen broker", "'%s' is not [ADDR:]HOST:PORT[/udp] (as in 80, 8080:80 or 192.0.2.1:53:53/udp) on an address that others reach", optarg);
	o->port_count++;
	return 0;
}

static int take_gateway(struct broker_options *o)
{
	unsigned char address[16];

	o->gateway = optarg;
	return inet_pton(strchr(optarg, ':') ? AF_INET6 : AF_INET, optarg, address) == 1 ? 0 : usage_error("xen broker", "--gateway is an address, not '%s'", optarg);
}

static int option(struct broker_options *o, int c)
{
	switch (c) {
	case 'p':
		return take_port(o);
	case 'a':
		return pool_parse(&o->pool, optarg) ? 0 : usage_error("xen broker", "--pool is FIRST-LAST/PREFIX, in one network, not '%s'", optarg);
	case 'g':
		return take_gateway(o);
	case 't':
		o->template = optarg;
		return 0;
	case 'i':
		o->image = optarg;
		return 0;
	case 'r':
		return take_time("ready", &o->ready_ms);
	case 'd':
		return take_time("drain", &o->drain_ms);
	default:
		return USAGE_STATUS;
	}
}

/* What would fail at the first `add` is said at once. */
static int check_files(const struct broker_options *o)
{
	static const char *const files[] = { "vmlinux", "initramfs" };
	char path[PATH_MAX];

	if (o->image && !o->template)
		return usage_error("xen broker", "--image goes with --template");
	if (o->image && (strpbrk(o->image, "\"'\n\\") || strlen(o->image) > PATH_MAX - 32))
		return usage_error("xen broker", "--image is a directory's path without quotes, not '%s'", o->image);
	if (o->template && access(o->template, R_OK) < 0)
		return usage_error("xen broker", "the template %s cannot be read: %m", o->template);
	for (int i = 0; o->image && i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", o->image, files[i]);
		if (access(path, R_OK) < 0)
			return usage_error("xen broker", "there is no %s: %m; `make ins-image` makes it", path);
	}
	return 0;
}

int broker_options(struct broker_options *o, int argc, char **argv)
{
	static const struct option longs[] = { { "publish", 1, NULL, 'p' }, { "pool", 1, NULL, 'a' },  { "gateway", 1, NULL, 'g' },
					       { "template", 1, NULL, 't' }, { "image", 1, NULL, 'i' }, { "ready", 1, NULL, 'r' },
					       { "drain", 1, NULL, 'd' },    { "help", 0, NULL, 'h' },	{ NULL, 0, NULL, 0 } };
	int c, r;

	*o = (struct broker_options){ .ready_ms = 60000 };
	while ((c = usage_option("xen broker", argc, argv, ":hp:", longs)) != -1) {
		r = c == 'h' ? help() : option(o, c);
		if (r)
			return r;
	}
	if (optind + 1 != argc)
		return usage_error("xen broker", "one NAME is needed");
	if (!name_ok(argv[optind], ENTRY_NAME_MAX))
		return usage_error("xen broker", "a name has 1 to 32 letters, digits, '.', '_' or '-', not '%s'", argv[optind]);
	snprintf(o->name, sizeof(o->name), "%s", argv[optind]);
	if (!o->port_count || !o->pool.family)
		return usage_error("xen broker", "%s is needed", o->port_count ? "--pool FIRST-LAST/PREFIX" : "--publish PORT");
	return check_files(o);
}
