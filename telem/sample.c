// SPDX-License-Identifier: Apache-2.0
/*
 * sample.c - asks the kernel for all TCP sockets of the INS's network, and keeps and tells what it says of ours.
 * Trust: others' sockets may be in the answer (--net host): a socket is ours by its cookie, and nothing is kept of another.
 *
 * A look is two questions (IPv4, IPv6) to each network, whose answers come in records of 32 KiB; between two of them others have
 * their turn, and so they have between a few connections told. Nobody wants samples: no timer runs. Somebody does: a timer
 * decides whether any connection is due. All of it may use PART of a processor: after a look the timer waits as long as that takes.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "chan/msg.h"
#include "lib/addr.h"
#include "telem/history.h"
#include "telem/sample.h"
#include "telem/suspect.h"

#define PART       32          /* one 32nd, 3 % */
#define ASKED_PART 8           /* looks that `mw` asks for */
#define TELL_FEW   16
#define TELL_MS    2
#define TELL_LOOK  512
#define RECORD_MAX 65536
#define LOOK_MAX_NS 5000000000u /* a look that takes longer is lost */

struct waiter {
	struct waiter *next;
	sample_answer *fn;
	void *arg;
};

static struct {
	uint64_t fast_ns, slow_ns;
	uint32_t wanted, seq;
	int question;             /* that is being answered; NONE: no look is under way */
	bool there, host_there, telling;
	bool host;                /* some connection of this look is by the host's loopback */
	uint32_t tell_at;
	uint64_t began_ns;        /* CLOCK_REALTIME */
	uint64_t cost_ns;         /* of this look so far, */
	uint64_t last_cost_ns;    /* of the last one */
	struct waiter *waiters, *next_waiters; /* of the look under way; of the next */
	struct watch diag, host_diag;
	struct timer tick, tell;
} s;

/* In this order; NONE ends it. The host's network is asked if it has a connection of ours. */
static const struct {
	int fd, family;
} questions[] = {
	{ TELEM_DIAG_FD, AF_INET }, { TELEM_DIAG_FD, AF_INET6 }, { TELEM_HOST_DIAG_FD, AF_INET }, { TELEM_HOST_DIAG_FD, AF_INET6 },
};
#define NONE 4

static uint64_t told_ns[MW_SLOTS_MAX];

static void begin(void);

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sample *shared(uint32_t slot)
{
	return (struct sample *)(void *)(telem.reader + SAMPLES_OFFSET) + slot;
}

static struct samples_head *head(void)
{
	return (struct samples_head *)(void *)(telem.reader + SAMPLES_HEAD);
}

/* --- one socket --- */

static void seen_slot(uint32_t slot, uint64_t id, const struct sample *found)
{
	struct sample last, now = *found;
	struct flow f;

	if (!flow_read(&telem.flows, slot, &f) || f.f.id != id)
		return;
	last = f.s;
	sample_complete(&now, &last, &f.f, loop_now_ns());
	sample_store(shared(slot), &now);
}

static void seen(void *arg, const struct diag *d)
{
	const struct cookie *c = cookies_find(d->cookie);

	(void)arg;
	if (!c)
		return;
	if (c->index < MW_SLOTS_MAX)
		seen_slot(c->index, c->id, &d->s);
	else
		lingers_seen(c->index - MW_SLOTS_MAX, c->id, &d->s);
}

/* --- telling --- */

static bool due(const struct flow *f, uint64_t last_ns, uint64_t now_ns)
{
	uint64_t since = last_ns > f->f.opened_ns ? last_ns : f->f.opened_ns;
	uint64_t wait = f->suspect ? s.fast_ns - s.fast_ns / 10 : s.slow_ns;

	if (f->f.type != MW_TYPE_STREAM)
		return false;
	if (f->suspect && !last_ns)
		return true;
	return now_ns < since || now_ns - since >= wait; /* else the clock was set back */
}

