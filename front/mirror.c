// SPDX-License-Identifier: Apache-2.0
/*
 * mirror.c - what this host's directory says of an application's INSs is published in etcd, as it is, with a lease of ours.
 * Trust: entries were parsed on their way. The broker that started us is gone when the other end of FRONT_UP_FD is closed.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front/front.h"
#include "lib/notify.h"
#include "registry/dir.h"
#include "registry/etcd.h"

#define LIMIT_MS 1000

static const char *name;

static void on_changed(void *arg, const char *key, const struct entry *now, const char *text, size_t bytes)
{
	struct store *etcd = *(struct store **)arg;

	if (now)
		store_publish(etcd, key, text, bytes);
	else
		store_withdraw(etcd, key);
}

static void on_said(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "mw registry: %s: %s\n", name, line);
}

static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void loop(struct store *dir, struct store *etcd, int signals, int up)
{
	struct pollfd p[] = { { .fd = signals, .events = POLLIN }, { .fd = up }, { .fd = store_fd(dir), .events = POLLIN },
			      { .fd = store_fd(etcd), .events = POLLIN } };

	for (;;) {
		store_turn(dir);
		store_turn(etcd);
		notify_alive();
		poll(p, sizeof(p) / sizeof(p[0]), sooner(sooner(store_wait_ms(dir), store_wait_ms(etcd)), notify_wait_ms()));
		if (p[0].revents || p[1].revents)
			return;
	}
}

int mirror(const struct front_options *o)
{
	static struct store *dir, *etcd;
	struct store_watch from = { on_changed, on_said, &etcd }, to = { NULL, on_said, NULL };
	sigset_t ends;
	int signals, r;

	name = o->name;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signals = signalfd(-1, &ends, SFD_CLOEXEC);
	r = signals < 0 ? -errno : etcd_open(&etcd, o->etcd, o->name, &to);
	if (r == 0)
		r = dir_open(&dir, o->root, o->name, &from);
	if (r == 0)
		r = sandbox_enter(o, -1, false);
	if (r < 0) {
		fprintf(stderr, "mw registry: %s: cannot start: %s\n", o->name, strerror(-r));
		return 1;
	}
	if (o->helper && send(FRONT_UP_FD, "", 1, MSG_NOSIGNAL) < 0)
		return 1; /* it waits for us: our end tells */
	notify_ready();
	loop(dir, etcd, signals, o->helper ? FRONT_UP_FD : -1);
	notify_stopping();
	store_close(dir, 0);
	store_close(etcd, LIMIT_MS);
	return 0;
}
