// SPDX-License-Identifier: Apache-2.0
/*
 * mirror.c - see mirror.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "broker/helper.h"
#include "broker/mirror.h"
#include "lib/beside.h"

#define LIMIT_MS 300

static struct helper mirror = { .what = "the mirror in etcd", .lost = "other hosts see this one's INSs again when it serves" };

void mirror_reach(const struct run_options *o)
{
	char host[HOST_NAME_MAX + 1] = "", text[2 * PLAN_ADDR_BYTES];
	unsigned block = o->block;

	if (!o->etcd)
		return;
	gethostname(host, sizeof(host) - 1);
	if (block >= PLAN_BLOCKS)
		block = plan_block(host);
	net_reach(block);
	plan_block_text(text, sizeof(text), block);
	fprintf(stderr, "mw: %s: its INSs have addresses of %s: route these to this host, %s, from where frontends run\n", o->name, text, host);
}

int mirror_start(const struct run_options *o, char *why, size_t why_bytes)
{
	static char path[PATH_MAX], root[REGISTRY_PATH_MAX];

	if (!o->etcd)
		return 0;
	if (beside_find(path, "libexec", "mw-front") < 0) {
		snprintf(why, why_bytes, "mw-front is not beside mw nor installed: run make, or make install");
		return -ENOENT;
	}
	registry_root(root);
	mirror.path = path;
	mirror.argv[0] = "mw-front";
	mirror.argv[1] = "registry";
	mirror.argv[2] = "--helper";
	mirror.argv[3] = root;
	mirror.argv[4] = "--etcd";
	mirror.argv[5] = (char *)o->etcd;
	mirror.argv[6] = (char *)o->name;
	return helper_start(&mirror, why, why_bytes);
}

bool mirror_ended(pid_t pid, int status, const char *app)
{
	return mirror.path && helper_ended(&mirror, pid, status, app);
}

int mirror_wait_ms(void)
{
	return mirror.path ? helper_wait_ms(&mirror) : -1;
}

void mirror_due(void)
{
	if (mirror.path)
		helper_due(&mirror);
}

void mirror_end(void)
{
	helper_end(&mirror, LIMIT_MS);
}
