// SPDX-License-Identifier: Apache-2.0
/*
 * inss.c - see inss.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "broker/deposit.h"
#include "broker/inss.h"
#include "broker/share.h"
#include "broker/tree.h"
#include "lib/clock.h"
#include "lib/fdpass.h"
#include "link/memfd.h"

#define PATIENCE_MS     1000 /* at a time */
#define ALL_PATIENCE_MS 3000
#define FORGIVEN_IN     60   /* times as long */
#define ERRNO_MAX   4095

static struct {
	const struct run_options *o;
	struct one_ins *list[PLAN_INS_MAX];
	size_t count;
	uint32_t next;           /* number */
	struct mw_roster *roster;
	int roster_fd, app_netns;
} all = { .roster_fd = -1, .app_netns = -1 };

size_t inss_count(void)
{
	return all.count;
}

struct one_ins *inss_at(size_t i)
{
	return all.list[i];
}

struct one_ins *inss_find(uint32_t number)
{
	for (size_t i = 0; i < all.count; i++)
		if (all.list[i]->number == number)
			return all.list[i];
	return NULL;
}

struct one_ins *inss_of_pid(pid_t pid)
{
	for (size_t i = 0; i < all.count; i++)
		if (all.list[i]->child.pid == pid)
			return all.list[i];
	return NULL;
}

struct one_ins *inss_up(uint32_t seed)
{
	for (size_t i = 0; i < all.count; i++) {
		struct one_ins *ins = all.list[(seed + i) % all.count];

		if (ins->state == MW_INS_UP)
			return ins;
	}
	return NULL;
}

/* --- the roster --- */

/* For reading: who gets it cannot write. Takes fd. */
static int open_roster(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	all.roster_fd = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	return all.roster_fd < 0 ? -errno : 0;
}

int inss_init(const struct run_options *o)
{
	void *base;
	int fd = memfd_make_plain("mwcomms-roster", MW_PAGE, &base);

	if (fd < 0)
		return fd;
	deposit_put("roster", "", 0, (int[]){ fd, all.app_netns }, 2, NULL);
	all.roster = base;
	all.o = o;
	mw_store(&all.roster->high, 1u);
	return open_roster(fd);
}

void inss_app(int netns)
{
	all.app_netns = netns;
}

static void write_roster(uint32_t number, uint8_t state)
{
	mw_store_release(&all.roster->state[number], state);
	mw_store_release(&all.roster->high, all.next);
	if (all.count)
		mw_store_release(&all.roster->home, all.list[0]->number);
}

/* --- start --- */

static int map_figures(struct one_ins *ins)
{
	void *head = mmap(NULL, MW_PAGE, PROT_READ, MAP_SHARED, ins->arena, 0);

	if (head == MAP_FAILED)
		return -errno;
	ins->head = head;
	return memfd_map_tele(&ins->view, ins->tele, false);
}

void inss_failed(struct broker_msg *m)
{
	m->text[sizeof(m->text) - 1] = 0;
	for (uint8_t *p = m->text; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	if (m->status < -ERRNO_MAX || m->status > 0)
		m->status = -EPROTO;
}

static int wait_ready(struct one_ins *ins, char *why, size_t why_bytes)
{
	struct broker_msg m;
	int fds[3], count = 3;
	ssize_t n = fdpass_recv(ins->child.fd, &m, sizeof(m), fds, &count, 0);

	if (n == sizeof(m) && m.kind == BM_READY && count == 3) {
		ins->arena = fds[0];
		ins->tele = fds[1];
		ins->memory = fds[2];
		return map_figures(ins);
	}
	if (n == sizeof(m) && m.kind == BM_FAILED) {
		inss_failed(&m);
		snprintf(why, why_bytes, "the INS could not %s: %s", (char *)m.text, strerror(-m.status));
	} else {
		snprintf(why, why_bytes, "the INS (%.100s) ended before it was ready", spawn_ins_path());
	}
	return -ECHILD;
}

/* Where shims find it: in the application's namespace, and nowhere else. */
static int listen_for_shims(uint32_t number)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = MW_CONNECT_NAME };
	int digits = snprintf(un.sun_path + sizeof(MW_CONNECT_NAME) - 1, 16, "-%u", number), r;
	socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(MW_CONNECT_NAME) - 1 + (size_t)digits);
	int fd = net_socket(all.app_netns, AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);

	if (fd < 0 || (bind(fd, (struct sockaddr *)&un, n) == 0 && listen(fd, 512) == 0))
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static int start_network(struct net **net, struct one_ins *ins, char *why, size_t why_bytes)
{
	if (!all.o->isolated)
		return 0;
	if (!*net)
		return net_open(net, all.o->name, ins->netns, why, why_bytes);
	return net_join(*net, ins->number, ins->netns, why, why_bytes);
}

