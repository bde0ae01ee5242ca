// SPDX-License-Identifier: Apache-2.0
/*
 * ring_lies.c - one honest side of a ring against an enemy on the other: `ring_lies producer|consumer [seed [steps]]`.
 * Trust: the named side lies. All that it may write holds arbitrary values, changed between the steps and during them.
 *
 * Checked: nothing outside the ring is touched (pen.h), every answer is bounded or -EPROTO, the answer is right
 * when the value held still, our words are ours, and as soon as the enemy is honest bytes arrive whole again.
 */
#include <pthread.h>
#include <sched.h>

#include "pen.h"

struct fight {
	struct pen pen;
	bool consumer;          /* the side under test */
	uint64_t at;            /* its private index */
	uint64_t told;
	uint64_t seed;
	uint64_t operations, refusals, bytes_moved;
	/* the enemy's thread */
	pthread_t thread;
	uint64_t enemy_seed;
	uint64_t low;           /* hint: around which values lies are plausible */
	uint32_t stop;
	uint64_t lies;          /* told by the thread */
};

/* The lowest honest value of the enemy's index. */
static uint64_t lowest(const struct fight *f)
{
	return f->consumer ? f->at : f->at - f->pen.bytes;
}

/* Rewrites one or all of the enemy's words (and, being an enemy, sometimes ours too). */
static void tell_lies(struct pen *p, uint64_t *seed, uint64_t low, bool consumer_tested)
{
	uint64_t r = pen_random(seed);
	enum pen_part index = consumer_tested ? PEN_PROD : PEN_CONS;
	enum pen_part event = consumer_tested ? PEN_SPACE : PEN_EVENT;

	mw_store(p->lie[index], pen_lie(seed, low, p->bytes));
	if (r % 2)
		mw_store(p->lie[event], pen_lie(seed, low, p->bytes));
	if (r % 64 == 5)
		mw_store(p->lie[consumer_tested ? PEN_CONS : PEN_PROD], pen_lie(seed, low, p->bytes));
	if (r % 64 == 9)
		mw_store(p->lie[consumer_tested ? PEN_EVENT : PEN_SPACE], pen_random(seed));
	if (r % 8 == 3)
		__atomic_store_n(&p->lie_data[r % p->bytes], (uint8_t)r, __ATOMIC_RELAXED);
}

static void check_spans(struct fight *f, uint32_t n)
{
	const struct mw_ring *r = &f->pen.ring;
	uintptr_t data = (uintptr_t)r->data;
	struct mw_span s[2];
	int count = ring_spans(r, f->at, n, s);
	uint64_t sum = 0;

	must(count >= 0 && count <= 2, "number of spans");
	for (int i = 0; i < count; i++) {
		uintptr_t base = (uintptr_t)s[i].base;

		must(s[i].bytes > 0 && s[i].bytes <= r->bytes, "length of a span");
		must(base >= data && base - data <= r->bytes - s[i].bytes, "place of a span");
		sum += s[i].bytes;
	}
	must(sum == n, "spans cover what was asked");
	f->operations++;
}

/* One turn of the honest side with whatever it finds. `still`: the enemy does not move meanwhile. */
static void turn(struct fight *f, bool still)
{
	struct pen *p = &f->pen;
	uint64_t theirs = mw_load(p->lie[f->consumer ? PEN_PROD : PEN_CONS]);
	uint32_t room = 0xdeadbeef, n;
	uint64_t told = f->told;
	int r;

	r = f->consumer ? ring_used(&p->ring, f->at, &room) : ring_free(&p->ring, f->at, &room);
	f->operations++;
	must(r == 0 || r == -EPROTO, "answer is 0 or -EPROTO");
	if (still)
		must((r == 0) == (theirs - lowest(f) <= p->bytes), "verdict on the index");
	if (r) {
		must(room == 0xdeadbeef, "output written only on success");
		f->refusals++;
		return;
	}
	must(room <= p->bytes, "answer bounded by the ring");
	if (still)
		must(room == (uint32_t)(theirs - lowest(f)), "exact answer");
	n = room ? (uint32_t)(pen_random(&f->seed) % (room + 1ULL)) : 0;
	if (n > 256 && pen_random(&f->seed) % 8)
		n = 1 + n % 256;
	check_spans(f, n);
	if (f->consumer)
		ring_read(&p->ring, f->at, p->buffer + p->bytes - n, n);
	else
		ring_write(&p->ring, f->at, p->buffer + p->bytes - n, n);
	f->at += n;
	f->bytes_moved += n;
	if (f->consumer)
		ring_release(&p->ring, f->at);
	else
		ring_publish(&p->ring, f->at);
	if (ring_due(f->consumer ? &p->space : &p->ring, f->at, &f->told))
		must(f->told != told && f->told < f->at && f->told != MW_NEVER, "due for an event passed and not yet told");
	else
		must(f->told == told, "told changes only when due");
	ring_arm(f->consumer ? &p->ring : &p->space, f->at);
	f->operations += 4;
	if (!still)
		return;
	must(mw_load(p->lie[f->consumer ? PEN_CONS : PEN_PROD]) == f->at, "our index is what we stored");
	must(mw_load(p->lie[f->consumer ? PEN_EVENT : PEN_SPACE]) == f->at, "our event is what we stored");
}

