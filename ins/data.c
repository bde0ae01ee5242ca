// SPDX-License-Identifier: Apache-2.0
/*
 * data.c - bytes between the stack and the rings, with no buffer in between.
 * Trust: the application's indexes are checked in chan/ring.c; an impossible one quarantines that socket alone.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#include "ins/accept.h"
#include "ins/bell.h"
#include "ins/data.h"
#include "ins/gate.h"
#include "ins/journal.h"
#include "ins/observe.h"
#include "ins/operator.h"
#include "ins/slots.h"
#include "ins/stream.h"
#include "ins/urgent.h"
#include "lib/clock.h"

#define WRITABLE_SHARE 3 /* like TCP: writable again when a third is free */

int ring_iov(const struct mw_ring *r, uint64_t pos, uint32_t n, struct iovec iov[2])
{
	struct mw_span span[2];
	int count = ring_spans(r, pos, n, span);

	for (int i = 0; i < count; i++) {
		iov[i].iov_base = MW_WORD(span[i].base);
		iov[i].iov_len = span[i].bytes;
	}
	return count;
}

void data_quarantine(struct isock *s)
{
	struct mw_tele *t = observe_header();

	mw_store(&t->violations, t->violations + 1);
	data_fail(s, ECONNABORTED, MW_END_QUARANTINE);
}

void data_fail(struct isock *s, int error, uint32_t end)
{
	struct mw_flow *f = flow_of(s);

	if (f->end == MW_END_NONE) {
		f->error = error;
		shared_of(s)->names.refused = end == MW_END_REFUSED;
		mw_order();
		f->end = end; /* from now on a worker that dies leaves no doubt */
	}
	mw_order();
	if (end == MW_END_QUARANTINE) {
		slots_abort(s);
	} else if (s->tcp >= 0) {
		s->dead = s->tcp; /* the stack has ended it; it still answers for options */
		mw_order();
		s->tcp = -1;
	}
	s->flags |= F_RX_DONE | F_TX_DONE;
	if (s->flags & F_APP_GONE || s->unseen) {
		slots_free(slot_of(s));
		return;
	}
	bell_show_error(s, error); /* before the state, which makes a waiting caller look */
	slots_state(s, MW_ST_CLOSED);
}

/* --- network to application --- */

/* Room in the rx ring; when there is none, asks the application to tell, and looks again. 0: paused, or failed. */
static uint32_t rx_room(struct isock *s, const struct mw_ring *r)
{
	struct mw_slot *m = shared_of(s);
	uint32_t limit = s->unseen && !s->ready ? 0 : s->rx_limit; /* a header that the gate waits for has room */
	uint32_t room, most = limit ? limit : r->bytes;

	if (ring_free(r, s->rx_prod, &room) < 0) {
		data_quarantine(s);
		return 0;
	}
	room = within(room, r, limit);
	if (room)
		return room;
	mw_store(&m->ins.rx_space_event, s->rx_prod - most / 2);
	mw_fence(); /* pairs with the shim's in token_space() */
	if (ring_free(r, s->rx_prod, &room) == 0 && within(room, r, limit) > most / 2)
		return within(room, r, limit);
	s->flags |= F_RX_PAUSED;
	return 0;
}

static void rx_took(struct isock *s, const struct mw_ring *r, uint32_t n)
{
	s->rx_prod += n;
	ring_publish(r, s->rx_prod);
	observe_rx(s, n);
	if (s->held)
		operator_acks(s);
	if (!head_decided(&s->head))
		observe_head(s, s->rx_prod - n);
	deed_end();
	s->flags |= F_DIRTY;
	s->idle_ticks = 0;
	ins.trim_due = true;
	bell_ring_later(s);
}

static void rx_fin(struct isock *s)
{
	s->flags |= F_RX_DONE;
	flow_of(s)->peer_fin_ns = ins.now_ns;
	observe(s, MW_EV_FIN, flow_of(s)->id);
	bell_show_fin(s);
}

/*
 * Reads into the ring. What begins with the urgent byte is known before, and only of a byte that is there already: else
 * it could come between the question and the read. `plain`: an event has just told of one, and of no urgent data.
 */
static ssize_t rx_some(struct isock *s, const struct mw_ring *r, uint32_t room, bool plain)
{
	struct iovec iov[2];
	int waits = plain ? 1 : ins.stack->waits(s->tcp);

	if (waits <= 0)
		return waits;
	if (!plain && ins.stack->at_mark(s->tcp))
		urgent_reached(s);
	deed_bytes_begin(DEED_RECV, s, s->rx_prod, flow_of(s)->rx_bytes, room);
	return ins.stack->recv(s->tcp, iov, ring_iov(r, s->rx_prod, room, iov));
}

static uint8_t tcp_state(const struct isock *s)
{
	uint8_t state = 0; /* tcp_info's first byte */
	uint32_t n = sizeof(state);

	return ins.stack->getopt(s->tcp, IPPROTO_TCP, TCP_INFO, &state, &n) < 0 ? 0 : state;
}

