// SPDX-License-Identifier: Apache-2.0
/*
 * ring_test.c - the byte ring between two honest sides: wrap, full, empty, order, event indexes.
 * Trust: both sides are honest here; test/hostile has the liars.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "chan/ring.h"

#define SMALL 64u

struct words {
	_Alignas(64) uint64_t prod;
	_Alignas(64) uint64_t cons;
	_Alignas(64) uint64_t event;
	_Alignas(64) uint64_t space_event;
	_Alignas(64) uint8_t data[4096];
};

static struct mw_ring ring_over(struct words *w, uint64_t *event, uint32_t bytes)
{
	struct mw_ring r = {
		.data = MW_PEER(w->data), .prod = &w->prod, .cons = &w->cons, .event = event, .bytes = bytes
	};

	return r;
}

static void empty_and_full(void **state)
{
	static struct words w;
	struct mw_ring r = ring_over(&w, &w.event, SMALL);
	const uint64_t starts[] = { 0, 1, SMALL - 1, SMALL, 0xffffffffULL, 1ULL << 32, ~0ULL - 3 };
	uint32_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		w.prod = w.cons = starts[i];
		assert_int_equal(ring_used(&r, starts[i], &n), 0);
		assert_int_equal(n, 0);
		assert_int_equal(ring_free(&r, starts[i], &n), 0);
		assert_int_equal(n, SMALL);
		ring_publish(&r, starts[i] + SMALL);
		assert_true(w.prod == starts[i] + SMALL);
		assert_int_equal(ring_used(&r, starts[i], &n), 0);
		assert_int_equal(n, SMALL);
		assert_int_equal(ring_free(&r, starts[i] + SMALL, &n), 0);
		assert_int_equal(n, 0);
		ring_release(&r, starts[i] + 5);
		assert_true(w.cons == starts[i] + 5);
		assert_int_equal(ring_free(&r, starts[i] + SMALL, &n), 0);
		assert_int_equal(n, 5);
	}
}

static void impossible_index(void **state)
{
	static struct words w;
	struct mw_ring r = ring_over(&w, &w.event, SMALL);
	const uint64_t wrong[] = { SMALL + 1, ~0ULL, 1ULL << 32, 1ULL << 63, (1ULL << 32) + 3, ~0ULL - SMALL };
	uint32_t n = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		w.prod = 1000 + wrong[i];
		assert_int_equal(ring_used(&r, 1000, &n), -EPROTO);
		w.cons = 1000 - wrong[i];
		assert_int_equal(ring_free(&r, 1000, &n), -EPROTO);
		assert_int_equal(n, 77);
	}
}

/* Every position and length of a small ring: the right bytes move, and no others. */
static void every_wrap(void **state)
{
	static struct words w;
	struct mw_ring r = ring_over(&w, &w.event, SMALL);
	uint8_t from[SMALL], to[SMALL + 1];
	struct mw_span span[2];

	(void)state;
	for (uint32_t i = 0; i < SMALL; i++)
		from[i] = (uint8_t)(i + 1);
	for (uint64_t pos = 7 * SMALL; pos < 8 * SMALL; pos++) {
		for (uint32_t n = 0; n <= SMALL; n++) {
			uint32_t tail = SMALL - (uint32_t)(pos % SMALL);
			int spans = ring_spans(&r, pos, n, span);

			assert_int_equal(spans, n == 0 ? 0 : n <= tail ? 1 : 2);
			memset(w.data, 0xee, sizeof(w.data));
			memset(to, 0xdd, sizeof(to));
			ring_write(&r, pos, from, n);
			for (uint32_t i = 0; i < SMALL; i++)
				assert_int_equal(w.data[(pos + i) % SMALL], i < n ? from[i] : 0xee);
			assert_int_equal(w.data[SMALL], 0xee);
			ring_read(&r, pos, to, n);
			assert_memory_equal(to, from, n);
			assert_int_equal(to[n], 0xdd);
		}
	}
}

static void due_once_for_each_arm(void **state)
{
	static struct words w;
	struct mw_ring r = ring_over(&w, &w.event, SMALL);
	uint64_t told = MW_NEVER;

	(void)state;
	assert_false(ring_due(&r, 0, &told)); /* nothing passed 0 yet */
	assert_true(ring_due(&r, 5, &told));  /* a new ring is armed at 0 */
	assert_true(told == 0);
	assert_false(ring_due(&r, 5, &told));
	assert_false(ring_due(&r, 9, &told));
	ring_arm(&r, 9);
	assert_true(w.event == 9);
	assert_false(ring_due(&r, 9, &told)); /* reached is not passed */
	assert_true(ring_due(&r, 10, &told));
	assert_false(ring_due(&r, 12, &told));
	ring_arm(&r, 10); /* already passed: told at the next look */
	assert_true(ring_due(&r, 12, &told));
	assert_false(ring_due(&r, 12, &told));
	ring_arm(&r, MW_NEVER);
	assert_false(ring_due(&r, ~0ULL, &told));
}

