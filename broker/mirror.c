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

static struct helper mirror = { .key = "helper/mirror", .what = "the mirror in etcd", .lost = "other hosts see this one's INSs again when it serves" };

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

static char path[PATH_MAX];

static int find(char *why, size_t why_bytes)
{
	if (beside_find(path, "libexec", "mw-front") < 0) {
		snprintf(why, why_bytes, "mw-front is not beside mw nor installed: run make, or make install");
		return -ENOENT;
	}
	mirror.path = path;
	return 0;
}

int mirror_adopt(const struct run_options *o, char *why, size_t why_bytes)
{
	int r = o->etcd ? find(why, why_bytes) : 0;

	if (r < 0 || !o->etcd || helper_adopt(&mirror))
		return r;
	return mirror_start(o, why, why_bytes);
}

int mirror_start(const struct run_options *o, char *why, size_t why_bytes)
{
	static char root[REGISTRY_PATH_MAX];
	int r = o->etcd ? find(why, why_bytes) : 0;

	if (!o->etcd || r < 0)
		return r;
	registry_root(root);
	mirror.argv[0] = "mw-front";
	mirror.argv[1] = "registry";
	mirror.argv[2] = "--helper";
	mirror.argv[3] = root;
	mirror.argv[4] = "--etcd";
	mirror.argv[5] = o->etcd;
	mirror.argv[6] = o->name;
	return helper_start(&mirror, why, why_bytes);
}

bool mirror_ended(pid_t pid, int status, const char *app)
{
	return mirror.path && helper_ended(&mirror, pid, status, app);
}

bool mirror_gone(const char *app)
{
	return mirror.path && helper_gone(&mirror, app);
}

int mirror_up(void)
{
	return mirror.path && mirror.pid && mirror.adopted ? mirror.up : -1;
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
	if (!mirror.path)
		return;
	helper_end(&mirror, LIMIT_MS);
}