/* The read that told of it was the last: the stack says so once, and that the stream has ended ever after. */
static bool was_reset(const struct isock *s)
{
	return !(s->flags & F_TX_DONE) && tcp_state(s) == TCP_CLOSE && ins.stack->waits(s->tcp) == 0;
}

/* A worker died between its read and what comes after. */
void data_rx_recover(struct isock *s)
{
	const struct deed *d = &journal->deed;
	int64_t n = s->tcp >= 0 ? ins.stack->moved(s->tcp, false, false) - (int64_t)d->total : 0;
	struct mw_ring r;

	if (n <= 0 && s->tcp >= 0 && was_reset(s))
		data_fail(s, ECONNRESET, MW_END_RESET);
	if (n <= 0)
		return;
	if (n > d->room) {
		data_quarantine(s);
		return;
	}
	arena_rx(&ins.view, slot_of(s), &r);
	s->rx_prod = d->pos;
	flow_of(s)->rx_bytes = d->total;
	s->head = d->head;
	rx_took(s, &r, (uint32_t)n);
}

void data_rx(struct isock *s, bool hup)
{
	bool plain = !hup && !(s->flags & F_STREAM); /* there, a doorbell's event may have had us read already */
	struct mw_slot *m = shared_of(s);
	struct mw_ring r;
	uint32_t room, gen = s->gen;

	if (s->flags & F_RX_DONE || s->state != MW_ST_ESTABLISHED)
		return;
	s->flags &= ~F_RX_PAUSED;
	mw_store(&m->ins.rx_space_event, MW_NEVER);
	arena_rx(&ins.view, slot_of(s), &r);
	while ((room = rx_room(s, &r)) > 0) {
		ssize_t n = rx_some(s, &r, room, plain);

		plain = false;
		if (n > 0)
			rx_took(s, &r, (uint32_t)n);
		else if (n == 0)
			rx_fin(s);
		else if (n != -EAGAIN && n != -EINTR)
			data_fail(s, (int)-n, MW_END_RESET);
		deed_end();
		if (n <= 0 || ((uint32_t)n < room && !hup))
			break;
	}
	if (s->gen == gen && s->unseen && !s->ready)
		gate_received(s);
}

/* --- application to network --- */

/* Options that the application posted in its slot: applied before the next byte goes out. */
static void apply_posted(struct isock *s, uint32_t flags)
{
	const uint32_t nodelay = MW_APP_NODELAY | MW_APP_NODELAY_SET;
	int on = !!(flags & MW_APP_NODELAY);

	if ((flags ^ s->app_flags) & nodelay) {
		ins.stack->setopt(s->tcp, 6, 1, &on, sizeof(on)); /* IPPROTO_TCP, TCP_NODELAY */
		operator_app_set(s, 6, 1);
	}
	s->app_flags = flags;
}

static void tx_sent(struct isock *s, const struct mw_ring *r, uint32_t n)
{
	s->tx_cons += n;
	ring_release(r, s->tx_cons);
	observe_tx(s, n);
	deed_end();
	if (ins.door)
		bell_ring_later(s); /* it may wait for room */
	s->flags |= F_DIRTY;
	s->idle_ticks = 0;
	ins.trim_due = true;
}

void data_tx_failed(struct isock *s, int r)
{
	int e = r == -EPIPE ? ins.stack->error(s->tcp) : -r;

	data_fail(s, e ? e : EPIPE, MW_END_RESET);
}

/* Sends what is there, up to an urgent byte, or that byte. */
static ssize_t tx_send(struct isock *s, const struct mw_ring *r, uint32_t used, bool more)
{
	uint64_t behind = s->flags & F_STREAM ? s->tx_urgent : mw_load(&shared_of(s)->app.tx_urgent);
	uint64_t before = behind - 1 - s->tx_cons; /* bytes; huge when there is none */
	struct iovec iov[2];
	int count = ring_iov(r, s->tx_cons, before && before < used ? (uint32_t)before : used, iov);

	deed_bytes_begin(DEED_SEND, s, s->tx_cons, flow_of(s)->tx_bytes, used);
	if (!before)
		return ins.stack->send_urgent(s->tcp, iov->iov_base);
	return ins.stack->send(s->tcp, iov, count, more);
}

/* Of the send that a worker died over: how many bytes the stack took. */
int64_t data_sent(struct isock *s)
{
	const struct deed *d = &journal->deed;
	int64_t n = s->tcp >= 0 ? ins.stack->moved(s->tcp, true, !flow_of(s)->listener) - (int64_t)d->total : 0;

	if (n > d->room) {
		data_quarantine(s);
		return 0;
	}
	return n < 0 ? 0 : n;
}

void data_tx_recover(struct isock *s)
{
	const struct deed *d = &journal->deed;
	int64_t n = data_sent(s);
	struct mw_ring r;

	if (n <= 0)
		return;
	arena_tx(&ins.view, slot_of(s), &r);
	s->tx_cons = d->pos;
	flow_of(s)->tx_bytes = d->total;
	tx_sent(s, &r, (uint32_t)n);
	s->flags |= F_HELD_BACK; /* it may be */
}

