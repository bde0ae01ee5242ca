/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * ring.h - a byte ring between two sides that do not trust each other, with event indexes.
 * Trust: the other side's index is loaded once, checked against ours, and only the copy is used. Any contents
 * of its words give either a bounded answer or -EPROTO.
 *
 * Indexes are 64-bit counts of bytes ever moved; they never wrap and are reduced to offsets only to touch data.
 * Theory of the doorbell: DESIGN in doc/design.md, "Doorbell", rule 1. The writer publishes, fences, reads the
 * event index; the reader stores the event index, fences, looks again. One of the two always sees the other.
 */
#ifndef MW_CHAN_RING_H
#define MW_CHAN_RING_H

#include "port.h"

/* One direction of one socket as seen by one side. Words are in shared memory, bytes is ours. */
struct mw_ring {
	uint8_t __peer *data;
	uint64_t __peer *prod;  /* written by the producer */
	uint64_t __peer *cons;  /* written by the consumer */
	uint64_t __peer *event; /* written by whoever wants to be told */
	uint32_t bytes;         /* power of two */
	uint32_t pad;
};

/* Up to two contiguous pieces of ring memory. */
struct mw_span {
	uint8_t __peer *base;
	uint32_t bytes;
	uint32_t pad;
};

/* Bytes the producer at position `prod` may write. 0, or -EPROTO when the consumer's index is impossible. */
int ring_free(const struct mw_ring *r, uint64_t prod, uint32_t *free_bytes);

/* Bytes the consumer at position `cons` may read. 0, or -EPROTO when the producer's index is impossible. */
int ring_used(const struct mw_ring *r, uint64_t cons, uint32_t *used_bytes);

/* The memory of `n` <= r->bytes bytes from position `pos`; returns how many spans (0, 1 or 2). */
int ring_spans(const struct mw_ring *r, uint64_t pos, uint32_t n, struct mw_span span[2]);

/* Copies n <= r->bytes bytes to or from position `pos`. Nothing is published. */
void ring_write(const struct mw_ring *r, uint64_t pos, const void *from, uint32_t n);
void ring_read(const struct mw_ring *r, uint64_t pos, void *to, uint32_t n);

/* Makes all up to `prod` visible to the consumer, or all up to `cons` free for the producer. */
void ring_publish(const struct mw_ring *r, uint64_t prod);
void ring_release(const struct mw_ring *r, uint64_t cons);

/* Asks to be told when the other side's index passes `pos`. Look again after it, before sleeping. */
void ring_arm(const struct mw_ring *r, uint64_t pos);

/*
 * After publishing (or releasing) up to `pos`: does the other side wait to be told?
 * *told remembers the event that was answered last (start with MW_NEVER), so each is answered once.
 */
bool ring_due(const struct mw_ring *r, uint64_t pos, uint64_t *told);

#define MW_NEVER (~0ULL) /* an event index that no position passes */

#endif
