// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - mw: the command line's first word.
 * Trust: the user.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "lib/std.h"

#ifndef MW_RELEASE
#define MW_RELEASE "0"
#endif

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "run", cmd_run, "run a command with its sockets on an isolated network stack" },
	{ "ps", cmd_ps, "list protected applications" },
	{ "flows", cmd_flows, "list connections, or follow them" },
	{ "top", cmd_top, "watch connections live; close, reset or block them" },
	{ "close", cmd_verb, "end connections" },
	{ "reset", cmd_verb, "reset connections" },
	{ "block", cmd_verb, "refuse an address or a prefix" },
	{ "unblock", cmd_verb, "end a block" },
	{ "set", cmd_verb, "set an option of live sockets" },
	{ "cap", cmd_verb, "at most so many connections for each peer" },
	{ "backlog", cmd_verb, "another backlog for a listener" },
	{ "minrate", cmd_verb, "reset peers that owe bytes and are slower" },
	{ "list", cmd_list, "list what was ordered" },
	{ "undo", cmd_undo, "undo it" },
	{ "gate", cmd_gate, "keep new connections from the application until they say something" },
	{ "frontend", cmd_front, "spread new connections over the INSs of an application" },
	{ "registry", cmd_front, "publish the INSs of this host for frontends on others" },
	{ "ins", cmd_ins, "list, add, drain, kill or upgrade the stacks of an application" },
	{ "xen", cmd_xen, "on dom0: prepare a protected machine and keep its INS domains; in that machine: serve `mw`" },
	{ "doctor", cmd_doctor, "say what is not protected, or cannot be, and what to do" },
};

static void help(void)
{
	printf("Usage: mw COMMAND [OPTIONS]\n\nProtects a server from low-volume denial of service: runs it unmodified "
		   "on an\nisolated network stack and shows every connection while it lives.\n\nCommands:\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].help);
	printf("\n`mw COMMAND --help` tells more; mw(1) all. `mw --version` says which this is.\n");
}

int main(int argc, char **argv)
{
	std_hold();
	if (argc < 2)
		return usage_error("", "no command");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help();
		return std_flushed("mw", EXIT_OK);
	}
	if (!strcmp(argv[1], "--version")) {
		printf("mw %s\n", MW_RELEASE);
		return std_flushed("mw", EXIT_OK);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return std_flushed("mw", commands[i].run(argc - 1, argv + 1));
	return usage_error("", "unknown command '%s'", argv[1]);
}
