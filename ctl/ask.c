// SPDX-License-Identifier: Apache-2.0
/*
 * ask.c - one question to one broker.
 * Trust: as in ctl.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/registry.h"
#include "ctl/ctl.h"
#include "lib/fdpass.h"

int ask(const char *name, struct app *a)
{
	char text[65536];
	int fd = registry_connect(name, "ctl", SOCK_SEQPACKET), fds[3], count = 3, r = -EPROTO;
	ssize_t n;

	if (fd < 0)
		return fd;
	memset(a, 0, sizeof(*a));
	snprintf(a->name, sizeof(a->name), "%s", name);
	n = fdpass_recv(fd, text, sizeof(text) - 1, fds, &count, 0);
	close(fd);
	if (n == -EAGAIN)
		r = -ETIMEDOUT;
	if (n > 0) {
		text[n] = 0;
		a->info = json_loads(text, 0, NULL);
	}
	if (a->info && count == 3)
		r = flow_map(&a->view, name, fds[0], fds[1], fds[2]);
	for (int i = 0; i < count; i++)
		close(fds[i]);
	if (r < 0 && a->info)
		json_decref(a->info);
	return r;
}

void app_free(struct app *a)
{
	json_decref(a->info);
	flow_unmap(&a->view);
}

struct each {
	int (*fn)(struct app *a, void *arg);
	void *arg;
	int status;
};

static void one(const char *name, void *arg)
{
	struct each *e = arg;
	struct app a;
	int r = ask(name, &a);

	if (r == -ENOENT || r == -EPROTO)
		return; /* it is only starting, or ending */
	if (r < 0) {
		fprintf(stderr, "mw: %s does not answer: %s\n", name, strerror(-r));
		e->status = EXIT_PROBLEM;
		return;
	}
	r = e->fn(&a, e->arg);
	if (r)
		e->status = r;
	app_free(&a);
}

int ask_each(const char *name, int (*fn)(struct app *a, void *arg), void *arg)
{
	struct each e = { .fn = fn, .arg = arg };
	int fd;

	if (!name) {
		registry_each(one, &e);
		return e.status;
	}
	fd = registry_connect(name, "ctl", SOCK_SEQPACKET);
	if (fd < 0) {
		fprintf(stderr, "mw: nothing runs under the name %s: `mw ps` lists what does\n", name);
		return EXIT_PROBLEM;
	}
	close(fd);
	one(name, &e);
	return e.status;
}
