// SPDX-License-Identifier: Apache-2.0
/*
 * serve.c - notifications in, answers out; calls that wait.
 * Trust: a notification can become void at any moment (a signal, a death): then its answer fails, and is undone.
 *
 * A call that waits holds no descriptor of the target's open, or a listener would outlive its close. epoll watches
 * the open file as long as the target has it, also after our duplicate is closed; when it is ready, the descriptor
 * is duplicated anew and must still be the same socket. epoll knows it once, for all who wait for it: so it watches for what any of
 * them needs, and all of them are looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "shim/doorbell.h"
#include "shim/fdtab.h"
#include "trap/trap.h"

#define WAITS_MAX 4096
#define LISTENER_TAG UINT64_MAX

static struct wait {
	struct seccomp_notif n; /* .id 0: free */
	uint64_t cookie;        /* of the doorbell that it waits for */
	uint32_t events;
	int64_t until_ms;       /* 0: for ever */
	int64_t began_ns;       /* struct call's */
} waits[WAITS_MAX];
static uint32_t waits_high;
static int notify, epoll;

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void answer(const struct call *c, enum outcome how)
{
	struct seccomp_notif_resp r = { .id = c->id };

	if (how == CONTINUE)
		r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else if (c->result < 0)
		r.error = (int)c->result;
	else
		r.val = c->result;
	ioctl(notify, SECCOMP_IOCTL_NOTIF_SEND, &r);
}

/* The descriptor and the answer in one step: the target has both or neither. */
static void give(struct call *c)
{
	struct seccomp_notif_addfd a = { .id = c->id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (uint32_t)c->give,
					 .newfd_flags = (uint32_t)c->give_flags };

	if (ioctl(notify, SECCOMP_IOCTL_NOTIF_ADDFD, &a) >= 0) {
		call_given(c);
		fdtab_clear(c->give);
		close(c->give);
		return;
	}
	c->result = -errno;
	call_not_given(c);
	if (c->result != -ENOENT && c->result != -EINPROGRESS)
		answer(c, ANSWER); /* its table is full */
}

/* The target's descriptor is another's now; a duplicate of it stays what it was. */
static void put(struct call *c)
{
	struct seccomp_notif_addfd a = { .id = c->id, .flags = SECCOMP_ADDFD_FLAG_SETFD, .srcfd = (uint32_t)c->put,
					 .newfd = (uint32_t)c->args[0],
					 .newfd_flags = target_cloexec(c->pid, (int)c->args[0]) ? O_CLOEXEC : 0 };

	ioctl(notify, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
	fdtab_clear(c->put);
	close(c->put);
}

static int64_t deadline(const struct call *c)
{
	struct timeval t = { 0 };
	socklen_t n = sizeof(t);
	int64_t ms;

	if (!c->wait_option || getsockopt(c->fd, SOL_SOCKET, c->wait_option, &t, &n) < 0)
		return 0;
	ms = t.tv_sec * 1000LL + (t.tv_usec + 999) / 1000;
	return ms ? now_ms() + ms : 0;
}

static bool waits_for(const struct wait *w, uint64_t cookie)
{
	return w->n.id && w->cookie == cookie;
}

static void watch(int fd, uint64_t cookie)
{
	struct epoll_event e = { .events = EPOLLONESHOT, .data.u64 = cookie };

	for (uint32_t i = 0; i < waits_high; i++)
		if (waits_for(&waits[i], cookie))
			e.events |= waits[i].events;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0 && errno == EEXIST)
		epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e);
}

