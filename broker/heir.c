// SPDX-License-Identifier: Apache-2.0
/*
 * heir.c - see heir.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/deposit.h"
#include "broker/heir.h"

/* Of our own: it says nothing of who is asked. */
static bool is_shortage(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS;
}

bool heir_wanted(const char *name, bool any)
{
	struct depot_msg m = { .kind = DEPOT_HELLO };
	int fd = registry_connect(name, "adopt", SOCK_SEQPACKET), none[DEPOT_FDS], r;

	if (fd < 0)
		return any && (is_shortage(fd) || fd == -ETIMEDOUT);
	r = depot_send(fd, &m, NULL, 0);
	if (r == 0)
		r = depot_recv(fd, &m, none, 0);
	close(fd);
	return r == 1 ? any || !m.pid : any && is_shortage(r);
}

struct run_left {
	char name[REGISTRY_NAME_MAX + 1];
	char directory[PATH_MAX];
	struct heir_left left;
	enum lane lane;
	int argc;
	char args[];       /* each with its terminator */
};

static size_t args_bytes(const struct run_options *o)
{
	size_t n = 0;

	for (int i = 0; i < o->argc; i++)
		n += strlen(o->argv[i]) + 1;
	return n;
}

void heir_leave(const struct run_options *o, int lock, const struct heir_left *left)
{
	size_t n = sizeof(struct run_left) + args_bytes(o), at = 0;
	struct run_left *l = calloc(1, n);

	if (!l)
		return;
	snprintf(l->name, sizeof(l->name), "%s", o->name);
	if (!getcwd(l->directory, sizeof(l->directory)))
		l->directory[0] = 0;
	l->left = *left;
	l->lane = o->lane;
	l->argc = o->argc;
	for (int i = 0; i < o->argc; i++)
		at += strlen(strcpy(l->args + at, o->argv[i])) + 1;
	deposit_put("run", l, n, &lock, 1, NULL);
	free(l);
}

int heir_come(const char *name, const struct seat *s, int *deaths, pid_t *depot_pid)
{
	uint32_t version = DEPOT_VERSION;
	int r = deposit_adopt(s->depot, s->front, deaths, depot_pid, &version);

	if (r == -EBUSY)
		fprintf(stderr, "mw: %s has a broker, process %d: there is nothing to adopt\n", name, (int)*depot_pid);
	else if (version != DEPOT_VERSION)
		fprintf(stderr, "mw: %s was started by another version of mw: what its broker left is of version %u, and this mw (%s) takes %u; "
			"adopt it with the mw that started it\n", name, version, MW_RELEASE, DEPOT_VERSION);
	else if (r < 0)
		fprintf(stderr, "mw: cannot adopt %s: %s\n", name, strerror(-r));
	return r;
}

static char **args_of(const struct run_left *l, size_t bytes)
{
	char **argv = calloc((size_t)l->argc + 1, sizeof(*argv));
	const char *at = l->args, *end = l->args + bytes;

	for (int i = 0; argv && i < l->argc && at < end; i++, at += strlen(at) + 1)
		if (!(argv[i] = strdup(at))) {
			while (i > 0)
				free(argv[--i]);
			free(argv);
			return NULL;
		}
	return argv;
}

int heir_take(struct run_options *o, run_parse *parse, struct heir_left *left, char *why, size_t why_bytes)
{
	struct deposit *d = deposit_find("run"), *app = deposit_find("app");
	const struct run_left *l = d ? d->bytes : NULL;
	char **argv;

	snprintf(why, why_bytes, "what its broker left makes no sense");
	if (!l || !app || d->n < sizeof(*l) || l->argc < 0 || (size_t)l->argc > d->n)
		return -EPROTO;
	argv = args_of(l, d->n - sizeof(*l));
	if (!argv)
		return -ENOMEM;
	if (chdir(l->directory) < 0)
		fprintf(stderr, "mw: %s: files named relative to %s will not be found: %s\n", l->name, l->directory, strerror(errno));
	if (parse(o, l->argc, argv))
		return -EINVAL;
	snprintf(o->name, sizeof(o->name), "%s", l->name);
	o->lane = l->lane;
	*left = l->left;
	left->app_status = app->status;
	d->fds[0] = -1; /* the lock stays open: the name is ours as long as we live */
	return 0;
}
