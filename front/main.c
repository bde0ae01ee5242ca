// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - mw-front: `mw frontend`, and the mirror of a host's INSs in etcd (`mw registry`).
 * Trust: the command line is the user's, or the broker's.
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "front/front.h"
#include "lib/about.h"
#include "lib/notify.h"

static const char help[] =
	"Usage: mw-front frontend [OPTIONS] NAME\n"
	"       mw-front registry --etcd URL[,URL] [--helper DIR] NAME\n\n"
	"`mw frontend` and `mw registry`, which start it; those have the options, but for one:\n\n"
	"  --helper DIR  of the broker's own mirror: the runtime directory. Descriptor 3 is the broker's\n"
	"  -h, --help    this text; behind `frontend` or `registry`, of that\n"
	"  --version     its version\n";

/* Root's files stay readable: they are ours. A unit of systemd that left us no more than that may allow no change either. */
int confine(int capability)
{
	cap_value_t value = capability;
	cap_t set = cap_init(), now = cap_get_proc();
	int r = 0;

	if (!set || !now)
		r = -ENOMEM;
	else if (capability >= 0 &&
		 (cap_set_flag(set, CAP_PERMITTED, 1, &value, CAP_SET) < 0 || cap_set_flag(set, CAP_EFFECTIVE, 1, &value, CAP_SET) < 0))
		r = -errno;
	if (r == 0 && ((cap_compare(set, now) && cap_set_proc(set) < 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
		r = -errno;
	cap_free(set);
	cap_free(now);
	return r;
}

int main(int argc, char **argv)
{
	static struct front_options o;
	bool registry = argc > 1 && !strcmp(argv[1], "registry");
	int r = about("mw-front", help, argc, argv);

	if (r >= 0)
		return r;
	if (!registry && (argc < 2 || strcmp(argv[1], "frontend"))) {
		fprintf(stderr, "mw-front is started by `mw frontend` and `mw registry`\n");
		return 2;
	}
	r = registry ? options_registry(&o, argc - 1, argv + 1) : options_frontend(&o, argc - 1, argv + 1);
	if (r)
		return r < 0 ? 0 : r;
	setvbuf(stderr, NULL, _IOLBF, 0);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	notify_take();
	return registry ? mirror(&o) : frontend(&o);
}
