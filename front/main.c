// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - mw-front: `mw frontend`, and the mirror of a host's INSs in etcd (`mw registry`).
 * Trust: the command line is the user's, or the broker's.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "front/front.h"
#include "lib/about.h"
#include "lib/notify.h"
#include "lib/std.h"

static const char help[] =
	"Usage: mw-front frontend [OPTIONS] NAME\n"
	"       mw-front registry --etcd URL[,URL] [--helper DIR] NAME\n\n"
	"`mw frontend` and `mw registry`, which start it; those have the options, but for one:\n\n"
	"  --helper DIR  of the broker's own mirror: the runtime directory. Descriptor 3 is the broker's\n"
	"  -h, --help    this text; behind `frontend` or `registry`, of that\n"
	"  --version     its version\n";

int main(int argc, char **argv)
{
	static struct front_options o;
	bool registry = argc > 1 && !strcmp(argv[1], "registry");
	int r;

	std_hold();
	r = about("mw-front", help, argc, argv);
	if (r >= 0)
		return r;
	if (!registry && (argc < 2 || strcmp(argv[1], "frontend"))) {
		fprintf(stderr, "mw-front is started by `mw frontend` and `mw registry`\n");
		return 2;
	}
	r = registry ? options_registry(&o, argc - 1, argv + 1) : options_frontend(&o, argc - 1, argv + 1);
	if (r)
		return r < 0 ? std_flushed("mw", 0) : r;
	setvbuf(stderr, NULL, _IOLBF, 0);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	notify_take();
	return registry ? mirror(&o) : frontend(&o);
}
