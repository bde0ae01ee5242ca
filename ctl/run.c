// SPDX-License-Identifier: Apache-2.0
/*
 * run.c - `mw run`: options to struct run_options.
 * Trust: the user.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/ipfix.h"
#include "broker/map.h"
#include "ctl/ctl.h"
#include "lib/addr.h"
#include "lib/units.h"
#include "link/gate.h"

static const char *command = "run"; /* whose options they are: also of "xen serve" */

static void help(void)
{
	printf("Usage: mw run [OPTIONS] [--] COMMAND [ARGUMENT...]\n"
	       "       mw run --adopt NAME\n"
	       "       mw run --xen [--lane LANE] [--] COMMAND [ARGUMENT...]\n\n"
	       "Runs COMMAND unmodified with all its IP sockets on an isolated network stack.\n\n"
	       "  --name NAME          name for `mw ps` and the rest (default: the command's)\n"
	       "  --net isolated|host  isolated (default): the stack has a network namespace of its own, and what\n"
	       "                       listens is published on the host; needs root. host: it uses this namespace\n"
	       "  -p, --publish [ADDR:]HOST:PORT[/udp]\n"
	       "                       publish the application's PORT on the host's port HOST (repeatable;\n"
	       "                       without it every port is published under its own number)\n"
	       "  --lane auto|ring|stream\n"
	       "                       how the command's socket calls are caught. ring: a preloaded library; stream:\n"
	       "                       system calls are trapped, for static and Go programs; auto (default): as needed\n"
	       "  --host-loopback      connections to 127.0.0.1 and ::1 that nobody of the application takes go to what\n"
	       "                       listens there on the host (default: loopback is the application's own)\n"
	       "  --audit-log FILE     one line for each verdict (default for root: /var/log/mw-audit.log)\n"
	       "  --gate [PORT=]none|data|http|tls|auto[,deadline=TIME][,limit=SIZE][,per-peer=N]\n"
	       "                       keep new connections from the command until they have sent a first byte, a whole\n"
	       "                       HTTP/1 header, a whole TLS ClientHello, or one of these by the first byte; those\n"
	       "                       that do not within 10 s or 32k, and more than 100 of a peer, are reset (repeatable;\n"
	       "                       default none; see `mw gate`)\n"
	       "  --ins N              isolated network stacks to start with, which share the connections (default: 1, at most\n"
	       "                       64; more than one needs --net isolated; see `mw ins`)\n"
	       "  --max-sockets N      sockets at a time (default: half of the descriptors allowed)\n"
	       "  --core               a worker of an INS that crashes may leave a core, where kernel.core_pattern is a program\n"
	       "                       (default: none, for it has what the connections carry; see mw(1))\n"
	       "  --sample-fast MS     while somebody looks, ask the kernel about silent and suspect connections so often\n"
	       "                       (default: 500), and\n"
	       "  --sample-slow S      about the rest (default: 30)\n"
	       "  --metrics [ADDR:]PORT\n"
	       "                       serve metrics of it for Prometheus at http://ADDR:PORT/metrics (default address:\n"
	       "                       127.0.0.1; whoever reaches the port may read)\n"
	       "  --ipfix udp:HOST:PORT|tcp:HOST:PORT|file:PATH\n"
	       "                       flow records by IPFIX to a collector or a file (up to 4 times)\n"
	       "  --ipfix-timeout S    a flow that lives is reported every S seconds (default: 60)\n"
	       "  --netflow ADDR:PORT  serve the MAGICWAND NetFlow stream by TCP too, on that address of the host\n"
	       "                       (default: on the UNIX socket /run/mw/NAME/netflow alone)\n"
	       "  --netflow-allow PREFIX\n"
	       "                       who may connect to it (repeatable; needed unless ADDR is a loopback address)\n"
	       "  --etcd URL[,URL]     publish its INSs in etcd (http://HOST:2379), for frontends on other hosts; their ports are\n"
	       "                       reached at the INSs' own addresses then (see `mw frontend`)\n"
	       "  --block N            of which /24 those are, 0 to 255 (default: from the host's name)\n"
	       "  --adopt NAME         takes over from the broker of NAME, which was killed: what it ran goes on meanwhile (alone)\n"
	       "  --xen                in a virtual machine that INS domains serve: the sockets are those of /dev/mwcomms, which the\n"
	       "                       module mwcomms makes (see mw(1))\n"
	       "  --resume             with --name: takes over in the same way if it runs, else starts COMMAND (for systemd)\n"
	       "  -h, --help           this text\n\n"
	       "The exit status is the command's; 128 + N after signal N; 125 when mw itself failed, 126 or 127 when\n"
	       "the command could not be run or found.\n");
}

