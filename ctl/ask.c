// SPDX-License-Identifier: Apache-2.0
/*
 * ask.c - one question to one broker.
 * Trust: as in ctl.h.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/heir.h"
#include "broker/plan.h"
#include "broker/registry.h"
#include "ctl/ctl.h"
#include "lib/fdpass.h"

void ask_absent(const char *name)
{
	if (!plan_name_ok(name))
		fprintf(stderr, "mw: no application has such a name, of 1 to 32 letters, digits, '.', '_' or '-': `mw ps` lists what runs\n");
	else if (heir_wanted(name, false))
		fprintf(stderr, "mw: %s runs without a broker, which was killed; take over by: mw run --adopt %s\n", name, name);
	else
		fprintf(stderr, "mw: nothing runs under the name %s: `mw ps` lists what does\n", name);
}

/* The next INS's record on a connection to a broker. 0, -ENOENT: that was all, or -errno. */
static int next(int fd, const char *name, struct app *a)
{
	static char text[65536];
	int fds[3], count = 3, r = -EBADMSG;
	ssize_t n = fdpass_recv(fd, text, sizeof(text) - 1, fds, &count, 0);

	if (n == -EAGAIN)
		return -ETIMEDOUT;
	if (n <= 0)
		return n < 0 && n != -ECONNRESET ? (int)n : -ENOENT;
	memset(a, 0, sizeof(*a));
	snprintf(a->name, sizeof(a->name), "%s", name);
	text[n] = 0;
	a->info = json_loads(text, 0, NULL);
	if (json_is_object(a->info) && count == 3)
		r = flow_map(&a->view, name, fds[0], fds[1], fds[2]);
	a->view.ins = (uint32_t)json_integer_value(json_object_get(a->info, "ins"));
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
	bool answered; /* or it was said why not */
};

int ask(const char *name, void (*fn)(struct app *a, void *arg), void *arg)
{
	int fd = registry_connect(name, "ctl", SOCK_SEQPACKET), r = fd < 0 ? fd : 0;
	struct app a;

	for (bool first = true; r == 0 && (r = next(fd, name, &a)) == 0; first = false) {
		a.first = first;
		fn(&a, arg);
	}
	if (fd >= 0)
		close(fd);
	return fd >= 0 && r == -ENOENT ? 0 : r;
}

static void call(struct app *a, void *arg)
{
	struct each *e = arg;
	int r = e->fn(a, e->arg);

	if (r)
		e->status = r;
	e->answered = true;
	app_free(a);
}

static void one(const char *name, void *arg)
{
	struct each *e = arg;
	int r = ask(name, call, e);

	if (r < 0 && heir_wanted(name, false)) {
		ask_absent(name);
		e->answered = true;
		return;
	}
	if (r == 0 || r == -ENOENT)
		return; /* that was all; or it is only starting, or ending */
	if (r == -EPROTO)
		fprintf(stderr, "mw: %s was started by another version of mw: look at it with the mw that started it\n", name);
	else
		fprintf(stderr, "mw: %s does not answer: %s\n", name, strerror(-r));
	e->status = EXIT_PROBLEM;
	e->answered = true;
}

size_t ask_entries(const char *name, void (*fn)(uint32_t ins, const char *path, void *arg), void *arg)
{
	char path[REGISTRY_PATH_MAX];
	size_t count = 0;
	struct dirent *e;
	DIR *d;

	registry_path(path, name, "ins");
	d = opendir(path);
	while (d && (e = readdir(d))) {
		char file[sizeof("ins/") + NAME_MAX], *end;
		unsigned long number = strtoul(e->d_name, &end, 10);

		if (end == e->d_name || strcmp(end, ".json") != 0)
			continue;
		snprintf(file, sizeof(file), "ins/%s", e->d_name);
		registry_path(path, name, file);
		fn((uint32_t)number, path, arg);
		count++;
	}
	if (d)
		closedir(d);
	return count;
}

struct numbers {
	uint32_t *out;
	size_t count, max;
};

static int number(struct app *a, void *arg)
{
	struct numbers *n = arg;

	if (n->count < n->max)
		n->out[n->count++] = a->view.ins;
	return 0;
}

size_t ask_numbers(const char *name, uint32_t *out, size_t max)
{
	struct numbers n = { .out = out, .max = max };

	if (ask_each(name, number, &n) == EXIT_OK && !n.count)
		fprintf(stderr, "mw: %s is only starting, or ending: try once more\n", name);
	return n.count;
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
		ask_absent(name);
		return EXIT_PROBLEM;
	}
	close(fd);
	one(name, &e);
	if (e.answered)
		return e.status;
	fprintf(stderr, "mw: %s does not answer: it is only starting, or ending; try once more\n", name);
	return EXIT_PROBLEM;
}
