// SPDX-License-Identifier: Apache-2.0
/*
 * serve.c - `mw xen serve`: options to struct run_options.
 * Trust: the user.
 */
#include <stdio.h>
#include <string.h>

#include "broker/plan.h"
#include "broker/pvm.h"
#include "ctl/ctl.h"

static void help(void)
{
	printf("Usage: mw xen serve [OPTIONS]\n\n"
	       "In a protected virtual machine: follows its INS domains, so that `mw flows`, `mw top`, `mw close` and the rest work\n"
	       "here. All sockets of the machine are those of one application, whose name is " PVM_NAME ".\n\n"
	       "  --name NAME          another name\n"
	       "  --audit-log FILE     one line for each verdict (default: /var/log/mw-audit.log)\n"
	       "  --metrics [ADDR:]PORT\n"
	       "                       serve metrics for Prometheus, at the INS domains' addresses (ADDR: 0.0.0.0)\n"
	       "  --netflow ADDR:PORT  serve the MAGICWAND NetFlow stream by TCP too, at the INS domains' addresses (ADDR: 0.0.0.0); the\n"
	       "                       key /mw/pvm/netflow says where (default: on the UNIX socket /run/mw/NAME/netflow alone)\n"
	       "  --netflow-allow PREFIX\n"
	       "                       who may connect to it (repeatable; needed)\n"
	       "  -h, --help           this text\n");
}

int cmd_serve(int argc, char **argv)
{
	static const struct option longs[] = { { "name", 1, NULL, 'n' }, { "audit-log", 1, NULL, 'a' }, { "metrics", 1, NULL, 'M' },
					       { "netflow", 1, NULL, 'F' }, { "netflow-allow", 1, NULL, 'A' }, { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	static struct run_options o = { .name = PVM_NAME, .sample_fast_ms = 500, .sample_slow_s = 30 };
	int c, r;

	run_options_of("xen serve");
	while ((c = usage_option("xen serve", argc, argv, ":h", longs)) != -1) {
		if (c == 'h') {
			help();
			return EXIT_OK;
		}
		r = run_option(&o, c);
		if (r)
			return r;
	}
	if (optind < argc)
		return usage_error("xen serve", "takes no argument, not '%s'", argv[optind]);
	return run_check_netflow(&o.netflow) ? EXIT_USAGE : pvm_serve(&o);
}
