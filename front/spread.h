/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spread.h - how new connections are shared out: weights from loads, slots from weights. Pure. Used by rules.c and frontend.c.
 * Trust: loads are what INSs say of themselves; whatever they say, each gets a weight within bounds.
 */
#ifndef MW_FRONT_SPREAD_H
#define MW_FRONT_SPREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SPREAD_SLOTS = 840,	/* 1 to 8 INSs divide it */
	SPREAD_MAX = 64,	/* INSs */
	SPREAD_WEIGHT_MAX = 1000,
};

enum balance { BALANCE_LOAD, BALANCE_RR, BALANCE_HASH, BALANCE_LEAST };

struct spread_load {
	double cpu, connections, rate; /* as in struct entry */
	unsigned weight;               /* in and out: 0 before it had one */
};

/*
 * rr, hash  all alike.
 * load      alike up to half a processor, then less, down to a tenth; small changes change nothing.
 * least     the next second's connections go where they level what is open, as water does; some may get none.
 */
void spread_weigh(enum balance balance, struct spread_load *loads, size_t count);

/* Which of `count` INSs has each slot. By their weights, evenly mixed, at least one for each weight above 0; with `hash` by their ids
 * alone, so that when one comes or goes only its own slots change hands. Not all weights may be 0. */
void spread_slots(uint8_t slots[SPREAD_SLOTS], const unsigned *weights, const uint32_t *ids, size_t count, bool hash);

/* An id for a text (FNV-1a). */
uint32_t spread_id(const char *text);

#endif
