// SPDX-License-Identifier: Apache-2.0
/*
 * run_xen.c - `mw run --xen`: the command, with the device's sockets. There is no broker: the stack is another machine's, and what
 * the kernel does for sockets, it does for these.
 * Trust: the user.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/broker.h"
#include "ctl/ctl.h"
#include "link/device.h"

#define FAILED 125

static void say_wait(void)
{
	FILE *f = fopen("/sys/module/mwcomms/parameters/wait", "re");
	unsigned int seconds;

	if (f && fscanf(f, "%u", &seconds) == 1)
		fprintf(stderr, "mw run: no INS serves this machine yet; a new socket waits %u s for one, then fails with ENETDOWN\n", seconds);
	if (f)
		fclose(f);
}

int run_xen(struct run_options *o)
{
	unsigned int inss = 0;
	char why[512];
	int r;

	if (device_check(&inss, why, sizeof(why)) < 0 || spawn_paths(why, sizeof(why)) < 0) {
		fprintf(stderr, "mw run: %s\n", why);
		return FAILED;
	}
	if (!inss)
		say_wait();
	spawn_choose_lane(o);
	r = spawn_become(o);
	fprintf(stderr, "mw run: cannot run %s: %s\n", o->command[0], strerror(-r));
	return r == -ENOENT ? 127 : 126;
}