/* Sends until the ring is empty or the stack is full. Returns the bytes left, or -errno after a failure. */
static int64_t tx_flush(struct isock *s, const struct mw_ring *r, bool more)
{
	uint32_t used;

	for (;;) {
		ssize_t n;

		if (ring_used(r, s->tx_cons, &used) < 0) {
			data_quarantine(s);
			return -EPROTO;
		}
		if (!used || s->flags & F_TX_BLOCKED)
			return used;
		n = tx_send(s, r, used, more);
		if (n > 0) {
			tx_sent(s, r, (uint32_t)n);
			if (more)
				s->flags |= F_HELD_BACK;
		} else if (n == -EAGAIN) {
			s->flags |= F_TX_BLOCKED;
		} else if (n != -EINTR) {
			data_tx_failed(s, (int)n);
		}
		deed_end();
		if (n < 0 && n != -EAGAIN && n != -EINTR)
			return n;
	}
}

/* The application's close() waits, until the peer has acknowledged FIN or its time is over. */
static bool lingers(struct isock *s)
{
	uint8_t state;

	if (!(s->flags & F_LINGER) || !(mw_load(&shared_of(s)->app.flags) & MW_APP_LINGERS) ||
	    clock_ms() >= s->linger_until_ms)
		return false;
	if (!(s->flags & F_TX_DONE))
		ins.stack->shutdown_send(s->tcp);
	s->flags |= F_TX_DONE;
	ins.trim_due = true; /* trim() looks again: whoever waits may be killed */
	state = tcp_state(s);
	return state == TCP_FIN_WAIT1 || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

/* The ring is empty: what the application's end of writing asks for, once strays are out too. */
static void tx_finish(struct isock *s)
{
	uint32_t gen = s->gen;

	if (!(s->flags & (F_APP_GONE | F_APP_WR_SHUT)))
		return;
	if (!(s->flags & F_TX_DONE))
		bell_drain(s);
	if (s->gen != gen || s->tcp < 0 || s->flags & F_TX_BLOCKED)
		return;
	if (s->flags & F_APP_GONE) {
		if (!lingers(s))
			slots_free(slot_of(s));
	} else if (!(s->flags & F_TX_DONE)) {
		s->flags |= F_TX_DONE;
		flow_of(s)->app_fin_ns = ins.now_ns;
		ins.stack->shutdown_send(s->tcp);
		if (s->flags & F_STREAM)
			stream_done(s);
	}
}

/* Enough room to say so; what SO_SNDLOWAT asks for is at most all of the ring. */
static bool is_writable(const struct isock *s, const struct mw_ring *r, uint32_t left)
{
	uint32_t most = s->tx_limit ? s->tx_limit : r->bytes, least = most / WRITABLE_SHARE;

	if ((uint32_t)s->sndlowat > least)
		least = (uint32_t)s->sndlowat < most ? (uint32_t)s->sndlowat : most;
	return left < most && most - left >= least;
}

void data_tx(struct isock *s)
{
	struct mw_slot *m = shared_of(s);
	uint32_t flags = mw_load_acquire(&m->app.flags);
	uint32_t gen = s->gen;
	struct mw_ring r;
	int64_t left;
	bool more;

	if ((s->state != MW_ST_ESTABLISHED && s->state != MW_ST_CLOSING) || s->tcp < 0)
		return;
	if (flags != s->app_flags)
		apply_posted(s, flags);
	arena_tx(&ins.view, slot_of(s), &r);
	more = flags & MW_APP_CORK && !(s->flags & (F_APP_GONE | F_APP_WR_SHUT));
	left = tx_flush(s, &r, more);
	while (left == 0 && s->gen == gen && s->flags & F_STREAM && stream_pull(s))
		left = tx_flush(s, &r, more);
	if (left < 0 || s->gen != gen)
		return;
	if ((s->flags & F_HELD_BACK || (s->flags & F_CORKED && flags & MW_APP_CORK_SET)) && !(flags & MW_APP_CORK)) {
		s->flags &= ~(F_HELD_BACK | F_CORKED);
		ins.stack->push(s->tcp);
	}
	if (s->flags & F_WANT_SPACE && (is_writable(s, &r, (uint32_t)left) || s->flags & F_APP_WR_SHUT)) {
		s->flags &= ~F_WANT_SPACE;
		bell_drain(s);
	}
	if (left == 0 && s->gen == gen && !(s->flags & F_TX_BLOCKED))
		tx_finish(s);
}

void data_service(struct isock *s)
{
	struct mw_slot *m = shared_of(s);
	uint32_t gen = s->gen;

	if (s->unseen)
		return; /* the application cannot know of it */
	if (s->state == MW_ST_LISTEN && mw_load(&m->app.flags) & MW_APP_SHUT_RD) {
		accept_shut(s);
		return;
	}
	data_tx(s);
	if (s->gen != gen || s->state != MW_ST_ESTABLISHED)
		return;
	if (mw_load(&m->app.flags) & MW_APP_SHUT_RD && !(s->flags & F_FIN_SHOWN))
		bell_show_fin(s);
	if (s->flags & F_RX_PAUSED)
		data_rx(s, true);
	if (s->gen == gen)
		bell_ring_later(s); /* it may have armed behind what we published */
}
