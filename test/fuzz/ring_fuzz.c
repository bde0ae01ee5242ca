// SPDX-License-Identifier: Apache-2.0
/*
 * ring_fuzz.c - libFuzzer target: input bytes drive both sides of a ring, and the lies told to either.
 * Trust: none. Indexes are whatever the input says; the ring lies alone on the heap, so ASan sees a step outside.
 */
#include <stdlib.h>

#include "chan/ring.h"

#define RING_BYTES 64u /* small: every wrap is near */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct input {
	const uint8_t *at, *end;
};

static uint8_t next(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static uint64_t next_word(struct input *in)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | next(in);
	return v;
}

static void must(bool good)
{
	if (!good)
		abort();
}

struct state {
	struct mw_ring ring;
	uint64_t words[3];      /* prod, cons, event */
	uint64_t prod, cons;    /* each side's own */
	uint64_t told;
	bool lied;              /* since then only bounds hold */
};

static void write_some(struct state *s, uint32_t n)
{
	uint8_t from[RING_BYTES];
	uint32_t room;

	if (ring_free(&s->ring, s->prod, &room) < 0) {
		must(s->lied);
		return;
	}
	must(room <= RING_BYTES && (s->lied || room == RING_BYTES - (s->prod - s->cons)));
	n = n < room ? n : room;
	for (uint32_t i = 0; i < n; i++)
		from[i] = (uint8_t)((s->prod + i) * 167);
	ring_write(&s->ring, s->prod, from, n);
	s->prod += n;
	ring_publish(&s->ring, s->prod);
}

static void read_some(struct state *s, uint32_t n)
{
	uint32_t used;
	uint8_t *to;

	if (ring_used(&s->ring, s->cons, &used) < 0) {
		must(s->lied);
		return;
	}
	must(used <= RING_BYTES && (s->lied || used == s->prod - s->cons));
	n = n < used ? n : used;
	to = malloc(n ? n : 1);
	ring_read(&s->ring, s->cons, to, n);
	for (uint32_t i = 0; i < n; i++)
		must(s->lied || to[i] == (uint8_t)((s->cons + i) * 167));
	free(to);
	s->cons += n;
	ring_release(&s->ring, s->cons);
}

static void spans(struct state *s, uint64_t pos, uint32_t n)
{
	struct mw_span span[2];
	int count = ring_spans(&s->ring, pos, n, span);
	uint32_t sum = 0;

	for (int i = 0; i < count; i++) {
		uint64_t at = (uint64_t)((mw_uintptr)span[i].base - (mw_uintptr)s->ring.data);

		must(at < RING_BYTES && span[i].bytes && span[i].bytes <= RING_BYTES - at);
		sum += span[i].bytes;
	}
	must(sum == n);
}

static void due(struct state *s, uint64_t pos)
{
	uint64_t told = s->told;

	if (ring_due(&s->ring, pos, &s->told))
		must(s->told != told && s->told < pos && s->told == s->words[2]);
	else
		must(s->told == told);
	must(!ring_due(&s->ring, pos, &s->told)); /* once */
}

static void step(struct state *s, struct input *in)
{
	uint8_t op = next(in);

	switch (op % 8) {
	case 0: write_some(s, op / 8 * 3); break;
	case 1: read_some(s, op / 8 * 3); break;
	case 2: spans(s, next_word(in), next(in) % (RING_BYTES + 1)); break;
	case 3: ring_arm(&s->ring, op & 8 ? s->cons : next_word(in)); break;
	case 4: due(s, s->prod); break;
	case 5: /* a lie near the truth, or far from it */
		s->words[op / 8 % 3] = op & 128 ? next_word(in) : s->words[op / 8 % 3] + next(in) - 128u;
		s->lied = true;
		break;
	case 6: /* the index lies in shared memory too, where processes share it */
		s->prod = next_word(in);
		s->lied = true;
		break;
	default: /* an honest start, anywhere */
		s->prod = s->cons = s->words[0] = s->words[1] = next_word(in);
		s->lied = false;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	struct state *s = calloc(1, sizeof(*s));
	uint8_t *bytes = malloc(RING_BYTES);

	if (!s || !bytes)
		abort();
	memset(bytes, 0, RING_BYTES);
	s->ring = (struct mw_ring){ MW_PEER(bytes), &s->words[0], &s->words[1], &s->words[2], RING_BYTES, 0 };
	s->told = MW_NEVER;
	while (in.at < in.end)
		step(s, &in);
	free(bytes);
	free(s);
	return 0;
}
