// SPDX-License-Identifier: Apache-2.0
/*
 * accept.c - from the stack's accept queue to the application's: a record on the listener's doorbell that is the
 * connection.
 * Trust: nothing of the network's is believed but the address that the stack reports.
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/accept.h"
#include "ins/bell.h"
#include "ins/block.h"
#include "ins/gate.h"
#include "ins/journal.h"
#include "ins/list.h"
#include "ins/observe.h"
#include "ins/operator.h"
#include "ins/option.h"
#include "ins/poll.h"
#include "ins/slots.h"
#include "ins/uplink.h"
#include "ins/xen/front.h"
#include "lib/fdpass.h"
#include "link/broker.h"

#define ACCEPTS_AT_ONCE 64

static void watch(struct isock *l, uint32_t mask)
{
	for (uint32_t sub = 0; sub <= l->extra_count; sub++)
		poll_change(handle_of(l, sub), EV_LISTEN, sub, slot_of(l), l->gen, mask);
}

static void pause_listener(struct isock *l)
{
	l->flags |= F_PAUSED;
	watch(l, 0);
}

void accept_watch(struct isock *l)
{
	for (uint32_t sub = 0; sub <= l->extra_count; sub++)
		poll_add(handle_of(l, sub), EV_LISTEN, sub, slot_of(l), l->gen, EPOLLIN);
}

static void watch_bell(struct isock *l, uint32_t mask)
{
	if (!ins.door) /* app marks the listener */
		poll_change(l->bell, EV_BELL, 0, slot_of(l), l->gen, mask | EPOLLRDHUP | EPOLLET);
}

static void resume(struct isock *l)
{
	l->flags &= ~F_PAUSED;
	watch_bell(l, 0);
	watch(l, EPOLLIN);
}

/* The doorbell of a connection that the application is going to see, and what there is to be seen. 0 or -errno. */
static int give_doorbell(struct isock *l, struct isock *s)
{
	uint64_t cookie = 0;
	int r = ins.door ? 0 : bell_pair(s, l->flags & F_STREAM ? SOCK_STREAM : SOCK_SEQPACKET, &s->app_end, &cookie);

	if (r < 0)
		return r;
	if (!ins.door)
		operator_door(l, s->app_end);
	ins.trim_due = true; /* its ring's pages may be given back from now on */
	mw_store_release(&shared_of(s)->ins.cookie, cookie);
	s->unseen = false;
	if (s->rx_prod)
		bell_ring_later(s);
	if (s->flags & F_RX_DONE)
		bell_show_fin(s);
	return 0;
}

/* Gives the connection to the application. 0, or -EAGAIN when its queue is full. */
static int hand_over(struct isock *l, struct isock *s)
{
	struct mw_accepted c = { .slot = slot_of(s), .gen = s->gen, .ins = ins.number, .peer = flow_of(s)->peer };
	struct iovec iov = { &c, sizeof(c) };
	ssize_t n;

	if (ins.door)
		return front_hand_over(l, s);
	deed_begin(DEED_HAND, s);
	n = deed_send(l->bell, &iov, 1, &s->app_end, 1, MSG_DONTWAIT);
	if (n >= 0)
		accept_handed(s);
	deed_end();
	return n < 0 ? (int)n : 0;
}

void accept_handed(struct isock *s)
{
	if (!s->ready)
		return;
	flow_of(s)->handed_ns = ins.now_ns;
	observe(s, MW_EV_HANDED, flow_of(s)->id);
	accept_forget(s);
}

/* Hands over all that are ready. False when some must wait: then the rest waits in the stack. */
static bool hand_over_all(struct isock *l)
{
	struct list *q = &listener_of(l)->ready;

	while (q->count) {
		struct isock *s = sock_at(q->first);

		if (s->unseen && give_doorbell(l, s) < 0) { /* no descriptors: looked at again in a while */
			ins.starved = true;
			pause_listener(l);
			return false;
		}
		if (hand_over(l, s) < 0) { /* the application is behind */
			pause_listener(l);
			watch_bell(l, EPOLLOUT);
			return false;
		}
	}
	return true;
}

void accept_ready(struct isock *l, struct isock *s)
{
	s->ready = s->unseen = true;
	mw_order();
	list_append(&listener_of(l)->ready, s);
	job_end_of(JOB_ACCEPT);
	if (listener_of(l)->ready.count == 1)
		hand_over_all(l);
}

void accept_forget(struct isock *s)
{
	struct isock *l = sock_at((uint32_t)flow_of(s)->listener);

	int end = s->app_end;

	list_remove(&listener_of(l)->ready, s);
	s->ready = false;
	s->app_end = -1;
	mw_order();
	if (end >= 0)
		close(end);
}

void accept_resume_all(void)
{
	ins.starved = false;
	for (uint32_t i = 0; i < ins.view.slots; i++) {
		struct isock *l = sock_at(i);

		if (l->state == MW_ST_LISTEN && l->flags & F_PAUSED && hand_over_all(l))
			resume(l);
	}
}

