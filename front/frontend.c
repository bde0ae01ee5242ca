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

#include "front/control.h"
#include "front/front.h"
#include "front/gone.h"
#include "front/member.h"
#include "front/probe.h"
#include "front/rules.h"
#include "front/steps.h"
#include "front/table.h"
#include "lib/clock.h"
#include "lib/notify.h"
#include "registry/dir.h"
#include "registry/etcd.h"

#define NO_MEMORY "no memory for the rules"
#define TICK_MS 200
#define LOOK_MS 2000		/* is the table still there? */
#define AGAIN_MS 1000		/* what was refused is tried again, then less often */
#define AGAIN_MAX_MS 30000
#define FIRST_MS 5000		/* so long a first look may take before we say that we are ready all the same */

static struct {
	const struct front_options *o;
	char here[ENTRY_HOST_MAX + 1];
	struct store *store;
	struct member members[SPREAD_MAX];
	size_t count;
	struct table table;
	struct scale scale;
	struct control control;
	char *applied, *maps;	/* the table in the kernel, NULL: none; what its maps hold, NULL: not ours yet */
	char refused[TABLE_WHY_BYTES], control_refused[CONTROL_WHY_BYTES], asked[96];
	int64_t started_ms, tick_ms, look_ms, try_ms, again_ms;
	int signals;
	bool looked, ready, forwarding_said[2], done;
} f;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
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
			say("INS %s is gone", key);
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
	member_take(m, now, clock_ms());
}

static void on_said(void *arg, const char *line)
{
	(void)arg;
	say("%s", line);
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
			say("INS %s gets connections", m->key);
			m->told = false;
		} else if (why && (m->in || m->probed) && !m->told) {
			say("INS %s gets no new connections: %s", m->key, why);
			m->told = true;
		}
		if (m->in || !m->out_ms)
			m->out_ms = clock_ms();
		m->in = !why;
		if (!m->in)
			m->weight = 0;
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

static void refused(const char *why)
{
	if (strcmp(f.refused, why))
		say("%s", why);
	snprintf(f.refused, sizeof(f.refused), "%s", why);
	f.again_ms = f.again_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS : f.again_ms * 2;
	f.try_ms = clock_ms() + f.again_ms;
}

/* 0: the table; -1: what its maps get; 1: what they get in place of what they have. The caller's to free. */
static char *text_of(const struct rules *r, int which)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);
	int err;

	if (!out) {
		refused(NO_MEMORY);
		return NULL;
	}
	err = which ? rules_write_maps(out, r, which > 0) : rules_write_table(out, r);
	if (fclose(out) == 0 && err == 0)
		return text;
	if (err == -ENOSPC && strcmp(f.refused, "many")) {
		snprintf(f.refused, sizeof(f.refused), "many");
		say("more than %d ports are published; what was forwarded stays", RULES_PORTS_MAX);
	}
	free(text);
	return NULL;
}

static void accepted(char *table, char *maps)
{
	if (f.refused[0])
		say("the rules are in force again");
	f.refused[0] = 0;
	f.again_ms = AGAIN_MS;
	free(f.applied);
	free(f.maps);
	f.applied = table;
	f.maps = maps;
}

/* One transaction; nothing to do is done. */
static int commit(char *text, bool whole, char why[TABLE_WHY_BYTES])
{
	int r = 0;

	if (!text) {
		snprintf(why, TABLE_WHY_BYTES, NO_MEMORY);
		r = -ENOMEM;
	} else if (*text) {
		r = table_apply(&f.table, text, whole, why);
	}
	free(text);
	return r;
}

static char *step_text(enum steps_step step, const char *table, const char *maps)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	steps_write(out, step, f.o->name, table, maps, f.applied);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static int apply_steps(const char *table, const char *maps, char why[TABLE_WHY_BYTES])
{
	int r = 0;

	for (enum steps_step step = STEPS_ADD; r == 0 && step < STEPS_COUNT; step++)
		r = commit(step_text(step, table, maps), false, why);
	return r;
}

static int apply_whole(const char *table, const char *maps, char why[TABLE_WHY_BYTES])
{
	char *text;

	return commit(asprintf(&text, "%s%s", table, maps) < 0 ? NULL : text, true, why);
}