static int start(struct net **net, struct one_ins *ins, int control, char *why, size_t why_bytes)
{
	int r = telem_prepare(&ins->telem);

	if (r < 0)
		snprintf(why, why_bytes, "cannot make the telemetry memory: %s", strerror(-r));
	if (r == 0 && all.count)
		telem_inherit(&ins->telem, &all.list[0]->telem);
	if (r == 0)
		r = spawn_ins(ins, all.o, control, all.roster_fd, why, why_bytes);
	if (r == 0)
		r = start_network(net, ins, why, why_bytes);
	if (r == 0)
		r = spawn_ins_go(&ins->child);
	if (r == 0)
		r = wait_ready(ins, why, why_bytes);
	if (!all.o->isolated && ins->netns >= 0) {
		close(ins->netns);
		ins->netns = -1;
	}
	if (r == 0)
		r = telem_start(ins, all.o, why, why_bytes);
	return r;
}

struct left {
	uint32_t number, state;
	pid_t next;              /* the program that may take its place; 0: none */
	double started;
};

static const char *key_of(char key[DEPOT_KEY], uint32_t number)
{
	return deposit_key(key, "ins/%u", number);
}

void inss_leave(const struct one_ins *ins)
{
	const struct left l = { .number = ins->number, .state = ins->state, .next = ins->next.child.pid, .started = ins->started };
	const struct deposit_about about = { DEPOT_INS, ins->child.pid, -1 };
	const int fds[] = { ins->child.fd, ins->netns, ins->arena, ins->tele, ins->telem.verbs[0], ins->memory };
	char key[DEPOT_KEY];

	deposit_put(key_of(key, ins->number), &l, sizeof(l), fds, 6, &about);
}

/* What it takes to be sure that nothing of it is left, however far it came. */
static void drop(struct net *net, struct one_ins *ins, char *why, size_t why_bytes)
{
	const int fds[] = { ins->child.fd, ins->netns, ins->arena, ins->tele, ins->memory, ins->next.child.fd, ins->next.heir };
	char key[DEPOT_KEY];

	deposit_drop(key_of(key, ins->number));
	if (ins->next.child.pid) {
		kill(ins->next.child.pid, SIGKILL);
		tree_spare(-ins->next.child.pid);
	}
	helper_end(&ins->telem.helper, 100);
	telem_forget(&ins->telem, all.o->name, ins->number);
	if (net && ins->number) /* the resolver goes on in the first one's namespace, and needs its addresses */
		net_leave(net, ins->number, why, why_bytes);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0 && (i != 1 || ins->number))
			close(fds[i]);
	if (ins->head)
		munmap(ins->head, MW_PAGE);
	if (ins->view.base)
		munmap((void *)(mw_uintptr)ins->view.base, ins->view.bytes);
	free(ins);
}

int inss_start(struct net **net, int control, char *why, size_t why_bytes)
{
	struct one_ins *ins;
	char ignored[NET_WHY_BYTES];
	int r;

	if (all.count == PLAN_INS_MAX || all.next == MW_INS_MAX) {
		snprintf(why, why_bytes, "%s has %zu INSs and had %u: at most %d at a time, and %u in all", all.o->name, all.count, all.next,
			 PLAN_INS_MAX, MW_INS_MAX);
		return -ENOSPC;
	}
	ins = calloc(1, sizeof(*ins));
	if (!ins)
		return -ENOMEM;
	telem_init(&ins->telem);
	ins->child.fd = ins->netns = ins->arena = ins->tele = ins->memory = ins->next.child.fd = ins->next.heir = -1;
	ins->number = all.next++;
	if (control < 0)
		control = listen_for_shims(ins->number);
	r = control < 0 ? control : start(net, ins, control, why, why_bytes);
	if (control >= 0)
		close(control);
	if (r < 0) {
		if (ins->child.pid > 0) {
			kill(ins->child.pid, SIGKILL);
			tree_spare(-ins->child.pid);
		}
		drop(*net, ins, ignored, sizeof(ignored));
		return r;
	}
	ins->started = (double)time(NULL);
	all.list[all.count++] = ins;
	ins->state = MW_INS_UP;
	share_give(ins);
	inss_leave(ins); /* whole: one that is only begun ends with us */
	if (*net && net_spread(*net, ins->number, true, why, why_bytes) < 0)
		fprintf(stderr, "mw: %s\n", why); /* it serves all the same, and gets its share when nftables takes rules again */
	write_roster(ins->number, MW_INS_UP);
	return 0;
}

