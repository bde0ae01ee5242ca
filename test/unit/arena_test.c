// SPDX-License-Identifier: Apache-2.0
/*
 * arena_test.c - sizes, places, header check and ready bitmap of an arena.
 * Trust: both sides are honest here; test/hostile has the liars.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "chan/arena.h"

static void *map(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static void make(struct mw_view *v, uint32_t slots, uint32_t rx_bytes, uint32_t tx_bytes)
{
	uint64_t bytes = arena_bytes(slots, rx_bytes, tx_bytes);

	assert_true(bytes > 0);
	assert_int_equal(arena_init(v, map(bytes), bytes, slots, rx_bytes, tx_bytes), 0);
}

static void drop(struct mw_view *v)
{
	munmap((void *)(mw_uintptr)v->base, v->bytes);
}

static uint64_t at(const struct mw_view *v, const void __peer *p)
{
	return (uint64_t)((mw_uintptr)p - (mw_uintptr)v->base);
}

static struct mw_arena *plain_header(const struct mw_view *v)
{
	return (struct mw_arena *)(mw_uintptr)v->base;
}

static void sizes(void **state)
{
	const uint32_t bad_slots[] = { 0, 1, 63, 65, MW_SLOTS_MAX + 64, 0xffffffc0u, 0x80000000u };
	const uint32_t bad_rings[] = { 0, 1, 2048, 4095, 4097, 12288, MW_RING_BYTES_MAX * 2, 0x80000000u, 0xffffffffu };

	(void)state;
	for (size_t i = 0; i < sizeof(bad_slots) / sizeof(bad_slots[0]); i++)
		assert_true(arena_bytes(bad_slots[i], 4096, 4096) == 0);
	for (size_t i = 0; i < sizeof(bad_rings) / sizeof(bad_rings[0]); i++) {
		assert_true(arena_bytes(64, bad_rings[i], 4096) == 0);
		assert_true(arena_bytes(64, 4096, bad_rings[i]) == 0);
	}
	assert_true(arena_bytes(64, 4096, 8192) == MW_SLOT_OFFSET + 64 * 384 + 64 * 12288);
	assert_true(arena_bytes(MW_SLOTS_MAX, MW_RING_BYTES_MAX, MW_RING_BYTES_MAX) ==
		MW_SLOT_OFFSET + 65536ULL * 384 + (65536ULL << 25));
}

/* Slots and rings lie one behind the other, each ring on a page, none overlapping, the last one ending the arena. */
static void places(void **state)
{
	struct mw_view v;
	struct mw_ring rx, tx;
	uint64_t next;

	(void)state;
	make(&v, 192, 8192, 4096);
	assert_true(at(&v, arena_header(&v)) == 0);
	assert_true(at(&v, arena_slot(&v, 0)) == MW_SLOT_OFFSET);
	next = MW_SLOT_OFFSET + 192 * sizeof(struct mw_slot);
	for (uint32_t slot = 0; slot < v.slots; slot++) {
		uint64_t here = at(&v, arena_slot(&v, slot));

		assert_true(here == MW_SLOT_OFFSET + slot * 384ULL);
		arena_rx(&v, slot, &rx);
		arena_tx(&v, slot, &tx);
		assert_true(at(&v, rx.data) == next && at(&v, tx.data) == next + 8192);
		assert_true(at(&v, rx.data) % MW_PAGE == 0 && at(&v, tx.data) % MW_PAGE == 0);
		assert_true(rx.bytes == 8192 && tx.bytes == 4096);
		next += 8192 + 4096;
		here += offsetof(struct mw_slot, ins);
		assert_true(at(&v, rx.prod) == here + offsetof(struct mw_slot_ins, rx_prod));
		assert_true(at(&v, tx.cons) == here + offsetof(struct mw_slot_ins, tx_cons));
		here += sizeof(struct mw_slot_ins);
		assert_true(at(&v, rx.cons) == here + offsetof(struct mw_slot_app, rx_cons));
		assert_true(at(&v, rx.event) == here + offsetof(struct mw_slot_app, rx_event));
		assert_true(at(&v, tx.prod) == here + offsetof(struct mw_slot_app, tx_prod));
		assert_true(at(&v, tx.event) == here + offsetof(struct mw_slot_app, tx_event));
	}
	assert_true(next == v.bytes);
	drop(&v);
}

/* What a slot has of its rings is private, and slot by slot; where they begin stays. */
static void sizes_by_slot(void **state)
{
	struct mw_ring_sizes own[64] = { [3] = { 4096, 8192 }, [4] = { 0, 0 } };
	struct mw_ring rx, tx;
	struct mw_view v;

	(void)state;
	make(&v, 64, 65536, 131072);
	v.sizes = own;
	arena_rx(&v, 3, &rx);
	arena_tx(&v, 3, &tx);
	assert_true(rx.bytes == 4096 && tx.bytes == 8192 && tx.data - rx.data == 65536);
	arena_rx(&v, 4, &rx);
	assert_true(rx.bytes == 0);
	drop(&v);
}

