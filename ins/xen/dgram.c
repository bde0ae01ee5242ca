// SPDX-License-Identifier: Apache-2.0
/*
 * dgram.c - see front.h: a datagram is a record in a ring: its length, mw_dgram, payload, padded to 8.
 * Trust: a length that no datagram has, or beyond what was published, is for the caller to end the socket over.
 */
#include "chan/msg.h"
#include "ins/bell.h"
#include "ins/data.h"
#include "ins/journal.h"
#include "ins/xen/front.h"

#define LEAST (uint32_t)sizeof(struct mw_dgram)
#define MOST  (LEAST + MW_DGRAM_PAYLOAD)

struct lead {
	uint32_t bytes, zero;
};

static uint32_t taken_by(uint32_t bytes)
{
	return ((uint32_t)sizeof(struct lead) + bytes + 7) & ~7u;
}

/* For the longest: how long the next one is, the stack does not say. */
bool front_dgram_room(struct isock *s)
{
	struct mw_slot *m = shared_of(s);
	struct mw_ring r;
	uint32_t room = 0;

	arena_rx(&ins.view, slot_of(s), &r);
	if (ring_free(&r, s->rx_prod, &room) < 0) {
		data_quarantine(s);
		return false;
	}
	if (room >= taken_by(MOST)) {
		mw_store(&m->ins.rx_space_event, MW_NEVER);
		return true;
	}
	mw_store(&m->ins.rx_space_event, s->rx_prod - (r.bytes - taken_by(MOST)) - 1);
	mw_fence(); /* pairs with app's, between its taking and its look */
	return ring_free(&r, s->rx_prod, &room) == 0 && room >= taken_by(MOST);
}

static void show_up(struct isock *s, uint64_t prod)
{
	struct mw_ring r;

	s->rx_prod = prod;
	arena_rx(&ins.view, slot_of(s), &r);
	ring_publish(&r, prod);
	bell_ring_later(s);
}

ssize_t front_dgram_up(struct isock *s, const struct mw_dgram *d, const void *data, size_t bytes)
{
	struct lead lead = { .bytes = (uint32_t)(sizeof(*d) + bytes) };
	struct mw_ring r;
	uint32_t room;

	arena_rx(&ins.view, slot_of(s), &r);
	if (ring_free(&r, s->rx_prod, &room) < 0 || room < taken_by(lead.bytes))
		return -EAGAIN;
	ring_write(&r, s->rx_prod, &lead, sizeof(lead));
	ring_write(&r, s->rx_prod + sizeof(lead), d, sizeof(*d));
	ring_write(&r, s->rx_prod + sizeof(lead) + sizeof(*d), data, (uint32_t)bytes);
	journal->deed.total = s->rx_prod + taken_by(lead.bytes);
	mw_order();
	mw_store(&journal->deed.m.msg_len, lead.bytes);
	mw_order();
	show_up(s, journal->deed.total);
	return (ssize_t)bytes;
}

void front_dgram_up_recover(struct isock *s)
{
	show_up(s, journal->deed.total);
}

int32_t front_dgram_next(struct isock *s, void *to)
{
	struct lead lead;
	struct mw_ring r;
	uint32_t used;

	arena_tx(&ins.view, slot_of(s), &r);
	if (ring_used(&r, s->tx_cons, &used) < 0)
		return -EPROTO;
	if (!used)
		return 0;
	if (used < sizeof(lead))
		return -EPROTO;
	ring_read(&r, s->tx_cons, &lead, sizeof(lead));
	if (lead.zero || lead.bytes < LEAST || lead.bytes > MOST || taken_by(lead.bytes) > used)
		return -EPROTO;
	ring_read(&r, s->tx_cons + sizeof(lead), to, lead.bytes);
	journal->deed.pos = s->tx_cons + taken_by(lead.bytes); /* for front_dgram_off(), also another worker's */
	return (int32_t)lead.bytes;
}

bool front_dgram_off(struct isock *s)
{
	struct mw_ring r;

	mw_store(&s->tx_cons, journal->deed.pos);
	arena_tx(&ins.view, slot_of(s), &r);
	ring_release(&r, s->tx_cons);
	bell_ring_later(s);
	return true;
}
