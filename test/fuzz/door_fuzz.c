// SPDX-License-Identifier: Apache-2.0
/*
 * door_fuzz.c - libFuzzer target: the door's memory as a hostile peer leaves it, to each of the functions that read it.
 * Trust: none. The input is steps of 10 bytes: what to do, where, and 8 bytes that the peer writes first.
 */
#include <stdlib.h>

#include "chan/door.h"

#define SLOTS 8192u
#define STEP  10u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool good)
{
	if (!good)
		abort();
}

/* Words of the header and the rings' first bytes, which is where all that is read lies. */
static void lie(uint8_t *door, uint8_t where, const uint8_t word[8])
{
	static const uint32_t rings[] = { MW_DOOR_REQ_OFFSET, MW_DOOR_REP_OFFSET, MW_DOOR_UP_OFFSET };
	uint32_t at = where % 64 * 8;

	if (where < 128)
		memcpy(door + at % sizeof(struct mw_door), word, 8);
	else
		memcpy(door + rings[where % 3] + at, word, 8);
}

static void take(const struct mw_ring *r, uint64_t *cons, uint8_t *to, uint32_t room)
{
	uint64_t before = *cons;
	int32_t n = door_take(r, cons, to, 16, room);

	must(n <= (int32_t)room && (n > 0 ? n >= 16 && *cons - before == (((uint32_t)n + 7) & ~7u) : *cons == before));
}

static void put(const struct mw_ring *r, uint64_t *prod, const uint8_t *from, uint32_t n)
{
	uint64_t before = *prod;
	int e = door_put(r, prod, from, 28, from, n);

	must(e == 0 ? *prod - before == ((28 + n + 7) & ~7u) : (e == -EAGAIN || e == -EPROTO) && *prod == before);
}

static void ready(const struct mw_door_view *v)
{
	uint64_t bits;
	int32_t first;

	for (uint32_t from = 0, passes = 0; (first = door_take_ready(v, from, &bits)) >= 0; from = (uint32_t)first + 64)
		must((uint32_t)first < SLOTS && first % 64 == 0 && bits && ++passes <= SLOTS / 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *door = aligned_alloc(64, (MW_DOOR_BYTES + 63) & ~63u), *record = malloc(41000);
	uint64_t prod = 0, cons = 0;
	struct mw_ring requests, replies;
	struct mw_door_view v;

	if (!door || !record)
		abort();
	memset(door, 0, MW_DOOR_BYTES);
	memset(record, 0, 41000);
	must(door_init(&v, door, SLOTS) == 0);
	door_requests(&v, &requests);
	door_replies(&v, &replies);
	for (; n >= STEP; data += STEP, n -= STEP) {
		lie(door, data[1], data + 2);
		switch (data[0] % 6) {
		case 0: take(&requests, &cons, record, 41000); break;
		case 1: take(&requests, &cons, record, 48); break;
		case 2: put(&replies, &prod, record, data[0] * 160u); break;
		case 3: ready(&v); break;
		case 4: door_mark(&v, data[0] * 32u); break;
		default: door_sleep(&v, prod); break;
		}
	}
	free(record);
	free(door);
	return 0;
}
