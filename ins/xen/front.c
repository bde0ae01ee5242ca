// SPDX-License-Identifier: Apache-2.0
/*
 * front.c - see front.h: what the other side is told, and what its marks say.
 * Trust: app's words are loaded once; the worst that they can do is to end the socket that they belong to.
 *
 * A mark says "look at this slot", so one too many does no harm: whoever takes over from a worker that died marks all.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "ins/accept.h"
#include "ins/bell.h"
#include "ins/data.h"
#include "ins/dgram.h"
#include "ins/journal.h"
#include "ins/observe.h"
#include "ins/poll.h"
#include "ins/slots.h"
#include "ins/xen/front.h"

static const struct carrier *carrier;
static bool sleeps; /* the other side does, and is owed a notification */

int front_init(const struct carrier *c)
{
	carrier = c;
	return poll_add(c->fd(), EV_KICK, 1, 0, 0, EPOLLIN);
}

static struct mw_door *door(void)
{
	return (struct mw_door *)(mw_uintptr)door_header(&memory_door);
}

void front_woken(bool it_slept)
{
	sleeps |= it_slept;
}

void front_mark(const struct isock *s)
{
	mirror_touch(slot_of(s));
	front_woken(door_mark(&memory_door, slot_of(s)));
}

void front_up(void)
{
	mw_store_release(&door()->state, MW_DOOR_UP);
	sleeps = true; /* whatever it says: a worker that died may have taken its word */
	front_round();
}

void front_recover(void)
{
	uint32_t high = observe_header()->slots_high;

	for (uint32_t i = 0; i < high; i++)
		front_mark(sock_at(i));
}

/* Whoever waits for events there is told once for each position. */
static bool event_due(struct mw_door *d, const struct mw_tele *t)
{
	static uint64_t told;
	uint64_t armed;

	mw_fence(); /* pairs with app's, between arming and its look at event_next */
	armed = mw_load(&d->event_armed);
	if (!armed || armed == told || t->event_next < armed)
		return false;
	told = armed;
	return true;
}

void front_round(void)
{
	struct mw_door *d = door();
	const struct mw_tele *t = observe_header();

	mirror_round();
	sleeps |= event_due(d, t);
	mw_store(&d->heartbeat, t->heartbeat);
	mw_store(&d->violations, t->violations);
	mw_store(&d->spare, slots_spares());
	if (!sleeps)
		return;
	sleeps = false;
	carrier->notify();
}

void front_end(int status)
{
	mw_store_release(&door()->state, MW_DOOR_ENDED);
	carrier->notify();
	_exit(status);
}

void front_news(void)
{
	if (!carrier->news())
		front_end(EXIT_GONE);
}

/* --- one socket --- */

void front_ring(struct isock *s)
{
	struct mw_ring r;
	bool due = s->waking;

	s->waking = false;
	arena_rx(&ins.view, slot_of(s), &r);
	if (bell_enough(s, &r) && ring_due(&r, s->rx_prod, &s->rx_told)) {
		mw_store_release(&shared_of(s)->ins.rx_told, s->rx_told);
		due = true;
	}
	arena_tx(&ins.view, slot_of(s), &r);
	if (ring_due(&r, s->tx_cons, &s->tx_told) || due)
		front_mark(s);
}

void front_show_fin(struct isock *s)
{
	if (s->flags & F_FIN_SHOWN)
		return;
	mw_store_release(&shared_of(s)->ins.rx_state, MW_RX_FIN);
	s->flags |= F_FIN_SHOWN;
	front_mark(s);
}

void front_show_error(struct isock *s, int error)
{
	struct mw_slot *m = shared_of(s);

	mw_store(&m->ins.error, error);
	if (s->type == MW_TYPE_DGRAM)
		mw_store_release(&m->ins.rx_state, ++s->errors);
	else
		mw_store_release(&m->ins.rx_state, MW_RX_ERROR | (s->flags & F_FIN_SHOWN ? MW_RX_FIN : 0));
	front_mark(s);
}

static void stream_service(struct isock *s, uint32_t flags)
{
	if (flags & MW_APP_CLOSED && s->state != MW_ST_CLOSING) {
		if (s->flags & F_APP_GONE) /* a worker died over it */
			bell_gone_on(s);
		else
			bell_gone(s);
		return;
	}
	if (flags & MW_APP_SHUT_WR)
		s->flags |= F_APP_WR_SHUT;
	if (s->state == MW_ST_LISTEN)
		accept_bell(s, EPOLLOUT);
	data_service(s);
}

void front_service(struct isock *s)
{
	uint32_t flags = mw_load_acquire(&shared_of(s)->app.flags);

	if (s->unseen)
		return; /* it cannot know of it */
	if (s->type == MW_TYPE_DGRAM)
		dgram_service(s, flags);
	else
		stream_service(s, flags);
}

/* --- accepted connections --- */

static void show_handed(struct isock *l, struct isock *s)
{
	struct mw_ring r;

	arena_rx(&ins.view, slot_of(l), &r);
	ring_publish(&r, l->rx_prod);
	bell_ring_later(l);
	accept_handed(s);
}

int front_hand_over(struct isock *l, struct isock *s)
{
	struct mw_accepted c = { .slot = slot_of(s), .gen = s->gen, .ins = ins.number, .peer = flow_of(s)->peer };
	struct mw_ring r;
	uint32_t room;

	arena_rx(&ins.view, slot_of(l), &r);
	if (ring_free(&r, l->rx_prod, &room) < 0) {
		data_quarantine(l);
		return -EPROTO;
	}
	if (room < sizeof(c)) {
		mw_store(&shared_of(l)->ins.rx_space_event, l->rx_prod - r.bytes / 2);
		mw_fence(); /* pairs with app's, between its taking and its look */
		if (ring_free(&r, l->rx_prod, &room) < 0 || room < sizeof(c))
			return -EAGAIN;
	}
	mw_store(&shared_of(l)->ins.rx_space_event, MW_NEVER);
	ring_write(&r, l->rx_prod, &c, sizeof(c));
	journal->deed.pos = l->rx_prod;
	deed_begin(DEED_HAND, s);
	s->handed_at = l->rx_prod + sizeof(c);
	mw_order();
	mw_store(&l->rx_prod, s->handed_at);
	mw_order();
	show_handed(l, s);
	deed_end();
	return 0;
}

void front_hand_recover(struct isock *s)
{
	struct isock *l = sock_at((uint32_t)flow_of(s)->listener);

	if (l->rx_prod != journal->deed.pos)
		show_handed(l, s);
	else
		s->handed_at = 0;
}

void front_close_listener(const struct isock *l)
{
	uint64_t taken = mw_load_acquire(&shared_of(l)->app.rx_cons), id = flow_of(l)->id;
	uint32_t high = observe_header()->slots_high;

	for (uint32_t i = 0; i < high; i++) {
		struct isock *s = sock_at(i);

		if (s->gen & 1 && s->handed_at > taken && s != l && flow_of(s)->listener == id) {
			slots_abort(s);
			slots_free(i);
		}
	}
}
