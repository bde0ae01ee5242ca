// SPDX-License-Identifier: Apache-2.0
/*
 * peers.c - see peers.h: open addressing, at most half full, so that every probe ends.
 * Trust: as in the header.
 */
#include "ins/peers.h"

static uint32_t size_for(uint32_t most)
{
	uint32_t size = 2;

	while (size < 2 * (uint64_t)most)
		size *= 2;
	return size;
}

size_t peers_bytes(uint32_t most)
{
	return size_for(most) * sizeof(struct peers_entry);
}

void peers_init(struct peers *t, void *memory, uint32_t most, uint64_t seed)
{
	memset(t, 0, sizeof(*t));
	t->size = size_for(most);
	t->most = most;
	t->seed = seed;
	t->at = memory;
}

void peers_clear(struct peers *t)
{
	peers_init(t, memset(t->at, 0, t->size * sizeof(*t->at)), t->most, t->seed);
}

void peers_recover(struct peers *t, void *spare)
{
	struct peers_entry *all = spare;
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->size; i++)
		if (t->at[i].p.used)
			all[n++] = t->at[i];
	peers_clear(t);
	for (uint32_t i = 0; i < n; i++) {
		struct peers_value *v;

		all[i].p.used = 0;
		v = peers_add(t, &all[i].p);
		if (v)
			*v = all[i].v;
	}
}

static bool is_mapped(const uint8_t addr[16])
{
	return !memcmp(addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
}

static void cut(uint8_t addr[16], uint32_t bits)
{
	for (uint32_t i = 0; i < 16; i++, bits = bits > 8 ? bits - 8 : 0)
		addr[i] &= bits >= 8 ? 0xff : (uint8_t)(0xff00u >> bits);
}

int peers_prefix_of(struct peers_prefix *p, const struct mw_addr *a, uint32_t bits)
{
	bool six = a->family == MW_FAMILY_IP6;

	if ((!six && a->family != MW_FAMILY_IP4) || bits > (six ? 128 : 32))
		return -EINVAL;
	memset(p, 0, sizeof(*p));
	memcpy(p->addr, a->addr, six ? 16 : 4);
	if (six && bits >= 96 && is_mapped(p->addr)) {
		memcpy(p->addr, a->addr + 12, 4);
		memset(p->addr + 4, 0, 12);
		six = false;
		bits -= 96;
	}
	p->six = six;
	p->bits = (uint8_t)bits;
	cut(p->addr, bits);
	return 0;
}

void peers_cut(struct peers_prefix *p, uint32_t bits)
{
	if (bits >= p->bits)
		return;
	p->bits = (uint8_t)bits;
	cut(p->addr, bits);
}

bool peers_covers(const struct peers_prefix *p, const struct mw_addr *a)
{
	struct peers_prefix q;

	if (peers_prefix_of(&q, a, a->family == MW_FAMILY_IP6 ? 128 : 32) < 0 || q.six != p->six)
		return false;
	cut(q.addr, p->bits);
	return !memcmp(q.addr, p->addr, sizeof(q.addr));
}

bool peers_same(const struct peers_prefix *p, const struct peers_prefix *q)
{
	return p->bits == q->bits && p->six == q->six && p->tag == q->tag && !memcmp(p->addr, q->addr, sizeof(p->addr));
}

static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
	h = (h ^ h >> 27) * 0x94d049bb133111ebull;
	return h ^ h >> 31;
}

static uint32_t home(const struct peers *t, const struct peers_prefix *p)
{
	uint64_t w[2];

	memcpy(w, p->addr, sizeof(w));
	return (uint32_t)mix(mix(mix(t->seed ^ w[0]) ^ w[1]) ^ (uint64_t)p->tag << 16 ^ (uint64_t)p->six << 8 ^ p->bits) & (t->size - 1);
}

/* Where it is, or the empty place where it belongs. */
static struct peers_entry *place(const struct peers *t, const struct peers_prefix *p)
{
	uint32_t i = home(t, p);

	while (t->at[i].p.used && !peers_same(&t->at[i].p, p))
		i = (i + 1) & (t->size - 1);
	return &t->at[i];
}

struct peers_value *peers_find(struct peers *t, const struct peers_prefix *p)
{
	struct peers_entry *e = place(t, p);

	return e->p.used ? &e->v : NULL;
}

/* None while it is half written: whoever is interrupted here leaves no prefix that nobody named. */
static void write_entry(struct peers_entry *e, const struct peers_prefix *p)
{
	struct peers_prefix new = *p;

	mw_store(&e->p.used, 0u);
	mw_order();
	new.used = 0;
	e->p = new;
	mw_order();
	mw_store(&e->p.used, 1u);
}

struct peers_value *peers_add(struct peers *t, const struct peers_prefix *p)
{
	struct peers_entry *e = place(t, p);

	if (e->p.used)
		return &e->v;
	if (t->used == t->most)
		return NULL;
	t->used++;
	if (!t->of_length[p->six][p->bits]++)
		t->lengths[p->six][p->bits / 64] |= 1ull << p->bits % 64;
	e->v = (struct peers_value){ 0 };
	write_entry(e, p);
	return &e->v;
}

/* What follows moves up, so that no probe meets a gap before it. */
static void close_gap(struct peers *t, uint32_t gap)
{
	uint32_t mask = t->size - 1;

	for (uint32_t i = (gap + 1) & mask; t->at[i].p.used; i = (i + 1) & mask) {
		if (((i - home(t, &t->at[i].p)) & mask) < ((i - gap) & mask))
			continue; /* it belongs behind the gap */
		t->at[gap].v = t->at[i].v;
		write_entry(&t->at[gap], &t->at[i].p);
		gap = i;
	}
	t->at[gap].p.used = 0;
}

void peers_remove(struct peers *t, const struct peers_prefix *p)
{
	struct peers_entry *e = place(t, p);

	if (!e->p.used)
		return;
	t->used--;
	if (!--t->of_length[p->six][p->bits])
		t->lengths[p->six][p->bits / 64] &= ~(1ull << p->bits % 64);
	close_gap(t, (uint32_t)(e - t->at));
}

struct peers_value *peers_match(struct peers *t, const struct mw_addr *a)
{
	struct peers_prefix p;

	if (!t->used || peers_prefix_of(&p, a, a->family == MW_FAMILY_IP6 ? 128 : 32) < 0)
		return NULL;
	for (int word = 2; word >= 0; word--) {
		for (uint64_t left = t->lengths[p.six][word]; left;) {
			uint32_t bit = 63 - (uint32_t)__builtin_clzll(left);
			struct peers_value *v;

			left &= ~(1ull << bit);
			peers_cut(&p, (uint32_t)word * 64 + bit);
			v = peers_find(t, &p);
			if (v)
				return v;
		}
	}
	return NULL;
}
