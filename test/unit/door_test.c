// SPDX-License-Identifier: Apache-2.0
/*
 * door_test.c - the door: header, control records, the up-ready bitmap and who sleeps.
 * Trust: both sides are honest in the first half; then each lies to the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "chan/door.h"

#define SLOTS 8192u

static struct mw_door_view v;

static int make(void **state)
{
	void *p = mmap(NULL, MW_DOOR_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	return p == MAP_FAILED ? -1 : door_init(&v, p, SLOTS);
}

static int drop(void **state)
{
	(void)state;
	return munmap((void *)(mw_uintptr)v.base, MW_DOOR_BYTES);
}

static struct mw_door *plain(void)
{
	return (struct mw_door *)(mw_uintptr)door_header(&v);
}

static void header(void **state)
{
	struct mw_door_view w, before;
	struct mw_door good = *plain();

	(void)state;
	assert_int_equal(door_check(&w, plain(), MW_DOOR_BYTES, SLOTS), 0);
	assert_ptr_equal(w.base, v.base);
	memset(&w, 0x5a, sizeof(w));
	before = w;
	assert_int_equal(door_check(&w, plain(), MW_DOOR_BYTES - 1, SLOTS), -EPROTO);
	assert_int_equal(door_check(&w, plain(), MW_DOOR_BYTES, SLOTS + 64), -EPROTO);
	plain()->version++;
	assert_int_equal(door_check(&w, plain(), MW_DOOR_BYTES, SLOTS), -EPROTO);
	*plain() = good;
	plain()->magic++;
	assert_int_equal(door_check(&w, plain(), MW_DOOR_BYTES, SLOTS), -EPROTO);
	*plain() = good;
	plain()->slots -= 64;
	assert_int_equal(door_check(&w, plain(), MW_DOOR_BYTES, SLOTS), -EPROTO);
	assert_memory_equal(&w, &before, sizeof(w));
	assert_int_equal(door_init(&w, plain(), 63), -EINVAL);
	assert_int_equal(door_init(&w, plain(), 0), -EINVAL);
	assert_int_equal(door_init(&w, plain(), MW_SLOTS_MAX + 64), -EINVAL);
}

/* A record of n bytes, all of them known. */
static void fill(uint8_t *to, uint32_t n, uint32_t seed)
{
	uint16_t head[2] = { (uint16_t)seed, (uint16_t)n };

	for (uint32_t i = 0; i < n; i++)
		to[i] = (uint8_t)(seed * 31 + i);
	memcpy(to, head, sizeof(head));
}

/* Many records of all lengths, some under way at a time, round the ring's end many times. */
static void records(void **state)
{
	static uint8_t sent[MW_DOOR_RING], got[MW_DOOR_RING];
	uint64_t prod = 0, cons = 0;
	uint32_t put = 0, taken = 0;
	struct mw_ring out, in;

	(void)state;
	door_requests(&v, &out);
	in = out;
	while (taken < 20000) {
		uint32_t n = 16 + put * 7919 % 40000, m = 16 + taken * 7919 % 40000;

		fill(sent, n, put);
		if (door_put(&out, &prod, sent, 16, sent + 16, n - 16) == 0) {
			put++;
			continue;
		}
		fill(sent, m, taken);
		assert_int_equal(door_take(&in, &cons, got, 16, sizeof(got)), m);
		assert_memory_equal(got, sent, m);
		assert_true(cons % 8 == 0);
		taken++;
	}
	assert_true(put > taken);
	while (door_take(&in, &cons, got, 16, sizeof(got)) > 0)
		taken++;
	assert_int_equal(taken, put);
	assert_true(prod == cons);
}

static void no_room(void **state)
{
	static uint8_t record[MW_DOOR_RING];
	uint64_t prod = 0, cons = 0;
	struct mw_ring r;

	(void)state;
	door_replies(&v, &r);
	fill(record, 28, 1);
	for (uint32_t i = 0; i < MW_DOOR_RING / 32; i++)
		assert_int_equal(door_put(&r, &prod, record, 28, NULL, 0), 0);
	assert_int_equal(door_put(&r, &prod, record, 28, NULL, 0), -EAGAIN);
	assert_true(prod == MW_DOOR_RING);
	assert_int_equal(door_take(&r, &cons, record, 28, sizeof(record)), 28);
	assert_int_equal(door_put(&r, &prod, record, 28, NULL, 0), 0);
	plain()->rep_cons = prod + 1; /* more than there is */
	assert_int_equal(door_put(&r, &prod, record, 28, NULL, 0), -EPROTO);
	plain()->rep_cons = prod - MW_DOOR_RING - 1;
	assert_int_equal(door_put(&r, &prod, record, 28, NULL, 0), -EPROTO);
}

