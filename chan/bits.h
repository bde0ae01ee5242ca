/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * bits.h - two-level bitmaps in shared memory: one side sets bits, the other takes them, both atomically.
 * Trust: a bit beyond the slots is dropped where it is taken, so callers may index with what they get.
 */
#ifndef MW_CHAN_BITS_H
#define MW_CHAN_BITS_H

#include "port.h"

struct mw_bits {
	uint64_t *top;   /* bit per word */
	uint64_t *words;
	uint32_t slots;  /* a multiple of 64 */
	uint32_t pad;
};

void bits_mark(const struct mw_bits *b, uint32_t slot); /* with a full fence behind it */
/* All bits of the first non-empty word at or behind slot `from`, a multiple of 64; its first slot number, or -1. */
int32_t bits_next(const struct mw_bits *b, uint32_t from, uint64_t *bits);
bool bits_any(const struct mw_bits *b);
/* Exchanges *flag for 0: what it was. */
bool bits_flag_take(uint32_t *flag);

#endif
