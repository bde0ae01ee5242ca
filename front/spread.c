// SPDX-License-Identifier: Apache-2.0
/*
 * spread.c - see spread.h.
 * Trust: as in the header.
 */
#include "front/spread.h"

#define LOAD_FULL 100
#define LOAD_LEAST 10
#define LOAD_STEP 10

uint32_t spread_id(const char *text)
{
	uint32_t h = 2166136261u;

	while (*text)
		h = (h ^ (uint8_t)*text++) * 16777619u;
	return h;
}

static unsigned by_load(const struct spread_load *l)
{
	double w = l->cpu <= 0.5 ? LOAD_FULL : LOAD_FULL * (1 - l->cpu) / 0.5;
	unsigned now = w < LOAD_LEAST ? LOAD_LEAST : (unsigned)w, before = l->weight;

	if (before >= LOAD_LEAST && before <= LOAD_FULL && now + LOAD_STEP > before && before + LOAD_STEP > now)
		return before;
	return now;
}

/* How far the level would rise if `amount` were poured. */
static double level_of(const struct spread_load *loads, size_t count, double amount)
{
	double low = 0, high = amount;

	for (size_t i = 0; i < count; i++)
		high = loads[i].connections + amount > high ? loads[i].connections + amount : high;
	for (int step = 0; step < 60; step++) {
		double middle = (low + high) / 2, poured = 0;

		for (size_t i = 0; i < count; i++)
			poured += middle > loads[i].connections ? middle - loads[i].connections : 0;
		*(poured < amount ? &low : &high) = middle;
	}
	return high;
}

static void by_connections(struct spread_load *loads, size_t count)
{
	double amount = (double)count, level;

	for (size_t i = 0; i < count; i++)
		amount += loads[i].rate;
	level = level_of(loads, count, amount);
	for (size_t i = 0; i < count; i++) {
		double share = level > loads[i].connections ? (level - loads[i].connections) / amount : 0;

		loads[i].weight = (unsigned)(share * SPREAD_WEIGHT_MAX + 0.5);
	}
}

void spread_weigh(enum balance balance, struct spread_load *loads, size_t count)
{
	if (balance == BALANCE_LEAST) {
		by_connections(loads, count);
		return;
	}
	for (size_t i = 0; i < count; i++)
		loads[i].weight = balance == BALANCE_LOAD ? by_load(&loads[i]) : 1;
}

/* How many slots each gets: the whole part of its share, at least one; the rest to those with the largest remainders. */
static void count_slots(unsigned parts[SPREAD_MAX], const unsigned *weights, size_t count)
{
	uint64_t sum = 0;
	int left = SPREAD_SLOTS;

	for (size_t i = 0; i < count; i++)
		sum += weights[i];
	for (size_t i = 0; i < count; i++) {
		parts[i] = (unsigned)(weights[i] * (uint64_t)SPREAD_SLOTS / sum);
		parts[i] += weights[i] && !parts[i];
		left -= (int)parts[i];
	}
	for (; left; left += left < 0 ? 1 : -1) {
		size_t best = 0;
		int64_t most = INT64_MIN;

		for (size_t i = 0; i < count; i++) {
			int64_t owed = (int64_t)(weights[i] * (uint64_t)SPREAD_SLOTS) - (int64_t)(parts[i] * sum);

			if (left < 0)
				owed = parts[i] > 1 ? -owed : INT64_MIN;
			if (weights[i] && owed > most) {
				most = owed;
				best = i;
			}
		}
		parts[best] += left < 0 ? -1u : 1u;
	}
}

/* Each slot to the one that is furthest behind its share. */
static void mix(uint8_t slots[SPREAD_SLOTS], const unsigned parts[SPREAD_MAX], size_t count)
{
	int credit[SPREAD_MAX] = { 0 };

	for (int s = 0; s < SPREAD_SLOTS; s++) {
		size_t best = 0;

		for (size_t i = 0; i < count; i++) {
			credit[i] += (int)parts[i];
			if (credit[i] > credit[best])
				best = i;
		}
		credit[best] -= SPREAD_SLOTS;
		slots[s] = (uint8_t)best;
	}
}

/* A mix of slot and id in which every bit depends on every other (MurmurHash3's finalizer). */
static uint32_t draw(uint32_t slot, uint32_t id)
{
	uint32_t h = id ^ slot * 0x9e3779b9u;

	h = (h ^ h >> 16) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	return h ^ h >> 16;
}

void spread_slots(uint8_t slots[SPREAD_SLOTS], const unsigned *weights, const uint32_t *ids, size_t count, bool hash)
{
	unsigned parts[SPREAD_MAX];

	if (!hash) {
		count_slots(parts, weights, count);
		mix(slots, parts, count);
		return;
	}
	for (uint32_t s = 0; s < SPREAD_SLOTS; s++) {
		slots[s] = 0;
		for (size_t i = 1; i < count; i++)
			if (draw(s, ids[i]) > draw(s, ids[slots[s]]))
				slots[s] = (uint8_t)i;
	}
}
