// SPDX-License-Identifier: Apache-2.0
/*
 * frontend.c - `mw frontend`: the registry in, rules out.
 * Trust: entries were parsed (registry/), and what they claim is asked of the INS itself (probe.c). Nothing that works is taken away
 * because something else is wrong: what nftables refuses leaves the rules before it, and a registry that is away leaves what it said.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "front/apply.h"
#include "front/front.h"
#include "front/gone.h"
#include "front/grow.h"
#include "front/member.h"
#include "front/probe.h"
#include "front/rules.h"
#include "lib/clock.h"
#include "lib/lock.h"
#include "lib/notify.h"
#include "registry/dir.h"
#include "registry/etcd.h"

#define TICK_MS 200
#define FIRST_MS 5000		/* so long a first look may take before we say that we are ready all the same */

static struct {
	const struct front_options *o;
	char here[ENTRY_HOST_MAX + 1];
	struct store *store;
	struct member members[SPREAD_MAX];
	size_t count;
	int64_t started_ms, tick_ms;
	int signals;
	bool looked, ready, forwarding_said[2], done;
} f;

void frontend_say(const char *format, ...)
{
	char line[400];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	fprintf(stderr, "mw frontend: %s: %s\n", f.o->name, line);
}

/* --- INSs --- */

/* Where it is, or belongs: they are in the order of their keys. */
static size_t place_of(const char *key)
{
	size_t i = 0;

	while (i < f.count && strcmp(f.members[i].key, key) < 0)
		i++;
	return i;
}

static void on_changed(void *arg, const char *key, const struct entry *now, const char *text, size_t bytes)
{
	size_t i = place_of(key);
	struct member *m = &f.members[i];
	bool known = i < f.count && !strcmp(m->key, key);

	(void)arg;
	(void)text;
	(void)bytes;
	if (!now) {
		if (!known)
			return;
		if (m->in)
			frontend_say("INS %s is gone", key);
		gone_add(m, clock_ms());
		probe_stop(m);
		memmove(m, m + 1, (--f.count - i) * sizeof(*m));
		for (i = 0; i < f.count; i++)
			gone_back(&f.members[i].e); /* one address under two keys */
		return;
	}
	if (!known) {
		memmove(m + 1, m, (f.count++ - i) * sizeof(*m));
		*m = (struct member){ .fd = -1 };
		snprintf(m->key, sizeof(m->key), "%s", key);
	}
	gone_back(now);
	if (member_take(m, now, clock_ms()))
		probe_stop(m);
}

static void on_said(void *arg, const char *line)
{
	(void)arg;
	frontend_say("%s", line);
}

/* Two cannot have one address: the one that had it first keeps it. */
static bool is_claimed(const struct member *m)
{
	for (size_t i = 0; i < f.count; i++) {
		const struct member *other = &f.members[i];
		bool same4 = m->e.has4 && other->e.has4 && !memcmp(m->e.addr4, other->e.addr4, sizeof(m->e.addr4));
		bool same6 = m->e.has6 && other->e.has6 && !memcmp(m->e.addr6, other->e.addr6, sizeof(m->e.addr6));

		if (other != m && other->in && (same4 || same6))
			return true;
	}
	return false;
}

static void judge(void)
{
	for (size_t i = 0; i < f.count; i++) {
		struct member *m = &f.members[i];
		const char *why = member_refusal(m, store_heard_ms(f.store), f.o->heartbeat_ms);

		if (!why && is_claimed(m))
			why = "another INS has its address";
		if (!why && !m->in) {
			m->told = false;
			m->news = true;
		} else if (why && (m->in || m->probed) && !m->told) {
			m->told = m->news = true;
		}
		m->why = why;
		if (m->in || !m->out_ms)
			m->out_ms = clock_ms();
		m->in = !why;
		if (!m->in)
			m->weight = 0;
	}
}

/* Behind the rules, so that it is true when it is read. */
static void tell(void)
{
	for (size_t i = 0; i < f.count; i++) {
		struct member *m = &f.members[i];

		if (m->news && m->why)
			frontend_say("INS %s gets no new connections: %s", m->key, m->why);
		else if (m->news)
			frontend_say("INS %s gets connections", m->key);
		m->news = false;
	}
}

/* --- rules --- */

static size_t healthy(struct rules_member out[SPREAD_MAX])
{
	struct spread_load loads[SPREAD_MAX];
	struct member *of[SPREAD_MAX];
	size_t n = 0;

	for (size_t i = 0; i < f.count; i++) {
		struct member *m = &f.members[i];

		if (!m->in)
			continue;
		of[n] = m;
		loads[n++] = (struct spread_load){ m->e.cpu, m->e.connections, m->e.rate, m->weight };
	}
	spread_weigh(f.o->balance, loads, n);
	for (size_t i = 0; i < n; i++) {
		of[i]->weight = loads[i].weight;
		out[i] = (struct rules_member){ &of[i]->e, loads[i].weight };
	}
	return n;
}

static void plan(void)
{
	struct rules_member members[SPREAD_MAX];
	struct rules r = { .name = f.o->name, .balance = f.o->balance, .members = members };

	if (!f.looked || !apply_is_due(clock_ms()))
		return;
	r.count = healthy(members);
	r.taken_count = ports_taken(&r.taken, f.members, f.count, f.here);
	if (f.o->plan)
		f.done = apply_print(&r);
	else
		apply_rules(&r);
}