/* The enemy turns honest for a moment: bytes go through unharmed, from wherever the side is. */
static void truce(struct fight *f)
{
	struct pen *p = &f->pen;
	uint64_t r = pen_random(&f->seed);
	uint32_t n = (uint32_t)(r % (p->bytes + 1ULL)), room = 0;

	if (f->consumer) {
		for (uint32_t i = 0; i < n; i++)
			p->lie_data[(f->at + i) % p->bytes] = (uint8_t)(i * 7 + r);
		mw_store_release(p->lie[PEN_PROD], f->at + n);
		must(ring_used(&p->ring, f->at, &room) == 0 && room == n, "honest index after lies");
		ring_read(&p->ring, f->at, p->buffer, n);
		for (uint32_t i = 0; i < n; i++)
			must(p->buffer[i] == (uint8_t)(i * 7 + r), "honest bytes after lies");
		f->at += n;
		ring_release(&p->ring, f->at);
		must(*p->lie[PEN_CONS] == f->at, "our index after lies");
	} else {
		mw_store_release(p->lie[PEN_CONS], f->at);
		must(ring_free(&p->ring, f->at, &room) == 0 && room == p->bytes, "honest index after lies");
		for (uint32_t i = 0; i < n; i++)
			p->buffer[i] = (uint8_t)(i * 7 + r);
		ring_write(&p->ring, f->at, p->buffer, n);
		f->at += n;
		ring_publish(&p->ring, f->at);
		must(*p->lie[PEN_PROD] == f->at, "our index after lies");
		for (uint32_t i = 0; i < n; i++)
			must(p->lie_data[(f->at - n + i) % p->bytes] == (uint8_t)(i * 7 + r), "honest bytes after lies");
	}
	f->operations += 3;
}

/* Where processes share the index it lies in memory that the enemy can write too: then it may be any value. */
static void stolen_index(struct fight *f)
{
	static const uint64_t edges[] = { 0, 1, 0xfffffffe, 1ULL << 32, 1ULL << 63, ~0ULL, ~0ULL - 4096 };
	uint64_t r = pen_random(&f->seed);

	f->at = r % 4 ? edges[r / 4 % (sizeof(edges) / sizeof(edges[0]))] : pen_random(&f->seed);
}

static void *enemy_thread(void *arg)
{
	struct fight *f = arg;
	uint64_t seed = f->enemy_seed;

	while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE))
		for (int i = 0; i < 64; i++) {
			tell_lies(&f->pen, &seed, mw_load(&f->low), f->consumer);
			mw_store(&f->lies, f->lies + 1);
		}
	return NULL;
}

static void taking_turns(struct fight *f, uint64_t steps)
{
	for (uint64_t i = 0; i < steps; i++) {
		tell_lies(&f->pen, &f->seed, lowest(f), f->consumer);
		turn(f, true);
		if (i % 256 == 0)
			truce(f);
		if (i % 4096 == 0)
			stolen_index(f);
	}
}

static void at_once(struct fight *f, uint64_t steps)
{
	uint64_t lies = f->lies;

	f->stop = 0;
	f->enemy_seed = pen_random(&f->seed);
	mw_store(&f->low, lowest(f));
	must(pthread_create(&f->thread, NULL, enemy_thread, f) == 0, "pthread_create");
	while (mw_load(&f->lies) == lies)
		sched_yield();
	for (uint64_t i = 0; i < steps; i++) {
		turn(f, false);
		mw_store(&f->low, lowest(f));
	}
	__atomic_store_n(&f->stop, 1, __ATOMIC_RELEASE);
	pthread_join(f->thread, NULL);
	truce(f);
}

static void fight(struct fight *f, uint32_t bytes, uint64_t steps)
{
	pen_open(&f->pen, bytes, f->consumer);
	f->at = 0;
	f->told = MW_NEVER;
	for (int round = 0; round < 8; round++) {
		taking_turns(f, steps / 16);
		at_once(f, steps / 16);
	}
	pen_canaries(&f->pen);
}

int main(int argc, char **argv)
{
	struct fight f = { .seed = pen_seed(argc, argv, 2) };
	uint64_t steps = argc > 3 ? strtoull(argv[3], NULL, 0) : 3000000;
	const uint32_t sizes[] = { MW_RING_BYTES_MIN, 65536, 4 * MW_RING_BYTES_MIN };

	if (argc < 2 || (strcmp(argv[1], "producer") && strcmp(argv[1], "consumer"))) {
		fprintf(stderr, "usage: %s producer|consumer [seed [steps]]   (who lies)\n", argv[0]);
		return 2;
	}
	f.consumer = strcmp(argv[1], "producer") == 0;
	printf("the %s lies, seed %#llx\n", argv[1], (unsigned long long)f.seed);
	fflush(stdout);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		fight(&f, sizes[i], steps);
	must(f.refusals > 0 && f.bytes_moved > 0, "both lies and honest values were met");
	printf("%llu ring operations, %llu lies refused, %llu lies told at once, %llu bytes moved: held\n",
		(unsigned long long)f.operations, (unsigned long long)f.refusals, (unsigned long long)f.lies,
		(unsigned long long)f.bytes_moved);
	return 0;
}