/* The application never hears of it. */
static void refuse(struct isock *s)
{
	flow_of(s)->error = ECONNRESET;
	flow_of(s)->end = MW_END_VERB;
	slots_abort(s);
	slots_free(slot_of(s));
	job_end_of(JOB_ACCEPT);
}

/* Makes the slot of an accepted handle. NULL with all undone. */
static struct isock *set_up(struct isock *l, int handle, const struct mw_addr *peer)
{
	uint32_t slot;
	struct isock *s = slots_new(&slot);

	if (!s) {
		ins.stack->abort(handle);
		return NULL;
	}
	s->tcp = handle;
	s->family = l->family;
	s->type = MW_TYPE_STREAM;
	s->flags |= l->flags & F_INHERITED;
	s->lowat = l->lowat;
	s->linger_s = l->linger_s;
	shared_of(s)->ins.urgent_inline = !!(s->flags & F_URGENT_INLINE);
	shared_of(s)->ins.family = l->family;
	shared_of(s)->ins.type = MW_TYPE_STREAM;
	flow_of(s)->type = MW_TYPE_STREAM;
	flow_of(s)->listener = flow_of(l)->id;
	slots_names(s, peer);
	flow_of(s)->local.port = flow_of(l)->local.port; /* by -p the host's port may be another */
	slots_show_names(s);
	option_show_lowat(s);
	operator_accepted(l, s);
	slots_state(s, MW_ST_ESTABLISHED);
	observe_stack(s);
	observe(s, MW_EV_ACCEPT, flow_of(s)->id);
	if (poll_add(s->tcp, EV_TCP, 0, slot, s->gen, TCP_MASK) < 0) {
		slots_free(slot);
		return NULL;
	}
	return s;
}

/* The connection belongs to somebody now, or is gone. */
static void settle(struct isock *l, struct isock *s)
{
	if (block_refuses(s))
		refuse(s);
	else if (!gate_hold(l, s))
		accept_ready(l, s);
}

/* The handle of a connection: a slot for it. False when there is none. */
static bool take(struct isock *l, uint32_t sub, int fd, const struct mw_addr *peer)
{
	struct isock *s;
	int on = 1;

	if (sub) /* it may have come before the broker's listener had our options */
		ins.stack->setopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	s = set_up(l, fd, peer);
	if (s)
		settle(l, s);
	return s;
}

static void starve(struct isock *l)
{
	ins.starved = true;
	pause_listener(l);
}

/* One connection. False when there is no more to take now. */
static bool accept_one(struct isock *l, uint32_t sub)
{
	struct mw_addr peer;
	bool taken;
	int fd;

	if (slots_spent() && !gate_make_room()) {
		starve(l);
		return false;
	}
	job_begin_accept(l, sub);
	fd = ins.stack->accept(handle_of(l, sub), &peer);
	if (fd < 0) {
		job_end();
		if (fd != -EMFILE && fd != -ENFILE && fd != -ENOBUFS && fd != -ENOMEM)
			return fd == -ECONNABORTED || fd == -EINTR;
	}
	taken = fd >= 0 && take(l, sub, fd, &peer);
	job_end_of(JOB_ACCEPT);
	if (taken || gate_make_room())
		return true;
	starve(l);
	return false;
}

/* A connection that a dead worker had accepted. */
void accept_recover(int fd)
{
	struct isock *l = slots_find(journal->job.slot, journal->job.gen);
	struct mw_addr peer;

	if (l && l->state == MW_ST_LISTEN && ins.stack->name_of(fd, &peer, true) == 0)
		take(l, journal->job.sub, fd, &peer);
	else
		ins.stack->abort(fd);
}

void accept_event(struct isock *l, uint32_t sub)
{
	for (int i = 0; i < ACCEPTS_AT_ONCE && !(l->flags & F_PAUSED); i++)
		if (!accept_one(l, sub))
			return;
}

/* Closing the application's end ends the connection as the application's own close would. */
void accept_close(struct isock *l)
{
	struct broker_msg m = { .kind = BM_CLOSED, .slot = slot_of(l), .gen = l->gen, .share = l->share };

	l->share = 0;
	gate_close(l);
	while (listener_of(l)->ready.count) {
		struct isock *s = sock_at(listener_of(l)->ready.first);

		if (s->unseen)
			slots_free(slot_of(s));
		else
			accept_forget(s);
	}
	if (ins.publish)
		uplink_send(&m);
}

/* shutdown(2) of a listener: its queue is gone, and it listens no more. */
void accept_shut(struct isock *l)
{
	pause_listener(l);
	watch(l, EPOLLET); /* the hang-up that follows is told once */
	ins.stack->unlisten(l->tcp);
	while (l->extra_count)
		ins.stack->close(l->extra[--l->extra_count]);
	accept_close(l);
	if (ins.door)
		front_close_listener(l);
	slots_state(l, MW_ST_OPEN);
}

/* The listener's doorbell: closed by the application, or with room again. */
void accept_bell(struct isock *l, uint32_t mask)
{
	if (mask & (EPOLLHUP | EPOLLERR)) {
		slots_free(slot_of(l));
		return;
	}
	if (mask & EPOLLOUT && l->flags & F_PAUSED && hand_over_all(l))
		resume(l);
}
