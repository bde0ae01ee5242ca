/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scale.h - when INSs are started and retired. Pure. Used by grow.c.
 * Trust: the load is what INSs say of themselves; at most `max` are started, one each `hold_ms`.
 */
#ifndef MW_FRONT_SCALE_H
#define MW_FRONT_SCALE_H

#include <stdint.h>

struct scale {
	unsigned min, max;
	double high, low;	/* mean load of a processor, 0 to 1 */
	int64_t hold_ms;	/* so long it must be above or below, and so long nothing is done after anything was */
	/* scale.c's own, 0 at first */
	int64_t above_ms, below_ms, next_ms;
};

enum scale_do { SCALE_NOTHING, SCALE_ADD, SCALE_RETIRE };

/* count: INSs that run or start, without those that drain. What it says is taken as done. One is retired only if the rest would stay
 * well below `high`. */
enum scale_do scale_decide(struct scale *s, int64_t now_ms, unsigned count, double load);

#endif