/* What the other side may publish: every length and every index. Nothing is taken of what does not check. */
static void lies(void **state)
{
	static uint8_t to[100];
	uint64_t cons = 0;
	struct mw_ring r;

	(void)state;
	door_requests(&v, &r);
	for (uint32_t n = 0; n < 65536; n++) {
		uint32_t most = n < 4096 ? 200 : 8;

		for (uint32_t used = 0; used <= most; used += 4) {
			uint16_t head[2] = { 3, (uint16_t)n };
			bool good = n >= 16 && n <= sizeof(to) && ((n + 7) & ~7u) <= used;

			ring_write(&r, 0, head, sizeof(head));
			plain()->req_prod = used;
			cons = 0;
			assert_int_equal(door_take(&r, &cons, to, 16, sizeof(to)), used == 0 ? 0 : good ? (int32_t)n : -EPROTO);
			assert_int_equal(cons, good ? (n + 7) & ~7u : 0);
		}
	}
	cons = 4096;
	for (int bit = 0; bit < 64; bit++) {
		plain()->req_prod = cons + (1ull << bit);
		if (1ull << bit > MW_DOOR_RING)
			assert_int_equal(door_take(&r, &cons, to, 16, sizeof(to)), -EPROTO);
		plain()->req_prod = cons - (1ull << bit);
		assert_int_equal(door_take(&r, &cons, to, 16, sizeof(to)), -EPROTO);
	}
	assert_int_equal(cons, 4096);
}

static void readiness(void **state)
{
	uint32_t seen = 0;
	uint64_t bits;
	int32_t first;

	(void)state;
	for (uint32_t i = 0; i < SLOTS; i += 37)
		assert_false(door_mark(&v, i));
	for (uint32_t from = 0; (first = door_take_ready(&v, from, &bits)) >= 0; from = (uint32_t)first + 64)
		for (; bits; bits &= bits - 1, seen++)
			assert_int_equal(((uint32_t)first + (uint32_t)__builtin_ctzll(bits)) % 37, 0);
	assert_int_equal(seen, (SLOTS + 36) / 37);
	plain()->up_top[SLOTS / 4096] = ~0ull; /* of slots that are not there */
	memset((uint8_t *)plain() + MW_DOOR_UP_OFFSET, 0xff, MW_SLOTS_MAX / 8);
	assert_int_equal(door_take_ready(&v, 0, &bits), -1);
}

static void sleep_and_wake(void **state)
{
	uint64_t bits;

	(void)state;
	assert_true(door_sleep(&v, 0));
	assert_true(door_mark(&v, 5)); /* once for each sleep */
	assert_false(door_mark(&v, 6));
	assert_false(door_wake(&v));
	assert_false(door_sleep(&v, 0)); /* there is news */
	assert_int_equal(plain()->app_sleeping, 0);
	assert_int_equal(door_take_ready(&v, 0, &bits), 0);
	assert_true(bits == 0x60);
	assert_true(door_sleep(&v, 0));
	plain()->rep_prod = 32;
	assert_true(door_wake(&v));
	assert_false(door_sleep(&v, 0));
	assert_true(door_sleep(&v, 32));
	plain()->app_sleeping = 0xffffffffu; /* not ours to believe: any word but 0 is a sleeper */
	assert_true(door_wake(&v));
	assert_false(door_wake(&v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(header, make, drop),
		cmocka_unit_test_setup_teardown(records, make, drop),
		cmocka_unit_test_setup_teardown(no_room, make, drop),
		cmocka_unit_test_setup_teardown(lies, make, drop),
		cmocka_unit_test_setup_teardown(readiness, make, drop),
		cmocka_unit_test_setup_teardown(sleep_and_wake, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
