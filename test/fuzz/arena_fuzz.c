// SPDX-License-Identifier: Apache-2.0
/*
 * arena_fuzz.c - libFuzzer target: a hostile header, then a hostile ready bitmap.
 * Trust: none. Input: how much is mapped (6 bytes), the header's sizes, then bits for the bitmap.
 */
#include <stdlib.h>

#include "chan/arena.h"

#define BITMAP_END (MW_READY_OFFSET + MW_READY_BYTES)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool good)
{
	if (!good)
		abort();
}

static void inside(const struct mw_view *v, const void __peer *p, uint64_t bytes)
{
	uint64_t at = (uint64_t)((mw_uintptr)p - (mw_uintptr)v->base);

	must(at <= v->bytes && bytes <= v->bytes - at);
}

static void places(const struct mw_view *v, uint32_t slot)
{
	struct mw_ring r;

	inside(v, arena_slot(v, slot), sizeof(struct mw_slot));
	arena_rx(v, slot, &r);
	inside(v, r.data, r.bytes);
	inside(v, r.event, 8);
	arena_tx(v, slot, &r);
	inside(v, r.data, r.bytes);
	inside(v, r.prod, 8);
	inside(v, r.cons, 8);
}

/* Each 3 bytes of input are ored in somewhere; what is taken exists, and the taking ends. */
static void bitmap(const struct mw_view *v, uint8_t *base, const uint8_t *data, size_t n)
{
	uint32_t most = v->slots / 64;
	uint64_t bits;
	int32_t first = 0;

	for (; n >= 3; data += 3, n -= 3) {
		size_t at = (size_t)(data[0] << 8 | data[1]) % (MW_READY_BYTES + MW_SLOTS_MAX / 4096 * 8);

		if (at < MW_READY_BYTES)
			base[MW_READY_OFFSET + at] |= data[2];
		else
			base[offsetof(struct mw_arena, ready_top) + at - MW_READY_BYTES] |= data[2];
	}
	ready_mark(v, v->slots - 1);
	for (uint32_t i = 0; first >= 0; i++) {
		must(i <= most && ready_any(v));
		first = ready_take(v, 0, &bits);
		must(first >= -1 && first < (int32_t)v->slots && first % 64 <= 0 && (first < 0 || bits));
		if (first == (int32_t)(v->slots - 64))
			must(bits >> 63 & 1);
		else
			must(first >= 0); /* the honest mark is found before the end */
		if (first == (int32_t)(v->slots - 64))
			break;
	}
	for (uint32_t i = 0; ready_take(v, 0, &bits) >= 0; i++)
		must(i <= most);
	must(!ready_any(v));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *base = aligned_alloc(MW_PAGE, BITMAP_END);
	size_t header = offsetof(struct mw_arena, arena_bytes); /* all that arena_check reads */
	struct mw_view v;
	uint64_t mapped = 0;

	if (!base)
		abort();
	memset(base, 0, BITMAP_END);
	for (int i = 0; i < 6 && n; i++, n--)
		mapped = mapped << 8 | *data++;
	header = header < n ? header : n;
	memcpy(base, data, header);
	/* Two fields that luck would hardly get right. */
	if (header && data[0] % 4 && header >= 16) {
		((struct mw_arena *)base)->magic = MW_MAGIC;
		((struct mw_arena *)base)->version = MW_VERSION;
	}
	if (arena_check(&v, base, mapped) == 0) {
		must(v.bytes <= mapped && v.bytes == arena_bytes(v.slots, v.rx_bytes, v.tx_bytes));
		must(v.slots && v.slots <= MW_SLOTS_MAX && v.slots % 64 == 0);
		places(&v, 0);
		places(&v, v.slots - 1);
		bitmap(&v, base, data + header, n - header);
	}
	free(base);
	return 0;
}
