// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * arena.c - see arena.h.
 * Trust: a ready bit of a slot that does not exist is dropped here, so callers may index with what they get.
 */
#include "arena.h"

#ifdef __KERNEL__
#include <linux/atomic.h>
#include <linux/bitops.h>
#define bits_or(p, v)    atomic64_or((s64)(v), (atomic64_t *)(p))
#define bits_take(p)     ((uint64_t)atomic64_xchg((atomic64_t *)(p), 0))
#define flag_take(p)     xchg((p), 0u)
#define first_bit(v)     __ffs64(v)
#else
#define bits_or(p, v)    __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define bits_take(p)     __atomic_exchange_n((p), 0, __ATOMIC_SEQ_CST)
#define flag_take(p)     __atomic_exchange_n((p), 0u, __ATOMIC_SEQ_CST)
#define first_bit(v)     __builtin_ctzll(v)
#endif

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
	r->bytes = v->rx_bytes;
	r->pad = 0;
}

void arena_tx(const struct mw_view *v, uint32_t slot, struct mw_ring *r)
{
	struct mw_slot __peer *s = arena_slot(v, slot);

	r->data = ring_data(v, slot) + v->rx_bytes;
	r->prod = &s->app.tx_prod;
	r->cons = &s->ins.tx_cons;
	r->event = NULL;
	r->bytes = v->tx_bytes;
	r->pad = 0;
}

static uint64_t *ready_words(const struct mw_view *v)
{
	return (uint64_t *)(mw_uintptr)(v->base + MW_READY_OFFSET);
}

bool ready_mark(const struct mw_view *v, uint32_t slot)
{
	struct mw_arena __peer *a = arena_header(v);
	uint32_t *sleeping = MW_WORD(&a->sleeping);

	bits_or(&ready_words(v)[slot / 64], 1ULL << slot % 64);
	bits_or(&MW_WORD(&a->ready_top[0])[slot / 4096], 1ULL << slot / 64 % 64);
	mw_fence(); /* pairs with the fence of ins between sleeping = 1 and ready_any */
	return mw_load(sleeping) && flag_take(sleeping);
}

static uint32_t top_words(const struct mw_view *v)
{
	return (v->slots + 4095) / 4096;
}

bool ready_any(const struct mw_view *v)
{
	struct mw_arena __peer *a = arena_header(v);
	uint64_t *top = MW_WORD(&a->ready_top[0]);

	for (uint32_t i = 0; i < top_words(v); i++)
		if (mw_load(&top[i]))
			return true;
	return false;
}

/* Takes the bits of the first word of those under top[t], from word `from` on, and gives back the other top bits. */
static int32_t take_word(const struct mw_view *v, uint64_t *top, uint32_t t, uint32_t from, uint64_t *bits)
{
	uint64_t before = from / 64 == t ? (1ULL << from % 64) - 1 : 0;
	uint64_t tops = bits_take(&top[t]);

	before &= tops;
	tops &= ~before;
	if (before)
		bits_or(&top[t], before);
	while (tops) {
		uint32_t word = t * 64 + (uint32_t)first_bit(tops);

		tops &= tops - 1;
		*bits = word < v->slots / 64 ? bits_take(&ready_words(v)[word]) : 0;
		if (*bits) {
			if (tops)
				bits_or(&top[t], tops);
			return (int32_t)(word * 64);
		}
	}
	return -1;
}

int32_t ready_take(const struct mw_view *v, uint32_t from, uint64_t *bits)
{
	struct mw_arena __peer *a = arena_header(v);
	uint64_t *top = MW_WORD(&a->ready_top[0]);

	for (uint32_t t = from / 4096; t < top_words(v); t++) {
		int32_t first = mw_load(&top[t]) ? take_word(v, top, t, from / 64, bits) : -1;

		if (first >= 0)
			return first;
	}
	return -1;
}
