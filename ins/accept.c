// SPDX-License-Identifier: Apache-2.0
/*
 * accept.c - from the stack's accept queue to the application's: a record on the listener's doorbell that is the
 * connection.
 * Trust: nothing of the network's is believed but the address that the stack reports.
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/ins.h"
#include "lib/fdpass.h"

#define ACCEPTS_AT_ONCE 64

static int listener_handle(const struct isock *l, uint32_t sub)
{
	return sub == 0 ? l->tcp : l->extra[sub - 1];
}

static void watch(struct isock *l, uint32_t mask)
{
	for (uint32_t sub = 0; sub <= l->extra_count; sub++)
		poll_change(listener_handle(l, sub), EV_LISTEN, sub, slot_of(l), l->gen, mask);
}

static void pause_listener(struct isock *l)
{
	l->flags |= F_PAUSED;
	watch(l, 0);
}

void accept_watch(struct isock *l)
{
	for (uint32_t sub = 0; sub <= l->extra_count; sub++)
		poll_add(listener_handle(l, sub), EV_LISTEN, sub, slot_of(l), l->gen, EPOLLIN);
}

static void resume(struct isock *l)
{
	l->flags &= ~F_PAUSED;
	watch(l, EPOLLIN);
}

void accept_resume_all(void)
{
	ins.starved = false;
	for (uint32_t i = 0; i < ins.view.slots; i++) {
		struct isock *l = sock_at(i);

		if (l->state == MW_ST_LISTEN && l->flags & F_PAUSED && l->held_fd < 0)
			resume(l);
	}
}

/* Gives the connection to the application. 0, or -EAGAIN when its queue is full. */
static int hand_over(struct isock *l, uint32_t slot, int app_end)
{
	struct isock *s = sock_at(slot);
	struct mw_accepted c = { .slot = slot, .gen = s->gen, .peer = flow_of(s)->peer };
	ssize_t n = fdpass_send(l->bell, &c, sizeof(c), &app_end, 1, MSG_DONTWAIT);

	if (n < 0)
		return (int)n;
	flow_of(s)->handed_ns = ins.now_ns;
	observe(s, MW_EV_HANDED, flow_of(s)->id);
	close(app_end);
	return 0;
}

/* The application never hears of it. */
static void refuse(struct isock *s)
{
	ins.stack->abort(s->tcp);
	s->tcp = -1;
	flow_of(s)->end = MW_END_VERB;
	flow_of(s)->error = ECONNRESET;
	slots_free(slot_of(s));
}

/* Makes slot and doorbell for an accepted handle. Returns the application's end, or -errno with all undone. */
static int set_up(struct isock *l, int handle, const struct mw_addr *peer, uint32_t *slot)
{
	struct isock *s = slots_new(slot);
	uint64_t cookie;
	int app_end, r;

	if (!s) {
		ins.stack->abort(handle);
		return -EMFILE;
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
	if (block_refuses(s)) {
		refuse(s);
		return -ECONNREFUSED;
	}
	r = bell_pair(s, l->flags & F_STREAM ? SOCK_STREAM : SOCK_SEQPACKET, &app_end, &cookie);
	if (r < 0) {
		slots_free(*slot);
		return r;
	}
	operator_door(l, app_end);
	mw_store_release(&shared_of(s)->ins.cookie, cookie);
	r = poll_add(s->tcp, EV_TCP, 0, *slot, s->gen, TCP_MASK);
	if (r < 0) {
		close(app_end);
		slots_free(*slot);
		return r;
	}
	return app_end;
}

/* One connection. False when there is no more to take now. */
static bool accept_one(struct isock *l, int handle)
{
	struct mw_addr peer;
	uint32_t slot;
	int app_end, fd, on = 1;

	if (ins.free_head == NO_SLOT) {
		fd = -EMFILE;
	} else {
		fd = ins.stack->accept(handle, &peer);
	}
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
		ins.starved = true;
		pause_listener(l);
		return false;
	}
	if (fd < 0)
		return fd == -ECONNABORTED || fd == -EINTR;
	if (handle != l->tcp) /* it may have come before the broker's listener had our options */
		ins.stack->setopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	app_end = set_up(l, fd, &peer, &slot);
	if (app_end == -ECONNREFUSED)
		return true;
	if (app_end < 0) {
		ins.starved = true;
		pause_listener(l);
		return false;
	}
	if (hand_over(l, slot, app_end) == 0)
		return true;
	l->held_slot = slot; /* the application is behind: this one waits here, the rest in the stack */
	l->held_fd = app_end;
	pause_listener(l);
	poll_change(l->bell, EV_BELL, 0, slot_of(l), l->gen, EPOLLOUT | EPOLLRDHUP | EPOLLET);
	return false;
}

void accept_event(struct isock *l, uint32_t sub)
{
	for (int i = 0; i < ACCEPTS_AT_ONCE && !(l->flags & F_PAUSED); i++)
		if (!accept_one(l, listener_handle(l, sub)))
			return;
}

/* shutdown(2) of a listener: its queue is gone, and it listens no more. */
void accept_shut(struct isock *l)
{
	struct broker_msg m = { .kind = BM_CLOSED, .slot = slot_of(l), .gen = l->gen };

	pause_listener(l);
	watch(l, EPOLLET); /* the hang-up that follows is told once */
	ins.stack->unlisten(l->tcp);
	while (l->extra_count)
		ins.stack->close(l->extra[--l->extra_count]);
	if (l->held_fd >= 0)
		close(l->held_fd);
	l->held_fd = -1;
	if (ins.publish)
		uplink_send(&m, -1);
	slots_state(l, MW_ST_OPEN);
}

/* The listener's doorbell: closed by the application, or with room again. */
void accept_bell(struct isock *l, uint32_t mask)
{
	struct broker_msg m = { .kind = BM_CLOSED, .slot = slot_of(l), .gen = l->gen };

	if (mask & (EPOLLHUP | EPOLLERR)) {
		if (l->held_fd >= 0)
			close(l->held_fd);
		l->held_fd = -1;
		if (ins.publish)
			uplink_send(&m, -1);
		slots_free(slot_of(l));
		return;
	}
	if (mask & EPOLLOUT && l->held_fd >= 0 && hand_over(l, l->held_slot, l->held_fd) == 0) {
		l->held_fd = -1;
		poll_change(l->bell, EV_BELL, 0, slot_of(l), l->gen, EPOLLRDHUP | EPOLLET);
		resume(l);
	}
}