/* Takes both texts. What is there may be of another version, so that steps lead nowhere: then all anew. */
static void apply(const struct rules *r, char *table, char *maps)
{
	char why[TABLE_WHY_BYTES];
	int err = -ENOENT;

	if (f.applied)
		err = !strcmp(f.applied, table) ? commit(text_of(r, 1), false, why) : apply_steps(table, maps, why);
	if (err < 0)
		err = apply_whole(table, maps, why);
	if (err == 0) {
		accepted(table, maps);
		return;
	}
	free(table);
	free(maps);
	refused(why);
	free(f.applied);
	f.applied = table_text(&f.table); /* as far as it came */
}

static void plan(void)
{
	struct rules_member members[SPREAD_MAX];
	struct rules r = { .name = f.o->name, .balance = f.o->balance, .members = members };
	char *table, *maps;

	if (!f.looked || clock_ms() < f.try_ms)
		return;
	r.count = healthy(members);
	r.taken_count = ports_taken(&r.taken, f.members, f.count, f.here, say);
	table = text_of(&r, 0);
	maps = table ? text_of(&r, -1) : NULL;
	if (maps && f.o->plan) {
		printf("%s%s", table, maps);
		f.done = true;
	} else if (maps && !(f.applied && f.maps && !strcmp(table, f.applied) && !strcmp(maps, f.maps))) {
		apply(&r, table, maps);
		return;
	}
	free(table);
	free(maps);
}

/* Who reloads a firewall may flush our table too. */
static void look_at_table(int64_t now)
{
	if (now < f.look_ms)
		return;
	f.look_ms = now + LOOK_MS;
	if (!f.applied || table_is_there(&f.table))
		return;
	say("somebody removed table inet mwf-%s; it is made again", f.o->name);
	free(f.applied);
	f.applied = NULL;
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
				say("this host does not forward, and INS %s is on another: see %s", f.members[i].key, files[v]);
			if (fd >= 0)
				close(fd);
			f.forwarding_said[v] = true;
		}
}

/* --- more and fewer INSs --- */

static void ask(const char *what, uint32_t ins)
{
	char path[PATH_MAX], why[CONTROL_WHY_BYTES];

	snprintf(path, sizeof(path), "%s/%s/ins-ctl", f.o->root, f.o->name);
	if (!strcmp(what, "add"))
		snprintf(f.asked, sizeof(f.asked), "the INSs are busy, or too few: another one is started");
	else if (!strcmp(what, "kill"))
		snprintf(f.asked, sizeof(f.asked), "INS %u has no connections any more: it is ended", ins);
	else
		snprintf(f.asked, sizeof(f.asked), "INS %u is retired: it gets no new connections", ins);
	if (control_ask(&f.control, path, what, ins, why) == 0)
		return;
	if (strcmp(f.control_refused, why))
		say("the broker cannot be asked: %s", why);
	snprintf(f.control_refused, sizeof(f.control_refused), "%s", why);
}

/* The one to retire: with the fewest connections; of equals the youngest. */
static const struct member *least_used(void)
{
	const struct member *best = NULL;

	for (size_t i = 0; i < f.count; i++) {
		const struct member *m = &f.members[i];

		if (strcmp(m->e.host, f.here) || !m->in)
			continue;
		if (!best || m->e.connections < best->e.connections ||
		    (m->e.connections <= best->e.connections && m->e.ins > best->e.ins))
			best = m;
	}
	return best;
}

/* Drained, and what was on its way to it when its rules went has come and is counted. */
static const struct member *drained(int64_t now)
{
	for (size_t i = 0; i < f.count; i++) {
		const struct member *m = &f.members[i];

		if (!strcmp(m->e.host, f.here) && m->e.state == ENTRY_DRAIN && m->e.connections < 1 && !m->in &&
		    now - m->out_ms > (MEMBER_MISSES + 1) * (int64_t)f.o->heartbeat_ms)
			return m;
	}
	return NULL;
}