/* When the look began that found it last, or 0. */
static uint64_t told(uint32_t at, const struct flow *f)
{
	return told_ns[at] > f->f.opened_ns ? told_ns[at] : 0;
}

/* True if it was told. */
static bool tell_one(uint32_t at, uint64_t now_ns)
{
	struct flow f;

	if (at >= MW_SLOTS_MAX) {
		if (!lingers_read(at - MW_SLOTS_MAX, &f))
			return false;
	} else {
		if (!flow_read(&telem.flows, at, &f) || !f.s.id || !due(&f, told(at, &f), now_ns))
			return false;
		told_ns[at] = s.began_ns; /* not now: the next look comes so long after this one, however late the answer is */
	}
	events_sample(&f);
	return true;
}

static void rest(uint64_t cost_ns)
{
	uint64_t now = loop_now_ns(), spent = now > s.began_ns ? now - s.began_ns : 0;
	uint64_t wait = s.fast_ns > spent ? s.fast_ns - spent : 1000000, least = PART * cost_ns;

	loop_timer(&s.tick, (uint32_t)((wait > least ? wait : least) / 1000000));
}

/* The look is over when its connections are told, or when nobody is there to be told. */
static void end_of_look(void)
{
	s.last_cost_ns = s.cost_ns;
	if (s.wanted)
		rest(s.cost_ns);
}

/* A few, for those who read have to keep up. */
static void on_tell(struct timer *t)
{
	uint64_t from = cpu_ns(), now = loop_now_ns();
	uint32_t slots = flow_slots_high(&telem.flows), end = MW_SLOTS_MAX + flow_lingers_high(&telem.flows), told = 0;

	for (uint32_t i = 0; i < TELL_LOOK && told < TELL_FEW && s.tell_at < end; i++) {
		if (s.tell_at >= slots && s.tell_at < MW_SLOTS_MAX)
			s.tell_at = MW_SLOTS_MAX;
		else
			told += tell_one(s.tell_at++, now);
	}
	s.cost_ns += cpu_ns() - from;
	s.telling = s.wanted && s.tell_at < end;
	if (s.telling)
		loop_timer(t, told ? TELL_MS : 0);
	else if (s.question == NONE)
		end_of_look();
}

/* --- a look --- */

static void answer(struct waiter **list, bool fresh)
{
	while (*list) {
		struct waiter *w = *list;

		*list = w->next;
		w->fn(w->arg, fresh);
		free(w);
	}
}

static void done(bool good)
{
	struct waiter *asked = s.waiters;

	s.question = NONE;
	s.waiters = NULL;
	if (good) {
		lingers_sweep();
		mw_store(&head()->cost_ns, s.cost_ns);
		mw_store(&head()->looks, mw_load(&head()->looks) + 1);
		mw_store_release(&head()->time_ns, s.began_ns);
	}
	answer(&asked, good);
	if (good && s.wanted && !s.telling) {
		s.telling = true;
		s.tell_at = 0;
		loop_timer(&s.tell, 0);
	} else if (!s.telling) {
		end_of_look();
	}
	if (s.next_waiters && s.question == NONE)
		begin();
}

static void ask(int question)
{
	if (questions[question].fd == TELEM_HOST_DIAG_FD && !s.host) {
		done(true);
		return;
	}
	s.question = question;
	if (diag_ask(questions[question].fd, questions[question].family, ++s.seq, lingers_count() > 0) < 0)
		done(false);
}

/* Its socket may be in the host's network. */
static bool by_host(const struct mw_flow *f)
{
	return s.host_there && (addr_is_loopback(&f->local) || addr_is_loopback(&f->peer));
}

