// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * tele.c - see tele.h.
 * Trust: sizes are taken from the header once, by tele_check.
 */
#include "tele.h"

#define US 1000ull
#define MS (1000 * US)
#define S  (1000 * MS)

const uint64_t tele_bound_ns[MW_BOUNDS] = { 100 * US, 500 * US, 1 * MS, 5 * MS, 10 * MS, 50 * MS, 100 * MS, 500 * MS,
					    1 * S, 2500 * MS, 5 * S, 10 * S, 30 * S, 60 * S, 300 * S, 3600 * S };

uint64_t tele_bytes(uint32_t slots)
{
	if (slots == 0 || slots > MW_SLOTS_MAX || slots % 64)
		return 0;
	return MW_FLOWS_OFFSET + (uint64_t)slots * MW_FLOW_STRIDE;
}

int tele_init(struct mw_tele_view *v, void *base, uint64_t bytes, uint32_t slots)
{
	struct mw_tele *t = base;
	uint64_t need = tele_bytes(slots);

	if (need == 0 || need > bytes)
		return -EINVAL;
	t->version = MW_TELE_VERSION;
	t->slots = slots;
	t->tele_bytes = need;
	mw_store_release(&t->magic, MW_TELE_MAGIC); /* pairs with tele_check */
	return tele_check(v, base, bytes);
}

int tele_check(struct mw_tele_view *v, void *base, uint64_t mapped)
{
	struct mw_tele *t = base;
	struct mw_tele_view n;

	if (mapped < MW_PAGE || mw_load_acquire(&t->magic) != MW_TELE_MAGIC || mw_load(&t->version) != MW_TELE_VERSION)
		return -EPROTO;
	memset(&n, 0, sizeof(n));
	n.base = MW_PEER(base);
	n.slots = mw_load(&t->slots);
	n.bytes = tele_bytes(n.slots);
	if (n.bytes == 0 || n.bytes > mapped)
		return -EPROTO;
	*v = n;
	return 0;
}

int32_t tele_timeo_ms(uint64_t word)
{
	if (!word)
		return MW_OPT_UNSET;
	return word / 1000 < 0x7fffffff ? (int32_t)((word - 1) / 1000) : 0x7fffffff;
}

struct mw_tele __peer *tele_header(const struct mw_tele_view *v)
{
	return (struct mw_tele __peer *)v->base;
}

struct mw_flow __peer *tele_flow(const struct mw_tele_view *v, uint32_t slot)
{
	return (struct mw_flow __peer *)(v->base + MW_FLOWS_OFFSET + (uint64_t)slot * MW_FLOW_STRIDE);
}

struct mw_log_entry __peer *tele_log(const struct mw_tele_view *v, uint64_t n)
{
	return (struct mw_log_entry __peer *)(v->base + MW_LOG_OFFSET + n % MW_LOG_ENTRIES * sizeof(struct mw_log_entry));
}

struct mw_event __peer *tele_event(const struct mw_tele_view *v, uint64_t n)
{
	return (struct mw_event __peer *)(v->base + MW_EVENTS_OFFSET + n % MW_EVENTS * sizeof(struct mw_event));
}
