// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * ring.c - see ring.h.
 * Trust: the only file that strips __peer from ring data.
 */
#include "ring.h"

int ring_free(const struct mw_ring *r, uint64_t prod, uint32_t *free_bytes)
{
	uint64_t used = prod - mw_load_acquire(MW_WORD(r->cons)); /* pairs with ring_release */

	if (used > r->bytes)
		return -EPROTO;
	*free_bytes = r->bytes - (uint32_t)used;
	return 0;
}

int ring_used(const struct mw_ring *r, uint64_t cons, uint32_t *used_bytes)
{
	uint64_t used = mw_load_acquire(MW_WORD(r->prod)) - cons; /* pairs with ring_publish */

	if (used > r->bytes)
		return -EPROTO;
	*used_bytes = (uint32_t)used;
	return 0;
}

int ring_spans(const struct mw_ring *r, uint64_t pos, uint32_t n, struct mw_span span[2])
{
	uint32_t at = (uint32_t)(pos & (r->bytes - 1));
	uint32_t first = r->bytes - at;

	if (n == 0)
		return 0;
	span[0].base = r->data + at;
	span[0].bytes = n < first ? n : first;
	if (n <= first)
		return 1;
	span[1].base = r->data;
	span[1].bytes = n - first;
	return 2;
}

void ring_write(const struct mw_ring *r, uint64_t pos, const void *from, uint32_t n)
{
	struct mw_span s[2];
	int count = ring_spans(r, pos, n, s);

	if (count > 0)
		memcpy(MW_WORD(s[0].base), from, s[0].bytes);
	if (count > 1)
		memcpy(MW_WORD(s[1].base), (const uint8_t *)from + s[0].bytes, s[1].bytes);
}

void ring_read(const struct mw_ring *r, uint64_t pos, void *to, uint32_t n)
{
	struct mw_span s[2];
	int count = ring_spans(r, pos, n, s);

	if (count > 0)
		memcpy(to, MW_WORD(s[0].base), s[0].bytes);
	if (count > 1)
		memcpy((uint8_t *)to + s[0].bytes, MW_WORD(s[1].base), s[1].bytes);
}

void ring_publish(const struct mw_ring *r, uint64_t prod)
{
	mw_store_release(MW_WORD(r->prod), prod); /* pairs with ring_used */
}

void ring_release(const struct mw_ring *r, uint64_t cons)
{
	mw_store_release(MW_WORD(r->cons), cons); /* pairs with ring_free */
}

void ring_arm(const struct mw_ring *r, uint64_t pos)
{
	mw_store(MW_WORD(r->event), pos);
	mw_fence(); /* pairs with ring_due */
}

bool ring_due(const struct mw_ring *r, uint64_t pos, uint64_t *told)
{
	uint64_t event;

	mw_fence(); /* pairs with ring_arm: our index is out before we look */
	event = mw_load(MW_WORD(r->event));
	if (event == MW_NEVER || event == *told || event >= pos)
		return false;
	*told = event;
	return true;
}