static void begin(void)
{
	uint32_t slots = flow_slots_high(&telem.flows);
	struct flow f;

	loop_timer_stop(&s.tick);
	s.waiters = s.next_waiters;
	s.next_waiters = NULL;
	if (!s.telling)
		s.cost_ns = 0;
	s.began_ns = loop_now_ns();
	lingers_learn();
	cookies_clear(slots + lingers_count());
	s.host = lingers_by_host() && s.host_there;
	for (uint32_t i = 0; i < slots; i++) {
		if (!flow_read(&telem.flows, i, &f) || f.f.type != MW_TYPE_STREAM)
			continue;
		cookies_put(f.f.cookie, f.f.id, i);
		s.host = s.host || by_host(&f.f);
	}
	lingers_look();
	ask(0);
}

/* One record of the answer. */
static void on_diag(struct watch *w, uint32_t events)
{
	static uint64_t record[RECORD_MAX / 8];
	uint64_t from = cpu_ns();
	ssize_t n = recv(w->fd, record, sizeof(record), MSG_DONTWAIT);
	enum diag_end end;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	end = n < 0 ? DIAG_FAILED : diag_parse(record, (size_t)n, s.seq, seen, NULL);
	s.cost_ns += cpu_ns() - from;
	if (s.question == NONE || questions[s.question].fd != w->fd || end == DIAG_MORE)
		return;
	if (end == DIAG_DONE && s.question + 1 < NONE)
		ask(s.question + 1);
	else
		done(end == DIAG_DONE);
}

/* --- when --- */

static bool any_due(void)
{
	uint32_t slots = flow_slots_high(&telem.flows);
	uint64_t now = loop_now_ns();
	struct flow f;

	if (lingers_want())
		return true;
	for (uint32_t i = 0; i < slots; i++)
		if (flow_read(&telem.flows, i, &f) && due(&f, told(i, &f), now))
			return true;
	return false;
}

static void on_tick(struct timer *t)
{
	uint64_t from = cpu_ns(), cost;

	(void)t;
	if (s.question != NONE && loop_now_ns() - s.began_ns < LOOK_MAX_NS) {
		rest(0);
		return;
	}
	s.began_ns = loop_now_ns();
	lingers_learn();
	if (any_due()) {
		begin();
		s.cost_ns += cpu_ns() - from;
		return;
	}
	cost = cpu_ns() - from;
	rest(cost);
}

void sample_want(void)
{
	if (s.there && !s.wanted++) {
		s.began_ns = loop_now_ns();
		loop_timer(&s.tick, 1);
	}
}

void sample_unwant(void)
{
	if (s.there && !--s.wanted)
		loop_timer_stop(&s.tick);
}

/* Whoever asks again and again gets what the last look found, so that looks cost no more than ASKED_PART. */
void sample_fresh(sample_answer *fn, void *arg)
{
	uint64_t last = mw_load(&head()->time_ns), now = loop_now_ns();
	struct waiter *w;

	if (!s.there || (last <= now && now - last < ASKED_PART * s.last_cost_ns)) {
		fn(arg, s.there);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		fn(arg, false);
		return;
	}
	*w = (struct waiter){ s.next_waiters, fn, arg };
	s.next_waiters = w;
	if (s.question == NONE)
		begin();
}

/* False when there is none. What answers an earlier life's question is thrown away. */
static bool watch(struct watch *w, int fd)
{
	char old[256];

	if (!telem_given(fd))
		return false;
	while (recv(fd, old, sizeof(old), MSG_DONTWAIT | MSG_TRUNC) >= 0)
		;
	*w = (struct watch){ fd, on_diag };
	return loop_add(w, EPOLLIN) == 0;
}

void sample_init(uint32_t fast_ms, uint32_t slow_s)
{
	s.fast_ns = fast_ms * 1000000ull;
	s.slow_ns = slow_s * 1000000000ull;
	s.tick.fn = on_tick;
	s.tell.fn = on_tell;
	s.question = NONE;
	s.seq = (uint32_t)loop_now_ns();
	lingers_init();
	mw_store(&head()->time_ns, (uint64_t)0);
	s.there = watch(&s.diag, TELEM_DIAG_FD);
	s.host_there = watch(&s.host_diag, TELEM_HOST_DIAG_FD);
}