/* --- end --- */

void inss_drain(struct net *net, struct one_ins *ins)
{
	char why[NET_WHY_BYTES];

	ins->state = MW_INS_DRAIN;
	inss_leave(ins);
	write_roster(ins->number, MW_INS_DRAIN);
	if (net && net_spread(net, ins->number, false, why, sizeof(why)) < 0)
		fprintf(stderr, "mw: %s\n", why);
	share_hosts_move(ins);
}

static void take_off(const struct one_ins *ins)
{
	size_t i = 0;

	while (all.list[i] != ins)
		i++;
	memmove(all.list + i, all.list + i + 1, (--all.count - i) * sizeof(all.list[0]));
}

void inss_ended(struct net *net, struct one_ins *ins)
{
	char why[NET_WHY_BYTES] = "";

	take_off(ins);
	tree_spare(-ins->child.pid);
	ins->state = MW_INS_NONE;
	write_roster(ins->number, MW_INS_NONE);
	if (net && net_spread(net, ins->number, false, why, sizeof(why)) < 0)
		fprintf(stderr, "mw: %s\n", why);
	if (net)
		net_forget(net, ins->number);
	share_hosts_move(ins);
	publish_forget(net, ins->number);
	drop(net, ins, why, sizeof(why));
	telem_lead(&all.list[0]->telem);
}

/* One that does not take what it is told may keep all others waiting for three seconds, and then again as time forgives it. */
static int patience_ms(const struct one_ins *ins, int64_t now_ms)
{
	int64_t left = ALL_PATIENCE_MS - (ins->owes_until_ms - now_ms) / FORGIVEN_IN;

	return ins->owes_until_ms <= now_ms || left > PATIENCE_MS ? PATIENCE_MS : left > 0 ? (int)left : 0;
}

static bool wait_for(struct one_ins *ins)
{
	struct pollfd p = { .fd = ins->child.fd, .events = POLLOUT };
	int64_t from = clock_ms();
	bool takes = poll(&p, 1, patience_ms(ins, from)) == 1;

	if (ins->owes_until_ms < from)
		ins->owes_until_ms = from;
	ins->owes_until_ms += (clock_ms() - from) * FORGIVEN_IN;
	return takes;
}

void inss_send(struct one_ins *ins, const struct broker_msg *m, const void *value, uint32_t n, const int *fds, int count)
{
	struct iovec iov[] = { { (void *)(uintptr_t)m, sizeof(*m) }, { (void *)(uintptr_t)value, n } };

	while (fdpass_sendv(ins->child.fd, iov, 2, fds, count, MSG_DONTWAIT) == -EAGAIN) {
		if (wait_for(ins))
			continue;
		if (seldom_may(&ins->said, clock_ms()))
			fprintf(stderr, "mw: %s: INS %u does not take what it is told\n", all.o->name, ins->number);
		return;
	}
}

/* --- other machines --- */

static int meet(struct one_ins *ins, int wake, char *why, size_t why_bytes)
{
	int r = telem_prepare(&ins->telem);

	if (r < 0) {
		close(wake);
	} else {
		close(ins->telem.wake);
		ins->telem.wake = wake;
		r = map_figures(ins);
	}
	if (r < 0) {
		snprintf(why, why_bytes, "cannot map what INS %u says: %s", ins->number, strerror(-r));
		return r;
	}
	if (all.count)
		telem_inherit(&ins->telem, &all.list[0]->telem);
	return telem_start(ins, all.o, why, why_bytes);
}

