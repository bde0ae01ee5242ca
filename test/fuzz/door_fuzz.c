// SPDX-License-Identifier: Apache-2.0
/*
 * door_fuzz.c - libFuzzer target: the door's memory between an honest app and an honest ins, and the lies told to either.
 * Trust: none. Until a lie records come as they were put, in order, marks are found, and who sleeps is told. After one only bounds hold.
 */
#include "chan/door.h"
#include "test/fuzz/input.h"

#define SLOTS   8192u
#define RECORDS 4096u
#define LEAST   16u
#define MOST    41000u /* the longest request */

struct way { /* a control ring, and what lies in it */
	struct mw_ring ring;
	uint64_t prod, cons;
	uint16_t bytes[RECORDS]; /* of each record, the number of the first is `first` */
	uint32_t first, count;
};

struct state {
	uint8_t *door;
	struct mw_door_view view;
	struct way requests, replies;
	uint64_t marked[SLOTS / 64];
	bool asleep, lied;
};

static uint8_t part[MOST], got[MOST + 8];

/* Of record number n: its length and its bytes. The length is where a request has it. */
static void fill(uint32_t n, uint16_t bytes)
{
	memset(part, (int)(n * 37 + 1), bytes);
	memcpy(part + offsetof(struct mw_req, bytes), &bytes, sizeof(bytes));
}

static void put(struct state *s, struct way *w, uint32_t bytes)
{
	uint64_t before = w->prod;
	uint32_t n = w->first + w->count, whole = (bytes + 7) & ~7u;
	int r;

	if (w->count == RECORDS)
		return;
	fill(n, (uint16_t)bytes);
	r = door_put(&w->ring, &w->prod, part, LEAST, part + LEAST, bytes - LEAST);
	must(r == 0 || (w->prod == before && (r == -EAGAIN || (r == -EPROTO && s->lied))));
	must(s->lied || (r == 0) == (w->prod - w->cons <= MW_DOOR_RING - (r ? whole : 0)));
	if (r < 0)
		return;
	must(w->prod == before + whole);
	w->bytes[n % RECORDS] = (uint16_t)bytes;
	w->count++;
}

static void take(struct state *s, struct way *w, uint32_t room)
{
	uint64_t before = w->cons;
	int32_t n = door_take(&w->ring, &w->cons, got, LEAST, room);

	must(n <= (int32_t)room && (n > 0 ? n >= (int32_t)LEAST && w->cons - before == (((uint32_t)n + 7) & ~7u) : w->cons == before));
	if (s->lied)
		return;
	if (!w->count || w->bytes[w->first % RECORDS] > room) {
		must(n == (w->count ? -EPROTO : 0));
		return;
	}
	must(n == w->bytes[w->first % RECORDS]);
	fill(w->first, (uint16_t)n);
	must(memcmp(part, got, (size_t)n) == 0);
	w->first++;
	w->count--;
}

static void told(struct state *s, bool notify)
{
	must(s->lied || notify == s->asleep);
	if (notify)
		s->asleep = false;
}

static void mark(struct state *s, uint32_t slot)
{
	s->marked[slot / 64] |= 1ull << slot % 64;
	told(s, door_mark(&s->view, slot));
}

static void pass(struct state *s)
{
	uint64_t bits;
	int32_t first;

	for (uint32_t from = 0, n = 0; (first = door_take_ready(&s->view, from, &bits)) >= 0; from = (uint32_t)first + 64) {
		must((uint32_t)first < SLOTS && first % 64 == 0 && bits && ++n <= SLOTS / 64);
		must(s->lied || bits == s->marked[first / 64]);
		s->marked[first / 64] = 0;
	}
	for (uint32_t i = 0; i < SLOTS / 64; i++)
		must(s->lied || !s->marked[i]);
}

/* True: there is nothing that it would miss. */
static void sleep_once(struct state *s)
{
	bool any = s->replies.count != 0, sleeps;

	for (uint32_t i = 0; i < SLOTS / 64; i++)
		any |= s->marked[i] != 0;
	sleeps = door_sleep(&s->view, s->replies.cons);
	must(s->lied || sleeps == !any);
	s->asleep = sleeps;
}

/* Words of the header, the rings' first bytes, and where their ends are now. */
static void lie(struct state *s, struct input *in)
{
	static const uint32_t rings[] = { MW_DOOR_REQ_OFFSET, MW_DOOR_REP_OFFSET, MW_DOOR_UP_OFFSET };
	uint8_t how = next_byte(in), at = next_byte(in);
	struct mw_door_view v;
	uint64_t *word;

	s->lied = true;
	if (how & 1)
		word = (uint64_t *)(void *)(s->door + at * 8u % sizeof(struct mw_door));
	else if (how & 2)
		word = (uint64_t *)(void *)(s->door + rings[at % 3] + at / 3 * 8);
	else
		word = (uint64_t *)(void *)(s->door + rings[at & 1] + (at & 2 ? s->requests.cons : s->replies.cons) % MW_DOOR_RING / 8 * 8);
	*word = next_lie(in, *word);
	must(door_check(&v, s->door, MW_DOOR_BYTES, SLOTS) < 0 || v.slots == SLOTS);
}

static void step(struct state *s, struct input *in)
{
	uint8_t op = next_byte(in);

	switch (op % 16) {
	case 0: lie(s, in); break;
	case 1:
	case 2:
	case 3: put(s, &s->requests, LEAST + next_byte(in) * (op & 16 ? 160u : 1u)); break;
	case 4:
	case 5:
	case 6: take(s, &s->requests, op & 16 ? MOST : 48); break;
	case 7:
	case 8:
		put(s, &s->replies, LEAST + next_byte(in) * (op & 16 ? 100u : 1u));
		told(s, door_wake(&s->view));
		break;
	case 9:
	case 10: take(s, &s->replies, op & 16 ? MOST : 48); break;
	case 11:
	case 12: mark(s, next_u32(in) % SLOTS); break;
	case 13: pass(s); break;
	default: sleep_once(s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	static struct state s;

	memset(&s, 0, sizeof(s));
	s.door = aligned_alloc(64, (MW_DOOR_BYTES + 63) & ~63u);
	must(s.door != NULL);
	memset(s.door, 0, MW_DOOR_BYTES);
	must(door_init(&s.view, s.door, SLOTS) == 0);
	door_requests(&s.view, &s.requests.ring);
	door_replies(&s.view, &s.replies.ring);
	while (in.at < in.end)
		step(&s, &in);
	free(s.door);
	return 0;
}
