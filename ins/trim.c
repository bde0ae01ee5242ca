// SPDX-License-Identifier: Apache-2.0
/*
 * trim.c - memory of idle sockets' rings, given back.
 * Trust: how full a ring is is the application's word as far as chan/ring.c bounds it; what is given back wrongly is its own.
 */
#include <sys/mman.h>

#include "ins/data.h"
#include "ins/trim.h"

#define TRIM_TICKS   20  /* looks, a tenth of a second apart, without traffic before ring pages are given back */
#define TRIM_AT_ONCE 128 /* sockets a look: well under a millisecond */

static void give_back(const struct mw_ring *r)
{
	madvise(MW_WORD(r->data), r->bytes, MADV_REMOVE);
}

/* An idle socket's rings: rx is ours to write; for tx the application is kept out for the moment. */
static bool trim_live(struct isock *s)
{
	struct mw_slot *m = shared_of(s);
	struct mw_ring rx, tx;
	uint32_t used, none = 0;

	arena_rx(&ins.view, slot_of(s), &rx);
	arena_tx(&ins.view, slot_of(s), &tx);
	if (mw_load_acquire(&m->app.rx_cons) != s->rx_prod)
		return false;
	if (!__atomic_compare_exchange_n(&m->app.tx_lock, &none, TRIM_LOCK, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	if (ring_used(&tx, s->tx_cons, &used) == 0 && used == 0)
		give_back(&tx);
	give_back(&rx);
	__atomic_store_n(&m->app.tx_lock, 0, __ATOMIC_RELEASE);
	return true;
}

/* Whole pages of n bytes of the ring at pos. */
static void give_back_part(const struct mw_ring *r, uint64_t pos, uint32_t n)
{
	struct mw_span span[2];
	int count = ring_spans(r, pos, n, span);

	for (int i = 0; i < count; i++) {
		mw_uintptr from = ((mw_uintptr)span[i].base + MW_PAGE - 1) & ~(mw_uintptr)(MW_PAGE - 1);
		mw_uintptr to = ((mw_uintptr)span[i].base + span[i].bytes) & ~(mw_uintptr)(MW_PAGE - 1);

		if (to > from)
			madvise((void *)from, to - from, MADV_REMOVE);
	}
}

/* Buffers that an operator made small: what is free of their rings holds no memory, also while they are in use. */
static void trim_limited(struct isock *s)
{
	uint32_t *lock = &shared_of(s)->app.tx_lock, none = 0, room;
	struct mw_ring rx, tx;

	arena_rx(&ins.view, slot_of(s), &rx);
	arena_tx(&ins.view, slot_of(s), &tx);
	if (s->rx_limit && ring_free(&rx, s->rx_prod, &room) == 0)
		give_back_part(&rx, s->rx_prod, room);
	if (!s->tx_limit ||
	    !__atomic_compare_exchange_n(lock, &none, TRIM_LOCK, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	if (ring_used(&tx, s->tx_cons, &room) == 0)
		give_back_part(&tx, s->tx_cons + room, tx.bytes - room);
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

/* True when pages were given back. */
static bool trim_one(struct isock *s)
{
	struct mw_ring r;

	if (s->gen & 1 && (s->rx_limit || s->tx_limit))
		trim_limited(s);
	if (s->idle_ticks < TRIM_TICKS) {
		s->idle_ticks++;
		return false;
	}
	if (s->gen & 1) {
		if (s->type == MW_TYPE_DGRAM || !trim_live(s)) /* headers may wait there */
			return false;
	} else {
		arena_rx(&ins.view, slot_of(s), &r);
		give_back(&r);
		arena_tx(&ins.view, slot_of(s), &r);
		give_back(&r);
	}
	s->flags &= ~F_DIRTY;
	return true;
}

/* Ten times a second while there is anything to give back, then never until traffic makes some. */
void trim(void)
{
	int given = 0;

	ins.trim_due = false;
	for (uint32_t i = 0; i < ins.view.slots; i++) {
		struct isock *s = sock_at(i);

		if (s->state == MW_ST_CLOSING && s->flags & F_TX_DONE)
			data_tx(s); /* it lingers: its time may be over */
		if (!(s->flags & F_DIRTY) || s->unseen || ins.door) /* its bytes wait for the application */
			continue;
		ins.trim_due = true;
		if (given < TRIM_AT_ONCE)
			given += trim_one(s);
	}
}