static void check_forwarding(void)
{
	static const char *const files[2] = { "/proc/sys/net/ipv4/conf/all/forwarding", "/proc/sys/net/ipv6/conf/all/forwarding" };

	for (size_t i = 0; i < f.count; i++)
		for (int v = 0; v < 2; v++) {
			const struct entry *e = &f.members[i].e;
			char on = '1';
			int fd;

			if (f.forwarding_said[v] || !strcmp(e->host, f.here) || !(v ? e->has6 : e->has4))
				continue;
			fd = open(files[v], O_RDONLY | O_CLOEXEC);
			if (fd >= 0 && read(fd, &on, 1) == 1 && on == '0')
				frontend_say("this host does not forward, and INS %s is on another: see %s", f.members[i].key, files[v]);
			if (fd >= 0)
				close(fd);
			f.forwarding_said[v] = true;
		}
}

/* --- the loop --- */

/* The first look is over when the registry has answered, and each INS was asked once whether it serves: until then the rules that
 * were found stay. */
static void first_look(int64_t now)
{
	bool all = store_heard_ms(f.store) != 0;

	for (size_t i = 0; i < f.count; i++)
		all = all && (f.members[i].probed || !member_probe_port(&f.members[i]) || f.members[i].e.state != ENTRY_UP);
	if (all)
		f.looked = true;
	if (!f.ready && !f.o->plan && (apply_is_done() || now >= f.started_ms + FIRST_MS)) {
		f.ready = true;
		notify_ready();
	}
}

static void tick(int64_t now)
{
	for (size_t i = 0; i < f.count; i++)
		probe_due(&f.members[i], now, f.o->heartbeat_ms);
	if (now < f.tick_ms)
		return;
	f.tick_ms = now + TICK_MS;
	gone_due(now, f.o->heartbeat_ms);
	apply_look(now);
	check_forwarding();
	if (f.looked)
		grow_decide(f.members, f.count, f.here, now);
	notify_alive();
}

static int wait_ms(int64_t now)
{
	int64_t first = f.tick_ms;
	int store = store_wait_ms(f.store);

	for (size_t i = 0; i < f.count; i++)
		if (f.members[i].fd >= 0 && f.members[i].late_ms < first)
			first = f.members[i].late_ms;
	if (store >= 0 && now + store < first)
		first = now + store;
	return clock_until(first);
}

static void loop(void)
{
	while (!f.done) {
		struct pollfd p[3 + SPREAD_MAX] = { { .fd = f.signals, .events = POLLIN }, { .fd = store_fd(f.store), .events = POLLIN },
						    { .fd = grow_fd(), .events = POLLIN } };
		size_t count = f.count;
		int64_t now;

		for (size_t i = 0; i < count; i++)
			p[3 + i] = (struct pollfd){ .fd = f.members[i].fd, .events = POLLOUT };
		if (poll(p, (nfds_t)(3 + count), wait_ms(clock_ms())) < 0)
			continue;
		if (p[0].revents)
			return;
		for (size_t i = 0; i < count; i++)
			if (p[3 + i].fd >= 0 && p[3 + i].revents)
				probe_ready(&f.members[i]);
		store_turn(f.store); /* after that they may have moved */
		now = clock_ms();
		grow_turn(now);
		judge();
		tick(now);
		first_look(now);
		plan();
		tell();
	}
}

/* One frontend for a name: two would undo each other's rules. The descriptor, or -errno. */
static int take_lock(const struct front_options *o, char path[PATH_MAX])
{
	int fd, r;

	snprintf(path, PATH_MAX, "%s/.frontend-%s", o->root, o->name);
	if (mkdir(o->root, 0700) < 0 && errno != EEXIST)
		return -errno;
	for (;;) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			r = errno == EWOULDBLOCK ? -EBUSY : -errno;
			close(fd);
			return r;
		}
		if (lock_is(fd, path))
			return fd;
		close(fd);
	}
}

static int start(void)
{
	struct store_watch watch = { on_changed, on_said, NULL };
	const char *found;
	sigset_t ends;
	int r;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	f.signals = signalfd(-1, &ends, SFD_CLOEXEC);
	grow_init(f.o);
	f.started_ms = clock_ms();
	gethostname(f.here, sizeof(f.here) - 1);
	r = f.signals < 0 ? -errno : apply_open(f.o->name);
	if (r == 0)
		r = f.o->etcd ? etcd_open(&f.store, f.o->etcd, f.o->name, &watch) : dir_open(&f.store, f.o->root, f.o->name, &watch);
	if (r == 0)
		r = sandbox_enter(f.o, CAP_NET_ADMIN, !f.o->plan);
	if (r < 0)
		return r;
	found = apply_find();
	ports_adopt(found ? strdup(found) : NULL);
	gone_found(found, f.started_ms);
	return 0;
}

static int end(void)
{
	int r;

	notify_stopping();
	grow_stop();
	for (size_t i = 0; i < f.count; i++)
		probe_stop(&f.members[i]);
	gone_stop();
	r = apply_close(!f.o->keep && !f.o->plan);
	store_close(f.store, 0);
	ports_adopt(NULL);
	return r < 0;
}

int frontend(const struct front_options *o)
{
	char path[PATH_MAX];
	int lock = -1, r;

	f.o = o;
	if (geteuid() != 0) {
		frontend_say("needs root, to change this host's nftables rules");
		return 1;
	}
	if (!o->plan) {
		lock = take_lock(o, path);
		if (lock < 0) {
			if (lock == -EBUSY)
				frontend_say("another frontend of that name runs on this host");
			else
				frontend_say("cannot make the lock %s: %s", path, strerror(-lock));
			return 1;
		}
	}
	r = start();
	if (r < 0) {
		frontend_say("cannot start: %s", strerror(-r));
		r = 1;
	} else {
		loop();
		r = end();
	}
	if (lock >= 0)
		unlink(path);
	return r;
}
