/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * arena.h - where everything is in an arena: sizes, slots, rings, the ready bitmap.
 * Trust: sizes are taken from the header once, by arena_check, and kept in private memory.
 */
#ifndef MW_CHAN_ARENA_H
#define MW_CHAN_ARENA_H

#include "ring.h"
#include "wire.h"

/* What a slot really has of the rings that there is room for: powers of two, or 0 for none. */
struct mw_ring_sizes {
	uint32_t rx_bytes, tx_bytes;
};

/* One side's private view of a mapped arena. */
struct mw_view {
	uint8_t __peer *base;
	uint64_t bytes;
	uint32_t slots;
	uint32_t rx_bytes, tx_bytes;
	uint32_t pad;
	const struct mw_ring_sizes *sizes; /* private, by slot; NULL: all of every ring is there */
};

/* Bytes an arena of these sizes takes; 0 when a size is not allowed. */
uint64_t arena_bytes(uint32_t slots, uint32_t rx_bytes, uint32_t tx_bytes);

/* Writes the header of a zeroed arena of `bytes` at `base` and fills *v. 0 or -EINVAL. */
int arena_init(struct mw_view *v, void *base, uint64_t bytes, uint32_t slots, uint32_t rx_bytes, uint32_t tx_bytes);

/* Fills *v from the header of `mapped` bytes at `base`. 0, or -EPROTO for any size that does not fit. */
int arena_check(struct mw_view *v, void *base, uint64_t mapped);

struct mw_arena __peer *arena_header(const struct mw_view *v);
struct mw_slot __peer *arena_slot(const struct mw_view *v, uint32_t slot); /* slot < v->slots */

/* The two rings of a slot. Both events are the application's; tx's is used with a door (door.h) alone. */
void arena_rx(const struct mw_view *v, uint32_t slot, struct mw_ring *r);
void arena_tx(const struct mw_view *v, uint32_t slot, struct mw_ring *r);

/* Ready bitmap: app marks a slot that has work for ins. mark returns true when ins sleeps and must be kicked. */
bool ready_mark(const struct mw_view *v, uint32_t slot);
/*
 * ins: takes all bits of the first non-empty word at or behind slot `from`, a multiple of 64; returns its first
 * slot number, or -1 when there is none. A pass that goes on 64 behind each answer ends, and reaches every slot,
 * however fast app marks.
 */
int32_t ready_take(const struct mw_view *v, uint32_t from, uint64_t *bits);
bool ready_any(const struct mw_view *v);

#endif
