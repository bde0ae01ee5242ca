// SPDX-License-Identifier: Apache-2.0
/*
 * loopback.c - with --host-loopback, a connect() that our own loopback refuses is tried on the host's.
 * Trust: the broker decides, by its own option. The address may be the application's invention: the socket that the broker
 * gives reaches loopback only.
 *
 * Our own loopback comes first, so whatever the application listens on is what it finds there. When that refuses, the socket
 * stays "connecting", the broker is asked for a socket made in the host's network, and this one takes the handle's place:
 * same options, same name if it was given one, then connect(). What that says is final; for
 * another connect() the socket is one of our own again.
 * Requests in flight are few, so that neither we nor the broker ever wait to send; the rest wait by a flag in their slot.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "ins/again.h"
#include "ins/journal.h"
#include "ins/loopback.h"
#include "ins/observe.h"
#include "ins/poll.h"
#include "ins/slots.h"
#include "ins/uplink.h"
#include "lib/addr.h"
#include "link/broker.h"

#define IN_FLIGHT_MAX 64

static uint32_t in_flight, last_slot;
static bool some_wait;

/* Makes `to` the socket's handle and connects it. As connect(). */
static int take_place(struct isock *s, int to, const struct mw_addr *peer)
{
	struct mw_addr own;
	int r = 0, old = s->tcp;

	if (old != to) {
		again_options(old, to);
		if (s->flags & F_BOUND && ins.stack->name_of(old, &own, false) == 0)
			r = ins.stack->bind(to, &own);
		if (r == -EINVAL && journal->job.again)
			r = 0;
		s->flags |= F_HOSTS;
		s->tcp = to;
		mw_order();
		ins.stack->close(old);
	}
	observe_stack(s);
	if (r == 0)
		r = ins.stack->connect(to, peer);
	if (journal->job.again)
		r = r == -EALREADY ? -EINPROGRESS : r == -EISCONN ? 0 : r;
	if (r == 0 || r == -EINPROGRESS)
		r = poll_add(to, EV_TCP, 0, slot_of(s), s->gen, TCP_MASK); /* tells also if it was decided at once */
	return r;
}

static void ask(struct isock *s)
{
	struct broker_msg m = { .kind = BM_LOOPBACK, .slot = slot_of(s), .gen = s->gen, .addr = flow_of(s)->peer };

	uplink_send(&m); /* twice, if a worker dies here: only the first answer is of use */
	s->flags |= F_LOOP_ASKED;
	in_flight++;
}

static void ask_waiting(void)
{
	for (uint32_t i = 0; some_wait && in_flight < IN_FLIGHT_MAX; i++) {
		struct isock *s = sock_at(last_slot);

		last_slot = (last_slot + 1) % ins.view.slots;
		if ((s->flags & (F_LOOP_WAITS | F_LOOP_ASKED)) == F_LOOP_WAITS)
			ask(s);
		some_wait = i < ins.view.slots;
	}
}

/* Answers will come for those that were asked for; a worker may have died between the flag and the asking. */
void loopback_recover(struct isock *s)
{
	if ((s->flags & (F_LOOP_WAITS | F_LOOP_ASKED)) == (F_LOOP_WAITS | F_LOOP_ASKED))
		in_flight++;
	some_wait = true;
}

bool loopback_ask(struct isock *s)
{
	struct mw_addr peer = flow_of(s)->peer;

	if (!ins.host_loopback || s->flags & F_LOOP_ASKED || !(addr_is_loopback(&peer) || addr_is_any(&peer)))
		return false;
	s->flags |= F_LOOP_WAITS;
	if (in_flight < IN_FLIGHT_MAX)
		ask(s);
	else
		some_wait = true;
	return true;
}

void loopback_answer(const struct broker_msg *m, int *fd)
{
	struct isock *s = slots_find(m->slot, m->gen);
	int r = -ECONNREFUSED; /* as our own loopback said, when the broker has no socket to give */

	in_flight -= in_flight > 0;
	ask_waiting();
	if (!s || !(s->flags & F_LOOP_WAITS))
		return;
	if (m->status == 0 && *fd >= 0) {
		r = take_place(s, *fd, &m->addr);
		*fd = -1;
	}
	s->flags &= ~F_LOOP_WAITS;
	if (r < 0)
		again_failed(s, -r);
}
