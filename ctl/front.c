// SPDX-License-Identifier: Apache-2.0
/*
 * front.c - `mw frontend` and `mw registry` become mw-front, `mw xen` becomes mw-xen: they have the libraries for it.
 * Trust: the user; who else may stand in for them, lib/beside.h says.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/registry.h"
#include "ctl/ctl.h"
#include "lib/beside.h"

static int become(const char *word, char **argv)
{
	char path[PATH_MAX];

	if (beside_find(path, "libexec", argv[0]) == 0)
		execv(path, argv);
	fprintf(stderr, "mw %s: cannot run %s: %s; run make, or make install\n", word, argv[0], strerror(errno));
	return EXIT_PROBLEM;
}

int cmd_front(int argc, char **argv)
{
	static char program[] = "mw-front";
	char root[REGISTRY_PATH_MAX], *args[64] = { program };

	if (argc > 60)
		return usage_error(argv[0], "too many arguments");
	for (int i = 0; i < argc; i++)
		args[i + 1] = argv[i];
	if (registry_root(root) < 0) {
		fprintf(stderr, "mw %s: the runtime directory %s has too long a name: see MW_RUNTIME_DIR in mw(1)\n", argv[0], root);
		return EXIT_PROBLEM;
	}
	setenv("MW_RUNTIME_DIR", root, 1);
	return become(argv[0], args);
}

int cmd_xen(int argc, char **argv)
{
	static char program[] = "mw-xen";

	if (argc > 1 && !strcmp(argv[1], "serve"))
		return cmd_serve(argc - 1, argv + 1);
	argv[0] = program;
	return become("xen", argv);
}