static void scale(int64_t now)
{
	const struct member *m = drained(now);
	unsigned count = 0, loaded = 0;
	double load = 0;

	if (!f.scale.max || f.control.fd >= 0 || !f.looked)
		return;
	for (size_t i = 0; i < f.count; i++) {
		const struct member *each = &f.members[i];
		bool runs = each->e.state == ENTRY_UP || each->e.state == ENTRY_STARTING;

		if (strcmp(each->e.host, f.here) || !runs)
			continue;
		count++;
		loaded += each->in;
		load += each->in ? each->e.cpu : 0;
	}
	if (m) {
		ask("kill", m->e.ins);
		return;
	}
	switch (scale_decide(&f.scale, now, count, loaded ? load / loaded : 0)) {
	case SCALE_ADD:
		ask("add", 0);
		break;
	case SCALE_RETIRE:
		m = least_used();
		if (m)
			ask("drain", m->e.ins);
		break;
	default:
		break;
	}
}

static void control_event(int64_t now)
{
	char why[CONTROL_WHY_BYTES];

	if (f.control.fd < 0 || !control_turn(&f.control, now, why))
		return;
	if (!why[0])
		say("%s", f.asked);
	else if (strcmp(why, f.control_refused))
		say("the broker refuses: %s", why);
	snprintf(f.control_refused, sizeof(f.control_refused), "%s", why);
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
	if (!f.ready && !f.o->plan && (f.maps || now >= f.started_ms + FIRST_MS)) {
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
	look_at_table(now);
	check_forwarding();
	scale(now);
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
						    { .fd = f.control.fd, .events = POLLIN } };
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
		control_event(now);
		judge();
		tick(now);
		first_look(now);
		plan();
	}
}

/* One frontend for a name: two would undo each other's rules. The descriptor, or -errno. */
static int take_lock(const struct front_options *o, char path[PATH_MAX])
{
	int fd;

	snprintf(path, PATH_MAX, "%s/.frontend-%s", o->root, o->name);
	if (mkdir(o->root, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	close(fd);
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

static int start(void)
{
	struct store_watch watch = { on_changed, on_said, NULL };
	sigset_t ends;
	int r;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	f.signals = signalfd(-1, &ends, SFD_CLOEXEC);
	f.control.fd = -1;
	f.scale = f.o->scale;
	f.again_ms = AGAIN_MS;
	f.started_ms = clock_ms();
	gethostname(f.here, sizeof(f.here) - 1);
	r = f.signals < 0 ? -errno : table_open(&f.table, f.o->name);
	if (r == 0)
		r = f.o->etcd ? etcd_open(&f.store, f.o->etcd, f.o->name, &watch) : dir_open(&f.store, f.o->root, f.o->name, &watch);
	if (r == 0)
		r = sandbox_enter(f.o, CAP_NET_ADMIN, !f.o->plan);
	if (r < 0)
		return r;
	f.applied = table_text(&f.table);
	ports_adopt(f.applied ? strdup(f.applied) : NULL);
	gone_found(f.applied, f.started_ms);
	return 0;
}

static int end(void)
{
	char why[TABLE_WHY_BYTES];
	int status = 0;

	notify_stopping();
	control_stop(&f.control);
	for (size_t i = 0; i < f.count; i++)
		probe_stop(&f.members[i]);
	gone_stop();
	if (!f.o->keep && !f.o->plan && table_remove(&f.table, why) < 0) {
		say("%s", why);
		status = 1;
	}
	store_close(f.store, 0);
	table_close(&f.table);
	ports_adopt(NULL);
	free(f.applied);
	free(f.maps);
	return status;
}

int frontend(const struct front_options *o)
{
	char path[PATH_MAX];
	int lock = -1, r;

	f.o = o;
	if (geteuid() != 0) {
		say("needs root, to change this host's nftables rules");
		return 1;
	}
	if (!o->plan) {
		lock = take_lock(o, path);
		if (lock < 0) {
			if (lock == -EBUSY)
				say("another frontend of that name runs on this host");
			else
				say("cannot make the lock %s: %s", path, strerror(-lock));
			return 1;
		}
	}
	r = start();
	if (r < 0) {
		say("cannot start: %s", strerror(-r));
		r = 1;
	} else {
		loop();
		r = end();
	}
	if (lock >= 0)
		unlink(path);
	return r;
}