int inss_meet(const struct run_options *o, uint32_t number, const int fds[3], int *verbs, char *why, size_t why_bytes)
{
	struct one_ins *ins = all.count < PLAN_INS_MAX ? calloc(1, sizeof(*ins)) : NULL;
	int r;

	all.o = o;
	if (!ins) {
		snprintf(why, why_bytes, "more than %d INSs", PLAN_INS_MAX);
		for (int i = 0; i < 3; i++)
			close(fds[i]);
		return -ENOSPC;
	}
	*ins = (struct one_ins){ .number = number, .state = MW_INS_UP, .child = { 0, -1 }, .netns = -1, .arena = fds[0], .tele = fds[1], .memory = -1,
				 .next = { .child.fd = -1, .heir = -1 }, .started = (double)time(NULL) };
	telem_init(&ins->telem);
	r = meet(ins, fds[2], why, why_bytes);
	if (r < 0) {
		drop(NULL, ins, why, 0);
		return r;
	}
	all.list[all.count++] = ins;
	*verbs = ins->telem.verbs[0];
	return 0;
}

void inss_part(struct one_ins *ins)
{
	char why[NET_WHY_BYTES];

	take_off(ins);
	drop(NULL, ins, why, sizeof(why));
	if (all.count)
		telem_lead(&all.list[0]->telem);
}

/* --- a dead broker's --- */

static int adopt_roster(const struct run_options *o)
{
	struct deposit *d = deposit_find("roster");
	void *base;

	if (!d || d->fds[0] < 0 || d->fds[1] < 0)
		return -EPROTO;
	base = mmap(NULL, MW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, d->fds[0], 0);
	if (base == MAP_FAILED)
		return -errno;
	all.o = o;
	all.roster = base;
	all.next = mw_load(&all.roster->high);
	all.app_netns = d->fds[1];
	d->fds[1] = -1;
	if (open_roster(d->fds[0]) < 0)
		return -errno;
	d->fds[0] = -1;
	return 0;
}

static int adopt_one(struct deposit *d)
{
	const struct left *l = d->bytes;
	struct one_ins *ins = calloc(1, sizeof(*ins));
	size_t at = all.count;

	if (!ins || d->n != sizeof(*l) || all.count == PLAN_INS_MAX || l->number >= MW_INS_MAX || !telem_adopt(&ins->telem, l->number, d->fds[4])) {
		free(ins);
		return -EPROTO;
	}
	*ins = (struct one_ins){ .number = l->number, .state = (uint8_t)l->state, .started = l->started, .adopted = true, .telem = ins->telem,
				 .child = { d->pid, d->fds[0] }, .netns = d->fds[1], .arena = d->fds[2], .tele = d->fds[3], .memory = d->fds[5],
				 .next = { .child.fd = -1, .heir = -1, .left = l->next } };
	for (int i = 0; i < DEPOSIT_FDS; i++)
		d->fds[i] = -1;
	tree_spare(ins->child.pid);
	if (l->next)
		tree_spare(l->next);
	for (; at > 0 && all.list[at - 1]->number > ins->number; at--)
		all.list[at] = all.list[at - 1];
	all.list[at] = ins;
	all.count++;
	if (ins->number >= all.next)
		all.next = ins->number + 1;
	return map_figures(ins);
}

void inss_settle(struct net *net)
{
	char why[NET_WHY_BYTES];

	for (size_t i = 0; i < all.count; i++)
		if (all.list[i]->state == MW_INS_DRAIN)
			inss_drain(net, all.list[i]);
		else if (net_spread(net, all.list[i]->number, true, why, sizeof(why)) < 0)
			fprintf(stderr, "mw: %s\n", why);
}

int inss_adopt(const struct run_options *o, char *why, size_t why_bytes)
{
	struct deposit *d;
	int r = adopt_roster(o);

	telem_ports_adopt();
	for (size_t i = 0; r == 0 && (d = deposit_next("ins/", &i));)
		r = adopt_one(d);
	if (r == 0 && !all.count)
		r = -EPROTO;
	if (r < 0)
		snprintf(why, why_bytes, "what the broker of %s left of its INSs makes no sense: %s", o->name, strerror(-r));
	for (size_t i = 0; r == 0 && i < all.count; i++)
		write_roster(all.list[i]->number, all.list[i]->state);
	for (size_t i = 0; r == 0 && (d = deposit_next("helper/telem-", &i));)
		if (!inss_find((uint32_t)strtoul(d->key + strlen("helper/telem-"), NULL, 10)))
			deposit_drop(d->key);
	if (r == 0)
		telem_lead(&all.list[0]->telem);
	return r;
}
