// SPDX-License-Identifier: Apache-2.0
/*
 * honest_model.c - two honest sides of a ring beside a plain queue, byte for byte: `honest_model [seed [steps]]`.
 * Trust: nobody lies here. What the ring answers is compared with what the queue knows.
 *
 * Every step is a random one of: write, publish, read, release, arm, look whether the other side is due. Writing
 * and publishing (reading and releasing) are separate steps, so the queue has four positions.
 */
#include "pen.h"

#define QUEUE_BYTES (1u << 20)

struct model {
	struct mw_ring ring, space;
	uint8_t queue[QUEUE_BYTES];   /* byte n of the stream at n % QUEUE_BYTES, far more than a ring */
	uint64_t start;               /* position of the first byte */
	uint64_t written, published, read, released;
	uint64_t event, space_event;  /* armed positions */
	bool event_told, space_told;  /* answered already */
	uint64_t told, space_told_at; /* the ring's own memory of it */
	uint64_t seed, operations, dues;
};

static uint32_t some(struct model *m, uint32_t most)
{
	uint64_t r = pen_random(&m->seed);

	if (r % 8 == 0)
		return most;
	return (uint32_t)(r / 8 % ((r % 8 < 4 ? most : most < 100 ? most : 100) + 1ULL));
}

static void write_some(struct model *m)
{
	uint8_t buf[MW_RING_BYTES_MIN];
	uint32_t room = 0, left, n;

	must(ring_free(&m->ring, m->written, &room) == 0, "free");
	must(room == m->ring.bytes - (m->written - m->released), "free as the queue has it");
	left = some(m, room);
	for (; left; left -= n) {
		n = left < sizeof(buf) ? left : (uint32_t)sizeof(buf);
		for (uint32_t i = 0; i < n; i++) {
			buf[i] = (uint8_t)pen_random(&m->seed);
			m->queue[(m->written + i) % QUEUE_BYTES] = buf[i];
		}
		ring_write(&m->ring, m->written, buf, n);
		m->written += n;
	}
}

static void publish(struct model *m)
{
	ring_publish(&m->ring, m->written);
	m->published = m->written;
}

static void read_some(struct model *m)
{
	uint8_t buf[MW_RING_BYTES_MIN];
	uint32_t used = 0, left, n;

	must(ring_used(&m->ring, m->read, &used) == 0, "used");
	must(used == m->published - m->read, "used as the queue has it");
	left = some(m, used);
	for (; left; left -= n) {
		n = left < sizeof(buf) ? left : (uint32_t)sizeof(buf);
		ring_read(&m->ring, m->read, buf, n);
		for (uint32_t i = 0; i < n; i++)
			must(buf[i] == m->queue[(m->read + i) % QUEUE_BYTES], "the byte that was written");
		m->read += n;
	}
}

static void release(struct model *m)
{
	ring_release(&m->ring, m->read);
	m->released = m->read;
}

/* Arms are never repeated at a position: nobody arms again before the index moved on. */
static void arm(struct model *m, bool reader)
{
	uint64_t *event = reader ? &m->event : &m->space_event;
	bool *told = reader ? &m->event_told : &m->space_told;
	uint64_t at = reader ? m->read : m->released + some(m, 64);

	if (at == *event)
		return;
	ring_arm(reader ? &m->ring : &m->space, at);
	*event = at;
	*told = false;
}

static void look(struct model *m, bool writer)
{
	uint64_t pos = writer ? m->published : m->released, event = writer ? m->event : m->space_event;
	bool *told = writer ? &m->event_told : &m->space_told;
	bool want = event != MW_NEVER && pos > event && !*told;
	bool due = writer ? ring_due(&m->ring, pos, &m->told) : ring_due(&m->space, pos, &m->space_told_at);

	must(due == want, "due exactly when passed and not yet told");
	*told |= due;
	m->dues += due;
}

static void step(struct model *m)
{
	switch (pen_random(&m->seed) % 8) {
	case 0: write_some(m); break;
	case 1: publish(m); break;
	case 2: read_some(m); break;
	case 3: release(m); break;
	case 4: arm(m, true); break;
	case 5: look(m, true); break;
	case 6: arm(m, false); break;
	default: look(m, false); break;
	}
	m->operations++;
}

static void run(struct model *m, uint32_t bytes, uint64_t start, uint64_t steps)
{
	static struct pen p;

	pen_open(&p, bytes, true);
	m->ring = p.ring;
	m->space = p.space;
	/* Both sides in one: every word and the data are written here. */
	m->ring.data = MW_PEER(p.lie_data);
	m->ring.prod = p.lie[PEN_PROD];
	m->space.event = p.lie[PEN_SPACE];
	m->start = m->written = m->published = m->read = m->released = start;
	m->event = m->space_event = m->told = m->space_told_at = MW_NEVER;
	m->event_told = m->space_told = false;
	ring_publish(&m->ring, start);
	ring_release(&m->ring, start);
	for (uint64_t i = 0; i < steps; i++)
		step(m);
	pen_canaries(&p);
}

int main(int argc, char **argv)
{
	static struct model m;
	uint64_t steps = argc > 2 ? strtoull(argv[2], NULL, 0) : 60000, bytes = 0;
	const uint64_t starts[] = { 0, 0xfffffff0, (1ULL << 40) - 5 };

	m.seed = pen_seed(argc, argv, 1);
	printf("both sides honest, seed %#llx\n", (unsigned long long)m.seed);
	fflush(stdout);
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		for (uint32_t size = MW_RING_BYTES_MIN; size <= 16 * MW_RING_BYTES_MIN; size *= 4) {
			run(&m, size, starts[i], steps);
			bytes += m.read - m.start;
		}
	}
	must(m.dues > 0 && bytes > 0, "something happened");
	printf("%llu steps, %llu bytes, %llu tokens: as the queue has it\n", (unsigned long long)m.operations,
		(unsigned long long)bytes, (unsigned long long)m.dues);
	return 0;
}