static void init_refuses(void **state)
{
	uint64_t bytes = arena_bytes(64, 4096, 4096);
	void *p = map(bytes);
	struct mw_view v;

	(void)state;
	assert_int_equal(arena_init(&v, p, bytes - 1, 64, 4096, 4096), -EINVAL);
	assert_int_equal(arena_init(&v, p, bytes, 63, 4096, 4096), -EINVAL);
	assert_int_equal(arena_init(&v, p, bytes, 64, 5000, 4096), -EINVAL);
	assert_int_equal(arena_init(&v, p, bytes, 64, 4096, 0), -EINVAL);
	assert_true(((struct mw_arena *)p)->magic == 0);
	munmap(p, bytes);
}

static void check_refuses(void **state)
{
	struct mw_view v, w, before;
	struct mw_arena *a, good;

	(void)state;
	make(&v, 64, 4096, 4096);
	a = plain_header(&v);
	good = *a;
	memset(&w, 0x5a, sizeof(w));
	before = w;
#define REFUSED(change, mapped) do { \
		change; \
		assert_int_equal(arena_check(&w, a, mapped), -EPROTO); \
		assert_memory_equal(&w, &before, sizeof(w)); \
		*a = good; \
	} while (0)
	REFUSED((void)0, v.bytes - 1);
	REFUSED((void)0, MW_PAGE - 1);
	REFUSED((void)0, 0);
	REFUSED(a->magic++, v.bytes);
	REFUSED(a->version++, v.bytes);
	REFUSED(a->slots = 128, v.bytes);
	REFUSED(a->slots = 0, v.bytes);
	REFUSED(a->slots = 65, v.bytes);
	REFUSED(a->slots = 0xffffffc0u, v.bytes);
	REFUSED(a->rx_bytes = 8192, v.bytes);
	REFUSED(a->rx_bytes = 0, v.bytes);
	REFUSED(a->tx_bytes = 0x80000000u, v.bytes);
	REFUSED(a->tx_bytes = 4095, v.bytes);
#undef REFUSED
	assert_int_equal(arena_check(&w, a, v.bytes + 12345), 0);
	assert_memory_equal(&w, &v, sizeof(w));
	drop(&v);
}

static void ready_single(void **state)
{
	const uint32_t slots[] = { 0, 63, 64, 4095, 4096, 65535 };
	struct mw_view v;
	uint64_t bits;

	(void)state;
	make(&v, MW_SLOTS_MAX, 4096, 4096);
	assert_false(ready_any(&v));
	assert_int_equal(ready_take(&v, 0, &bits), -1);
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		assert_false(ready_mark(&v, slots[i])); /* ins does not sleep */
		assert_false(ready_mark(&v, slots[i]));
		assert_true(ready_any(&v));
		assert_int_equal(ready_take(&v, 0, &bits), (int)(slots[i] & ~63u));
		assert_true(bits == 1ULL << slots[i] % 64);
		assert_int_equal(ready_take(&v, 0, &bits), -1);
		assert_false(ready_any(&v));
	}
	ready_mark(&v, 5000);
	ready_mark(&v, 130);
	ready_mark(&v, 129);
	assert_int_equal(ready_take(&v, 0, &bits), 128);
	assert_true(bits == 6);
	assert_int_equal(ready_take(&v, 0, &bits), 4992);
	assert_true(bits == 1ULL << 8);
	assert_int_equal(ready_take(&v, 0, &bits), -1);
	drop(&v);
}

static void ready_kicks_once(void **state)
{
	struct mw_view v;
	uint64_t bits;

	(void)state;
	make(&v, 64, 4096, 4096);
	plain_header(&v)->sleeping = 1;
	assert_true(ready_mark(&v, 3));
	assert_int_equal(plain_header(&v)->sleeping, 0);
	assert_false(ready_mark(&v, 4));
	assert_int_equal(ready_take(&v, 0, &bits), 0);
	assert_true(bits == 0x18);
	drop(&v);
}

/* A wild marker: bits of slots that the arena does not have are dropped, and do not keep ready_any true. */
static void ready_drops_unknown(void **state)
{
	struct mw_view v;
	uint64_t bits, *words;

	(void)state;
	make(&v, 128, 4096, 4096);
	words = (uint64_t *)((uint8_t *)plain_header(&v) + MW_READY_OFFSET);
	for (uint32_t i = 0; i < MW_SLOTS_MAX / 64; i++)
		words[i] = i == 1 ? 0x10 : ~0ULL;
	for (uint32_t i = 0; i < MW_SLOTS_MAX / 4096; i++)
		plain_header(&v)->ready_top[i] = ~0ULL << 1;
	assert_true(ready_any(&v));
	assert_int_equal(ready_take(&v, 0, &bits), 64);
	assert_true(bits == 0x10);
	assert_int_equal(ready_take(&v, 0, &bits), -1);
	assert_false(ready_any(&v));
	drop(&v);
}

