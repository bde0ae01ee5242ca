// SPDX-License-Identifier: Apache-2.0
/*
 * front.c - `mw frontend` and `mw registry` become mw-front, which has the libraries for it.
 * Trust: the user; who else may stand in for mw-front, lib/beside.h says.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/registry.h"
#include "ctl/ctl.h"
#include "lib/beside.h"

int cmd_front(int argc, char **argv)
{
	char path[PATH_MAX], root[REGISTRY_PATH_MAX], *args[64] = { "mw-front" };

	if (argc > 60)
		return usage_error(argv[0], "too many arguments");
	for (int i = 0; i < argc; i++)
		args[i + 1] = argv[i];
	registry_root(root);
	setenv("MW_RUNTIME_DIR", root, 1);
	if (beside_find(path, "libexec", "mw-front") == 0)
		execv(path, args);
	fprintf(stderr, "mw %s: cannot run mw-front: %s; run make, or make install\n", argv[0], strerror(errno));
	return EXIT_PROBLEM;
}
