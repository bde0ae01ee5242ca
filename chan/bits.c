// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * bits.c - see bits.h.
 * Trust: the other side may change any word at any time; each is exchanged once and the copy is used.
 */
#include "bits.h"

#ifdef __KERNEL__
#include <linux/atomic.h>
#include <linux/bitops.h>
#define word_or(p, v) atomic64_or((s64)(v), (atomic64_t *)(p))
#define word_take(p)  ((uint64_t)atomic64_xchg((atomic64_t *)(p), 0))
#define flag_take(p)  xchg((p), 0u)
#define first_bit(v)  __ffs64(v)
#else
#define word_or(p, v) __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define word_take(p)  __atomic_exchange_n((p), 0, __ATOMIC_SEQ_CST)
#define flag_take(p)  __atomic_exchange_n((p), 0u, __ATOMIC_SEQ_CST)
#define first_bit(v)  __builtin_ctzll(v)
#endif

static uint32_t top_words(const struct mw_bits *b)
{
	return (b->slots + 4095) / 4096;
}

void bits_mark(const struct mw_bits *b, uint32_t slot)
{
	word_or(&b->words[slot / 64], 1ULL << slot % 64);
	word_or(&b->top[slot / 4096], 1ULL << slot / 64 % 64);
	mw_fence(); /* pairs with the taker's, between saying that it sleeps and bits_any */
}

bool bits_any(const struct mw_bits *b)
{
	for (uint32_t i = 0; i < top_words(b); i++)
		if (mw_load(&b->top[i]))
			return true;
	return false;
}

bool bits_flag_take(uint32_t *flag)
{
	return mw_load(flag) && flag_take(flag);
}

/* Takes the bits of the first word of those under top[t], from word `from` on, and gives back the other top bits. */
static int32_t take_word(const struct mw_bits *b, uint32_t t, uint32_t from, uint64_t *bits)
{
	uint64_t before = from / 64 == t ? (1ULL << from % 64) - 1 : 0;
	uint64_t tops = word_take(&b->top[t]);

	before &= tops;
	tops &= ~before;
	if (before)
		word_or(&b->top[t], before);
	while (tops) {
		uint32_t word = t * 64 + (uint32_t)first_bit(tops);

		tops &= tops - 1;
		*bits = word < b->slots / 64 ? word_take(&b->words[word]) : 0;
		if (*bits) {
			if (tops)
				word_or(&b->top[t], tops);
			return (int32_t)(word * 64);
		}
	}
	return -1;
}

int32_t bits_next(const struct mw_bits *b, uint32_t from, uint64_t *bits)
{
	for (uint32_t t = from / 4096; t < top_words(b); t++) {
		int32_t first = mw_load(&b->top[t]) ? take_word(b, t, from / 64, bits) : -1;

		if (first >= 0)
			return first;
	}
	return -1;
}
