// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * arena.c - see arena.h.
 * Trust: a ready bit of a slot that does not exist is dropped here, so callers may index with what they get.
 */
#include "arena.h"
#include "bits.h"

static bool ring_bytes_ok(uint32_t n)
{
	return n >= MW_RING_BYTES_MIN && n <= MW_RING_BYTES_MAX && (n & (n - 1)) == 0;
}

static uint64_t rings_offset(uint32_t slots)
{
	uint64_t end = MW_SLOT_OFFSET + (uint64_t)slots * sizeof(struct mw_slot);

	return (end + MW_PAGE - 1) & ~(uint64_t)(MW_PAGE - 1);
}

uint64_t arena_bytes(uint32_t slots, uint32_t rx_bytes, uint32_t tx_bytes)
{
	if (slots == 0 || slots > MW_SLOTS_MAX || slots % 64 || !ring_bytes_ok(rx_bytes) || !ring_bytes_ok(tx_bytes))
		return 0;
	return rings_offset(slots) + (uint64_t)slots * ((uint64_t)rx_bytes + tx_bytes);
}

struct mw_arena __peer *arena_header(const struct mw_view *v)
{
	return (struct mw_arena __peer *)v->base;
}

int arena_init(struct mw_view *v, void *base, uint64_t bytes, uint32_t slots, uint32_t rx_bytes, uint32_t tx_bytes)
{
	struct mw_arena *a = base;
	uint64_t need = arena_bytes(slots, rx_bytes, tx_bytes);

	if (need == 0 || need > bytes)
		return -EINVAL;
	a->version = MW_VERSION;
	a->slots = slots;
	a->rx_bytes = rx_bytes;
	a->tx_bytes = tx_bytes;
	a->arena_bytes = need;
	mw_store_release(&a->magic, MW_MAGIC); /* pairs with arena_check */
	return arena_check(v, base, bytes);
}

int arena_check(struct mw_view *v, void *base, uint64_t mapped)
{
	struct mw_arena *a = base;
	struct mw_view n;
	uint64_t need;

	if (mapped < MW_PAGE || mw_load_acquire(&a->magic) != MW_MAGIC || mw_load(&a->version) != MW_VERSION)
		return -EPROTO;
	memset(&n, 0, sizeof(n));
	n.base = MW_PEER(base);
	n.slots = mw_load(&a->slots);
	n.rx_bytes = mw_load(&a->rx_bytes);
	n.tx_bytes = mw_load(&a->tx_bytes);
	need = arena_bytes(n.slots, n.rx_bytes, n.tx_bytes);
	if (need == 0 || need > mapped)
		return -EPROTO;
	n.bytes = need;
	*v = n;
	return 0;
}

struct mw_slot __peer *arena_slot(const struct mw_view *v, uint32_t slot)
{
	return (struct mw_slot __peer *)(v->base + MW_SLOT_OFFSET + (uint64_t)slot * sizeof(struct mw_slot));
}

static uint8_t __peer *ring_data(const struct mw_view *v, uint32_t slot)
{
	return v->base + rings_offset(v->slots) + (uint64_t)slot * ((uint64_t)v->rx_bytes + v->tx_bytes);
}

void arena_rx(const struct mw_view *v, uint32_t slot, struct mw_ring *r)
{
	struct mw_slot __peer *s = arena_slot(v, slot);

	r->data = ring_data(v, slot);
	r->prod = &s->ins.rx_prod;
	r->cons = &s->app.rx_cons;
	r->event = &s->app.rx_event;
	r->bytes = v->sizes ? v->sizes[slot].rx_bytes : v->rx_bytes;
	r->pad = 0;
}

void arena_tx(const struct mw_view *v, uint32_t slot, struct mw_ring *r)
{
	struct mw_slot __peer *s = arena_slot(v, slot);

	r->data = ring_data(v, slot) + v->rx_bytes;
	r->prod = &s->app.tx_prod;
	r->cons = &s->ins.tx_cons;
	r->event = &s->app.tx_event;
	r->bytes = v->sizes ? v->sizes[slot].tx_bytes : v->tx_bytes;
	r->pad = 0;
}

static struct mw_bits ready_bits(const struct mw_view *v)
{
	struct mw_arena __peer *a = arena_header(v);
	struct mw_bits b = { .top = MW_WORD(&a->ready_top[0]), .words = (uint64_t *)(mw_uintptr)(v->base + MW_READY_OFFSET),
			     .slots = v->slots };

	return b;
}

bool ready_mark(const struct mw_view *v, uint32_t slot)
{
	struct mw_arena __peer *a = arena_header(v);
	struct mw_bits b = ready_bits(v);

	bits_mark(&b, slot);
	return bits_flag_take(MW_WORD(&a->sleeping));
}

bool ready_any(const struct mw_view *v)
{
	struct mw_bits b = ready_bits(v);

	return bits_any(&b);
}

int32_t ready_take(const struct mw_view *v, uint32_t from, uint64_t *bits)
{
	struct mw_bits b = ready_bits(v);

	return bits_next(&b, from, bits);
}