/* One slot that is always ready again does not keep the others waiting, nor the pass from ending. */
static void ready_pass_ends(void **state)
{
	const uint32_t others[] = { 5, 70, 4096, 8191 };
	struct mw_view v;
	uint64_t bits;
	int32_t first;
	uint32_t takes = 0;

	(void)state;
	make(&v, 8192, 4096, 4096);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		ready_mark(&v, others[i]);
	for (uint32_t from = 0; (first = ready_take(&v, from, &bits)) >= 0; from = (uint32_t)first + 64) {
		assert_int_equal(first, others[takes] & ~63u);
		ready_mark(&v, 5);
		ready_mark(&v, others[takes++]);
	}
	assert_int_equal(takes, 4);
	assert_int_equal(ready_take(&v, 64, &bits), 64); /* what was marked behind the pass is still there */
	assert_int_equal(ready_take(&v, 0, &bits), 0);
	drop(&v);
}

/* Markers in threads, one taker that sleeps as ins does: every mark is followed by a take that sees it. */
#define MARKERS 3
#define MARKS   100000u
#define SLOTS   8192u

struct crowd {
	struct mw_view v;
	sem_t kick;
	uint32_t posted[SLOTS]; /* marks announced, atomically added before ready_mark */
	uint32_t seen[SLOTS];   /* what the taker saw of it after its take */
	uint32_t done, kicks;
};

struct marker {
	struct crowd *crowd;
	uint32_t seed;
};

static void *mark_many(void *arg)
{
	struct marker *k = arg;
	struct crowd *c = k->crowd;

	for (uint32_t i = 0; i < MARKS; i++) {
		uint32_t slot;

		k->seed = k->seed * 1664525u + 1013904223u;
		slot = (k->seed >> 8) % (i % 3 ? SLOTS : 70);
		__atomic_fetch_add(&c->posted[slot], 1, __ATOMIC_RELEASE);
		if (ready_mark(&c->v, slot)) {
			__atomic_fetch_add(&c->kicks, 1, __ATOMIC_RELAXED);
			sem_post(&c->kick);
		}
	}
	if (__atomic_add_fetch(&c->done, 1, __ATOMIC_SEQ_CST) == MARKERS)
		sem_post(&c->kick);
	return NULL;
}

static uint32_t take_all(struct crowd *c)
{
	uint32_t takes = 0;
	uint64_t bits;
	int32_t first;

	while ((first = ready_take(&c->v, 0, &bits)) >= 0) {
		if (!bits || (uint32_t)first >= SLOTS || first % 64)
			abort();
		for (; bits; bits &= bits - 1) {
			uint32_t slot = (uint32_t)first + (uint32_t)__builtin_ctzll(bits);

			c->seen[slot] = __atomic_load_n(&c->posted[slot], __ATOMIC_ACQUIRE);
			takes++;
		}
	}
	return takes;
}

static uint32_t take_until_done(struct crowd *c)
{
	uint32_t *sleeping = &plain_header(&c->v)->sleeping, takes = 0;

	while (__atomic_load_n(&c->done, __ATOMIC_SEQ_CST) < MARKERS) {
		takes += take_all(c);
		mw_store(sleeping, 1);
		mw_fence();
		if (ready_any(&c->v))
			mw_store(sleeping, 0);
		else if (__atomic_load_n(&c->done, __ATOMIC_SEQ_CST) < MARKERS)
			sem_wait(&c->kick);
	}
	return takes + take_all(c);
}

static void ready_threads(void **state)
{
	static struct crowd c;
	struct marker k[MARKERS];
	pthread_t thread[MARKERS];
	uint32_t takes;

	(void)state;
	make(&c.v, SLOTS, 4096, 4096);
	sem_init(&c.kick, 0, 0);
	alarm(120); /* a lost kick ends the test */
	for (uint32_t i = 0; i < MARKERS; i++) {
		k[i] = (struct marker){ &c, i + 1 };
		pthread_create(&thread[i], NULL, mark_many, &k[i]);
	}
	takes = take_until_done(&c);
	for (uint32_t i = 0; i < MARKERS; i++)
		pthread_join(thread[i], NULL);
	alarm(0);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		assert_int_equal(c.seen[slot], c.posted[slot]);
	assert_true(takes <= MARKERS * MARKS);
	print_message("%u marks, %u takes, %u kicks\n", MARKERS * MARKS, takes, c.kicks);
	drop(&c.v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(places),
		cmocka_unit_test(sizes_by_slot),
		cmocka_unit_test(init_refuses),
		cmocka_unit_test(check_refuses),
		cmocka_unit_test(ready_single),
		cmocka_unit_test(ready_kicks_once),
		cmocka_unit_test(ready_drops_unknown),
		cmocka_unit_test(ready_pass_ends),
		cmocka_unit_test(ready_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