/* Two threads. The reader sleeps for tokens on `data`, the writer on `space`, each only after arming. */
#define MOVE_BYTES (24u << 20)
#define MOVE_RING  4096u

struct mover {
	struct words w;
	sem_t data, space;
	uint64_t data_rung, space_rung;   /* written by the one who posts */
	uint64_t data_arms, space_arms;
	uint64_t sum_in, sum_out;
};

/* In a thread of our own: cmocka's asserts may only be used in the main one. */
static void must(bool good)
{
	if (!good)
		abort();
}

static uint64_t mix(uint64_t sum, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		sum = sum * 1099511628211ULL + p[i];
	return sum;
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void *mover_write(void *arg)
{
	struct mover *m = arg;
	struct mw_ring r = ring_over(&m->w, &m->w.event, MOVE_RING);
	struct mw_ring back = ring_over(&m->w, &m->w.space_event, MOVE_RING);
	uint64_t prod = 0, told = MW_NEVER;
	uint32_t seed = 1, space;
	uint8_t buf[1500];

	while (prod < MOVE_BYTES) {
		uint32_t n = 1 + next_random(&seed) % sizeof(buf);

		must(ring_free(&r, prod, &space) == 0);
		if (space == 0) {
			ring_arm(&back, prod - MOVE_RING);
			m->space_arms++;
			must(ring_free(&r, prod, &space) == 0);
			while (space == 0) {
				sem_wait(&m->space);
				must(ring_free(&r, prod, &space) == 0);
			}
		}
		n = n < space ? n : space;
		n = n < MOVE_BYTES - prod ? n : (uint32_t)(MOVE_BYTES - prod);
		for (uint32_t i = 0; i < n; i++)
			buf[i] = (uint8_t)next_random(&seed);
		m->sum_in = mix(m->sum_in, buf, n);
		ring_write(&r, prod, buf, n);
		prod += n;
		ring_publish(&r, prod);
		if (ring_due(&r, prod, &told)) {
			m->data_rung++;
			sem_post(&m->data);
		}
	}
	return NULL;
}

static void *mover_read(void *arg)
{
	struct mover *m = arg;
	struct mw_ring r = ring_over(&m->w, &m->w.event, MOVE_RING);
	struct mw_ring back = ring_over(&m->w, &m->w.space_event, MOVE_RING);
	uint64_t cons = 0, told = MW_NEVER;
	uint32_t seed = 2, used;
	uint8_t buf[1500];

	while (cons < MOVE_BYTES) {
		uint32_t n = 1 + next_random(&seed) % sizeof(buf);

		must(ring_used(&r, cons, &used) == 0);
		if (used == 0) {
			ring_arm(&r, cons);
			m->data_arms++;
			must(ring_used(&r, cons, &used) == 0);
			while (used == 0) { /* a token of an earlier arm may come first */
				sem_wait(&m->data);
				must(ring_used(&r, cons, &used) == 0);
			}
		}
		n = n < used ? n : used;
		ring_read(&r, cons, buf, n);
		m->sum_out = mix(m->sum_out, buf, n);
		cons += n;
		ring_release(&r, cons);
		if (ring_due(&back, cons, &told)) {
			m->space_rung++;
			sem_post(&m->space);
		}
	}
	return NULL;
}

static void two_threads(void **state)
{
	static struct mover m;
	pthread_t writer, reader;

	(void)state;
	m.w.space_event = MW_NEVER;
	sem_init(&m.data, 0, 0);
	sem_init(&m.space, 0, 0);
	alarm(120); /* a lost wake-up ends the test */
	pthread_create(&writer, NULL, mover_write, &m);
	pthread_create(&reader, NULL, mover_read, &m);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	alarm(0);
	assert_true(m.sum_in == m.sum_out);
	assert_true(m.data_arms > 0);
	assert_true(m.data_rung <= m.data_arms + 1); /* + 1: armed at 0 from the start */
	assert_true(m.space_rung <= m.space_arms);
	print_message("tokens: %llu of %llu arms, space: %llu of %llu arms\n",
		(unsigned long long)m.data_rung, (unsigned long long)m.data_arms,
		(unsigned long long)m.space_rung, (unsigned long long)m.space_arms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_and_full),
		cmocka_unit_test(impossible_index),
		cmocka_unit_test(every_wrap),
		cmocka_unit_test(due_once_for_each_arm),
		cmocka_unit_test(two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
