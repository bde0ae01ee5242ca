// SPDX-License-Identifier: Apache-2.0
/*
 * samples.c - see samples.h.
 * Trust: as in the header. One writer; a reader that finds it at work tries again, a few times.
 */
#include "link/samples.h"

#define TRIES 8

/* seq is the first word of both; the rest is copied between two of its values. */
static void store(void *to, const void *from, size_t bytes)
{
	uint32_t *seq = to, n = mw_load(seq) | 1;

	mw_store(seq, n);
	mw_fence(); /* pairs with load()'s acquire: whoever sees the new bytes sees the odd number or the next */
	memcpy((uint8_t *)to + sizeof(n), (const uint8_t *)from + sizeof(n), bytes - sizeof(n));
	mw_store_release(seq, n + 1);
}

static bool load(const void *from, void *to, size_t bytes)
{
	const uint32_t *seq = from;

	for (int i = 0; i < TRIES; i++) {
		uint32_t n = mw_load_acquire(seq);

		if (n & 1)
			continue;
		memcpy(to, from, bytes);
		mw_fence();
		if (mw_load(seq) == n)
			return true;
	}
	return false;
}

void sample_store(struct sample *to, const struct sample *from)
{
	store(to, from, sizeof(*to));
}

bool sample_load(const struct sample *from, uint64_t id, struct sample *to)
{
	return mw_load(&from->id) == id && load(from, to, sizeof(*to)) && to->id == id;
}

void linger_store(struct lingering *to, const struct lingering *from)
{
	store(to, from, sizeof(*to));
}

bool linger_load(const struct lingering *from, struct lingering *to)
{
	return mw_load(&from->s.id) && load(from, to, sizeof(*to)) && to->s.id;
}
