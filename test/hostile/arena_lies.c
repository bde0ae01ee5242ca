// SPDX-License-Identifier: Apache-2.0
/*
 * arena_lies.c - the ready bitmap under a hostile app, the header under a hostile ins: `arena_lies [seed [steps]]`.
 * Trust: bitmap, header and `sleeping` hold arbitrary values, changed between the steps and during them. Only the
 * pages that may be looked at are mapped; a look elsewhere is a fault, which ends the test.
 */
#include <pthread.h>
#include <sched.h>

#include "chan/arena.h"
#include "pen.h"

#define BITMAP_END (MW_READY_OFFSET + MW_READY_BYTES)

struct fight {
	uint8_t *base;         /* header and bitmap, then an unreadable page */
	struct mw_view view;
	uint64_t seed, operations, refusals, slots_taken;
	pthread_t thread;
	void (*lie)(struct fight *f, uint64_t *seed);
	uint64_t enemy_seed;
	uint32_t stop;
	uint64_t lies;
};

static struct mw_arena *header(struct fight *f)
{
	return (struct mw_arena *)f->base;
}

/* --- the ready bitmap --- */

static void lie_bitmap(struct fight *f, uint64_t *seed)
{
	uint64_t r = pen_random(seed), bits = r % 3 ? 1ULL << r / 8 % 64 : r % 5 ? pen_random(seed) : ~0ULL;
	uint64_t *words = (uint64_t *)(f->base + MW_READY_OFFSET);
	uint32_t word = (uint32_t)(r >> 32) % (MW_SLOTS_MAX / 64);

	if (r % 4 == 0)
		word %= f->view.slots / 64;
	switch (r / 16 % 4) {
	case 0: mw_store(&words[word], bits); break;
	case 1:
		__atomic_fetch_or(&words[word], bits, __ATOMIC_RELAXED);
		__attribute__((fallthrough));
	case 2: __atomic_fetch_or(&header(f)->ready_top[word / 64], bits, __ATOMIC_RELAXED); break;
	default: mw_store(&header(f)->ready_top[r / 64 % (MW_SLOTS_MAX / 4096)], bits); break;
	}
	if (r % 8 == 1)
		mw_store(&header(f)->sleeping, (uint32_t)pen_random(seed));
	if (r % 16 == 2) /* sizes in the header change too; nobody looks again */
		mw_store(&header(f)->slots, (uint32_t)pen_random(seed));
}

static void check_taken(struct fight *f, int32_t first, uint64_t bits)
{
	must(first >= -1 && first < (int32_t)f->view.slots, "slot exists");
	must(first == -1 || (first % 64 == 0 && bits), "first slot of a word with bits");
	f->operations++;
	f->slots_taken += first >= 0;
}

/* With the enemy still: a bounded number of takes empties it, and then an honest mark is found. */
static void drain_still(struct fight *f)
{
	uint32_t most = f->view.slots / 64 + 1, slot = (uint32_t)(pen_random(&f->seed) % f->view.slots);
	uint64_t bits = 0;
	int32_t first = 0;

	for (uint32_t i = 0; i < most && first >= 0; i++) {
		first = ready_take(&f->view, 0, &bits);
		check_taken(f, first, bits);
	}
	must(first == -1, "takes are bounded");
	must(!ready_any(&f->view), "nothing is left");
	mw_store(&header(f)->sleeping, 1);
	must(ready_mark(&f->view, slot), "a kick after lies");
	must(!ready_mark(&f->view, slot), "one kick after lies");
	must(ready_any(&f->view), "a mark after lies shows");
	first = ready_take(&f->view, 0, &bits);
	must(first == (int32_t)(slot & ~63u) && (bits >> slot % 64 & 1), "a mark after lies is found");
	f->operations += 4;
}

static void turn_bitmap(struct fight *f)
{
	uint64_t bits = 0, r = pen_random(&f->seed);
	int32_t first;

	if (r % 4 == 0)
		ready_mark(&f->view, (uint32_t)(r / 8 % f->view.slots));
	if (r % 4 == 1)
		(void)ready_any(&f->view);
	first = ready_take(&f->view, 0, &bits);
	check_taken(f, first, bits);
	f->operations++;
}

/* --- the header --- */

static uint32_t size_lie(uint64_t *seed, uint32_t good)
{
	uint64_t r = pen_random(seed);

	switch (r % 8) {
	case 0: return (uint32_t)pen_random(seed);
	case 1: return 1u << r / 8 % 32;
	case 2: return (1u << r / 8 % 32) - 64 * (uint32_t)(r / 256 % 3);
	case 3: return good + (uint32_t)(r / 8 % 3) - 1;
	case 4: return (uint32_t)(r / 8 % 1100) * 64;
	case 5: return ~0u - (uint32_t)(r / 8 % 65);
	default: return good;
	}
}