static int add_map(struct run_options *o, const char *text)
{
	if (o->map_count == MAPS_MAX)
		return usage_error(command, "more than %d ports to publish", MAPS_MAX);
	if (!map_parse(text, &o->maps[o->map_count]))
		return usage_error(command, "'%s' is not [ADDR:]HOST:PORT[/udp] (as in 8080:80, 5353:53/udp or 192.0.2.1:8080:80)", text);
	o->map_count++;
	return 0;
}

/* The option's argument, of a range. */
static int number(const char *name, uint32_t low, uint32_t high, uint32_t *out)
{
	char *end;
	unsigned long n = strtoul(optarg, &end, 10);

	if (optarg[0] < '0' || optarg[0] > '9' || *end || n < low || n > high)
		return usage_error(command, "--%s is a number from %u to %u, not '%s'", name, low, high, optarg);
	*out = (uint32_t)n;
	return 0;
}

/* [ADDR:]PORT. Without an address it is for this machine alone. */
static bool parse_listen(const char *argument, struct mw_addr *a)
{
	struct plan_port m = { .addr = { 127, 0, 0, 1 }, .family = AF_INET };
	char text[128], *colon;

	if (strlen(argument) >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%s", argument);
	colon = strrchr(text, ':');
	if (colon)
		*colon = 0;
	if ((colon && !map_address(text, &m)) || !units_port(colon ? colon + 1 : text, &m.host_port))
		return false;
	memset(a, 0, sizeof(*a));
	a->family = m.family == AF_INET ? MW_FAMILY_IP4 : MW_FAMILY_IP6;
	a->port = m.host_port;
	memcpy(a->addr, m.addr, m.family == AF_INET ? 4 : 16);
	return true;
}

static int add_ipfix(struct run_options *o, const char *text)
{
	struct ipfix_target t;

	if (o->ipfix_count == TELEM_IPFIX_MAX)
		return usage_error(command, "more than %d IPFIX collectors", TELEM_IPFIX_MAX);
	if (!ipfix_parse(&t, text))
		return usage_error(command, "'%s' is not udp:HOST:PORT, tcp:HOST:PORT or file:PATH (as in udp:192.0.2.1:4739 or "
					  "tcp:[2001:db8::1]:4739)", text);
	o->ipfix[o->ipfix_count++] = text;
	return 0;
}

static int add_allowed(struct netflow_options *o, const char *text)
{
	if (o->allow_count == NETFLOW_ALLOW_MAX)
		return usage_error(command, "more than %d prefixes for --netflow-allow", NETFLOW_ALLOW_MAX);
	if (prefix_parse(&o->allow[o->allow_count], text) < 0)
		return usage_error(command, "--netflow-allow is an address or prefix (192.0.2.0/24, 2001:db8::/32), not '%s'", text);
	o->allow_count++;
	return 0;
}

static int add_gate(struct run_options *o, const char *text)
{
	struct gate_settings g;
	uint16_t port;

	if (o->gate_count == GATES_MAX)
		return usage_error(command, "more than %d gates", GATES_MAX);
	if (!gate_parse(text, &port, &g))
		return usage_error(command, "--gate is [PORT=]none|data|http|tls|auto[,deadline=TIME][,limit=SIZE][,per-peer=N] (as in http or "
					  "443=tls,deadline=5s), not '%s'", text);
	o->gates[o->gate_count++] = text;
	return 0;
}

void run_options_of(const char *other)
{
	command = other;
}

int run_option(struct run_options *o, int c)
{
	unsigned long n;
	char *end;

	switch (c) {
	case 'n':
		if (!plan_name_ok(optarg))
			return usage_error(command, "a name has 1 to 32 letters, digits, '.', '_' or '-', not '%s'", optarg);
		snprintf(o->name, sizeof(o->name), "%s", optarg);
		return 0;
	case 'N':
		o->isolated = !strcmp(optarg, "isolated");
		if (!o->isolated && strcmp(optarg, "host"))
			return usage_error(command, "--net is isolated or host, not '%s'", optarg);
		return 0;
	case 'l':
		o->lane = !strcmp(optarg, "ring") ? LANE_RING : !strcmp(optarg, "stream") ? LANE_STREAM : LANE_AUTO;
		if (o->lane == LANE_AUTO && strcmp(optarg, "auto"))
			return usage_error(command, "--lane is auto, ring or stream, not '%s'", optarg);
		return 0;
	case 'm':
		n = strtoul(optarg, &end, 10);
		if (optarg[0] < '0' || optarg[0] > '9' || *end || !n || n > UINT32_MAX)
			return usage_error(command, "--max-sockets is a number above 0, not '%s'", optarg);
		o->max_sockets = (uint32_t)n;
		return 0;
	case 'a':
		if (strlen(optarg) >= sizeof(o->audit))
			return usage_error(command, "--audit-log takes a path of at most %zu bytes", sizeof(o->audit) - 1);
		snprintf(o->audit, sizeof(o->audit), "%s", optarg);
		return 0;
	case 'f':
		return number("sample-fast", 50, 60000, &o->sample_fast_ms);
	case 's':
		return number("sample-slow", 1, 86400, &o->sample_slow_s);
	case 'k':
		return number("ins", 1, PLAN_INS_MAX, &o->ins_count);
	case 'R':
		o->resume = true;
		return 0;
	case 'X':
		o->xen = true;
		return 0;
	case 'C':
		o->core = true;
		return 0;
	case 'L':
		o->host_loopback = true;
		return 0;
	case 'i':
		return add_ipfix(o, optarg);
	case 'I':
		return number("ipfix-timeout", 1, 86400, &o->ipfix_timeout_s);
	case 'F':
		if (!netflow_parse(&o->netflow.addr, optarg))
			return usage_error(command, "--netflow is ADDR:PORT (127.0.0.1:2055, [::1]:2055), not '%s'", optarg);
		return 0;
	case 'A':
		return add_allowed(&o->netflow, optarg);
	case 'p':
		return add_map(o, optarg);
	case 'M':
		if (!parse_listen(optarg, &o->metrics))
			return usage_error(command, "--metrics is [ADDR:]PORT (as in 9464, 192.0.2.1:9464 or [::1]:9464), not '%s'", optarg);
		return 0;
	case 'g':
		return add_gate(o, optarg);
	case 'e':
		if (strncmp(optarg, "http://", 7) && strncmp(optarg, "https://", 8))
			return usage_error(command, "--etcd is http://HOST:PORT or https://HOST:PORT, not '%s'", optarg);
		o->etcd = optarg;
		return 0;
	case 'B':
		return number("block", 0, PLAN_BLOCKS - 1, &o->block);
	default:
		return EXIT_USAGE;
	}
}

int run_check_netflow(const struct netflow_options *o)
{
	if (o->addr.family == MW_FAMILY_NONE && o->allow_count)
		return usage_error(command, "--netflow-allow is for --netflow; the UNIX socket is yours alone");
	if (o->addr.family != MW_FAMILY_NONE && !addr_is_loopback(&o->addr) && !o->allow_count)
		return usage_error(command, "who connects to --netflow can close any connection: on an address that others can reach, "
					  "say who may by --netflow-allow PREFIX");
	return 0;
}

/* What cannot work is said before anything starts. */
static int check(const struct run_options *o)
{
	if (run_check_netflow(&o->netflow))
		return EXIT_USAGE;
	if (o->resume && !o->name[0])
		return usage_error(command, "--resume needs --name: of what would be taken over");
	if (!o->isolated && o->map_count)
		return usage_error(command, "-p maps ports of an isolated network; with --net host the application's ports are "
					  "the host's");
	if (!o->isolated && o->etcd)
		return usage_error(command, "--etcd is for an isolated network; with --net host the INS has no address of its own");
	if (!o->isolated && o->ins_count > 1)
		return usage_error(command, "--ins %u needs a network for each; with --net host there is one", o->ins_count);
	if (!o->isolated && o->host_loopback)
		return usage_error(command, "--host-loopback is for an isolated network; with --net host loopback is the host's");
	if (o->isolated && geteuid() != 0) {
		fprintf(stderr, "mw run: --net isolated needs root, to connect the INS's network to the host's; run as root, "
				"or use --net host\n");
		return 125;
	}
	return 0;
}

static const struct option longs[] = { { "name", 1, NULL, 'n' },    { "net", 1, NULL, 'N' },
				       { "publish", 1, NULL, 'p' }, { "max-sockets", 1, NULL, 'm' }, { "ins", 1, NULL, 'k' },
				       { "lane", 1, NULL, 'l' },    { "core", 0, NULL, 'C' },
				       { "ipfix", 1, NULL, 'i' },   { "ipfix-timeout", 1, NULL, 'I' },
				       { "host-loopback", 0, NULL, 'L' }, { "audit-log", 1, NULL, 'a' },
				       { "sample-fast", 1, NULL, 'f' }, { "sample-slow", 1, NULL, 's' },
				       { "metrics", 1, NULL, 'M' },
				       { "netflow", 1, NULL, 'F' }, { "netflow-allow", 1, NULL, 'A' },
				       { "gate", 1, NULL, 'g' }, { "etcd", 1, NULL, 'e' }, { "block", 1, NULL, 'B' },
				       { "adopt", 1, NULL, 'D' },   { "resume", 0, NULL, 'R' },
				       { "xen", 0, NULL, 'X' },     { "help", 0, NULL, 'h' },    { NULL, 0, NULL, 0 } };

static void option_name(int c, char *to, size_t bytes)
{
	for (const struct option *o = longs; o->name; o++)
		if (o->val == c)
			snprintf(to, bytes, "%s", o->name);
}

/* EXIT_OK with no command: --help. */
static int parse(struct run_options *o, int argc, char **argv)
{
	char without[32] = "";
	int c, r;

	*o = (struct run_options){ .isolated = true, .ins_count = 1, .sample_fast_ms = 500, .sample_slow_s = 30, .block = PLAN_BLOCKS,
				   .argc = argc, .argv = argv };
	optind = 1;
	while ((c = usage_option(command, argc, argv, "+:p:h", longs)) != -1) {
		if (c == 'h') {
			help();
			return EXIT_OK;
		}
		r = c == 'D' ? usage_error(command, "--adopt NAME goes alone: everything else is as it was") : run_option(o, c);
		if (r)
			return r;
		if (c != 'X' && c != 'l')
			option_name(c, without, sizeof(without));
	}
	if (o->xen && without[0])
		return usage_error(command, "--xen goes with --lane alone: --%s is for a stack on this machine", without);
	if (optind == argc)
		return usage_error(command, "no command to run");
	o->command = argv + optind;
	return o->xen ? 0 : check(o);
}

/* "--adopt NAME" or "--adopt=NAME", alone. */
static const char *adopted(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--adopt"))
		return argv[2];
	return argc == 2 && !strncmp(argv[1], "--adopt=", 8) ? argv[1] + 8 : NULL;
}

int cmd_run(int argc, char **argv)
{
	const char *name = adopted(argc, argv);
	static struct run_options o;
	int r;

	if (name && !plan_name_ok(name))
		return usage_error(command, "a name has 1 to 32 letters, digits, '.', '_' or '-', not '%s'", name);
	if (name)
		return run_adopt(name, parse);
	r = parse(&o, argc, argv);
	if (r || !o.command)
		return r;
	return o.xen ? run_xen(&o) : run(&o, parse);
}