static void wait_for(const struct call *c, const struct seccomp_notif *n, struct wait *w)
{
	uint64_t cookie = 0;

	for (uint32_t i = 0; !w && i < WAITS_MAX; i++)
		if (!waits[i].n.id)
			w = &waits[i];
	if (!w || doorbell_cookie(c->fd, &cookie) < 0) {
		struct call failed = *c;

		failed.result = -ENOMEM;
		answer(&failed, ANSWER);
		return;
	}
	if (w->n.id != n->id)
		w->until_ms = deadline(c);
	w->n = *n;
	w->cookie = cookie;
	w->events = c->events;
	w->began_ns = c->began_ns;
	if ((uint32_t)(w - waits) >= waits_high)
		waits_high = (uint32_t)(w - waits) + 1;
	watch(c->fd, cookie);
}

static bool is_another(const struct call *c, const struct wait *w)
{
	uint64_t cookie;

	return !c->ours || doorbell_cookie(c->fd, &cookie) < 0 || cookie != w->cookie;
}

/* One call, new or waiting: `w` is its place if it waited. */
static void run(const struct seccomp_notif *n, struct wait *w, bool late)
{
	struct call c = { .id = n->id, .pid = (int)n->pid, .nr = n->data.nr, .args = (const uint64_t *)n->data.args,
			  .fd = -1, .give = -1, .put = -1, .woken = w != NULL, .late = late,
			  .began_ns = w ? w->began_ns : 0 };
	enum outcome how;

	if (call_wanted(c.nr)) {
		c.fd = target_fd(c.pid, (int)c.args[0]);
		c.ours = c.fd >= 0 && target_sock(c.fd, &c.k);
	}
	if (w && is_another(&c, w)) {
		c.result = -EBADF; /* closed, or another socket now */
		how = ANSWER;
	} else {
		how = call_handle(&c);
	}
	if (c.put >= 0)
		put(&c);
	if (how == WAIT)
		wait_for(&c, n, w);
	else if (how == ANSWER && c.give >= 0)
		give(&c);
	else
		answer(&c, how);
	if (how != WAIT && w)
		w->n.id = 0;
	if (c.fd >= 0)
		close(c.fd);
}

static bool still_there(uint64_t id)
{
	return ioctl(notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

static void again(struct wait *w, bool late)
{
	struct seccomp_notif n = w->n;

	if (!n.id)
		return;
	if (still_there(n.id))
		run(&n, w, late);
	else
		w->n.id = 0;
}

/* Where a call has found nothing and waits again, the others that wait for the same would too. */
static void wake(uint64_t cookie)
{
	uint32_t dry = 0;

	for (uint32_t i = 0; i < waits_high; i++) {
		if (!waits_for(&waits[i], cookie) || !(waits[i].events & ~dry))
			continue;
		again(&waits[i], false);
		if (waits_for(&waits[i], cookie))
			dry |= waits[i].events;
	}
}

static int timeout_ms(void)
{
	int64_t first = 0, now;

	for (uint32_t i = 0; i < waits_high; i++)
		if (waits[i].n.id && waits[i].until_ms && (!first || waits[i].until_ms < first))
			first = waits[i].until_ms;
	if (!first)
		return -1;
	now = now_ms();
	return first > now ? (int)(first - now) : 0;
}

static void end_late(void)
{
	int64_t now = now_ms();

	for (uint32_t i = 0; i < waits_high; i++)
		if (waits[i].n.id && waits[i].until_ms && waits[i].until_ms <= now)
			again(&waits[i], true);
}

static void take(void)
{
	static struct seccomp_notif n;

	memset(&n, 0, sizeof(n));
	if (ioctl(notify, SECCOMP_IOCTL_NOTIF_RECV, &n) == 0)
		run(&n, NULL, false);
}

void serve(int listener)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = LISTENER_TAG }, got[64];

	notify = listener;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, notify, &e) < 0)
		return;
	for (;;) {
		int n = epoll_wait(epoll, got, 64, timeout_ms());

		for (int i = 0; i < n; i++) {
			if (got[i].data.u64 != LISTENER_TAG)
				wake(got[i].data.u64);
			else if (got[i].events & EPOLLHUP)
				return; /* nobody is left */
			else
				take();
		}
		end_late();
	}
}