static void lie_header(struct fight *f, uint64_t *seed)
{
	struct mw_arena *a = header(f);
	uint64_t r = pen_random(seed);

	mw_store(&a->magic, r % 16 ? MW_MAGIC : pen_random(seed));
	mw_store(&a->version, r / 16 % 16 ? MW_VERSION : (uint32_t)pen_random(seed));
	mw_store(&a->slots, size_lie(seed, 128));
	mw_store(&a->rx_bytes, size_lie(seed, 65536));
	mw_store(&a->tx_bytes, size_lie(seed, 4096));
	mw_store(&a->arena_bytes, pen_random(seed));
}

static void inside(const struct mw_view *v, const void __peer *p, uint64_t bytes, const char *what)
{
	uint64_t at = (uint64_t)((mw_uintptr)p - (mw_uintptr)v->base);

	must(at <= v->bytes && bytes <= v->bytes - at, what);
}

static void turn_header(struct fight *f)
{
	const uint64_t mapped[] = { 0, MW_PAGE - 1, MW_PAGE, 1 << 20, 10 << 20, 12 << 20, 1ULL << 30, 1ULL << 42, ~0ULL };
	uint64_t n = mapped[pen_random(&f->seed) % (sizeof(mapped) / sizeof(mapped[0]))];
	struct mw_view v = { .slots = 0xdeadbeef };
	struct mw_ring r;
	int answer = arena_check(&v, f->base, n);

	f->operations++;
	must(answer == 0 || answer == -EPROTO, "answer is 0 or -EPROTO");
	if (answer) {
		must(v.slots == 0xdeadbeef && !v.base, "output written only on success");
		f->refusals++;
		return;
	}
	must(v.bytes <= n && v.bytes == arena_bytes(v.slots, v.rx_bytes, v.tx_bytes), "sizes fit what is mapped");
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t slot = i == 0 ? 0 : i == 1 ? v.slots - 1 : (uint32_t)(pen_random(&f->seed) % v.slots);

		inside(&v, arena_slot(&v, slot), sizeof(struct mw_slot), "slot inside");
		arena_rx(&v, slot, &r);
		inside(&v, r.data, r.bytes, "rx ring inside");
		arena_tx(&v, slot, &r);
		inside(&v, r.data, r.bytes, "tx ring inside");
		f->operations += 3;
	}
	f->slots_taken++;
}

/* --- both --- */

static void *enemy_thread(void *arg)
{
	struct fight *f = arg;
	uint64_t seed = f->enemy_seed;

	while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE)) {
		f->lie(f, &seed);
		mw_store(&f->lies, f->lies + 1);
	}
	return NULL;
}

static void fight(struct fight *f, void (*lie)(struct fight *, uint64_t *), void (*turn)(struct fight *), uint64_t steps)
{
	uint64_t lies = f->lies;

	f->lie = lie;
	for (uint64_t i = 0; i < steps; i++) {
		lie(f, &f->seed);
		turn(f);
		if (turn == turn_bitmap && i % 64 == 0)
			drain_still(f);
	}
	f->stop = 0;
	f->enemy_seed = pen_random(&f->seed);
	must(pthread_create(&f->thread, NULL, enemy_thread, f) == 0, "pthread_create");
	while (mw_load(&f->lies) == lies)
		sched_yield();
	for (uint64_t i = 0; i < steps; i++)
		turn(f);
	__atomic_store_n(&f->stop, 1, __ATOMIC_RELEASE);
	pthread_join(f->thread, NULL);
	if (turn == turn_bitmap)
		drain_still(f);
}

static uint8_t *guarded(uint64_t bytes)
{
	uint8_t *p = mmap(NULL, bytes + 2 * MW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED && mprotect(p + MW_PAGE, bytes, PROT_READ | PROT_WRITE) == 0, "mmap");
	return p + MW_PAGE;
}

int main(int argc, char **argv)
{
	struct fight f = { .seed = pen_seed(argc, argv, 1) };
	uint64_t steps = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000000;
	const uint32_t slots[] = { 64, 128, 4096 + 64, MW_SLOTS_MAX };

	printf("bitmap and header lie, seed %#llx\n", (unsigned long long)f.seed);
	fflush(stdout);
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		f.base = guarded(BITMAP_END);
		f.view = (struct mw_view){ .base = MW_PEER(f.base), .bytes = arena_bytes(slots[i], 4096, 4096),
			.slots = slots[i], .rx_bytes = 4096, .tx_bytes = 4096 };
		fight(&f, lie_bitmap, turn_bitmap, steps);
	}
	f.base = guarded(MW_PAGE);
	fight(&f, lie_header, turn_header, steps);
	must(f.refusals > 0 && f.slots_taken > 0, "both lies and honest values were met");
	printf("%llu arena operations, %llu headers refused, %llu lies told at once: held\n",
		(unsigned long long)f.operations, (unsigned long long)f.refusals, (unsigned long long)f.lies);
	return 0;
}
