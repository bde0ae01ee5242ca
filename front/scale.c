// SPDX-License-Identifier: Apache-2.0
/*
 * scale.c - see scale.h.
 * Trust: as in the header.
 */
#include <stdbool.h>

#include "front/scale.h"

#define WELL_BELOW 0.8

/* For how long it holds; *since is 0 while it does not. */
static int64_t lasts(int64_t *since, bool holds, int64_t now)
{
	if (!holds)
		*since = 0;
	else if (!*since)
		*since = now;
	return holds ? now - *since : -1;
}

static enum scale_do wish(struct scale *s, int64_t now, unsigned count, double load)
{
	bool spare = count > 1 && load * count / (count - 1) < s->high * WELL_BELOW;
	int64_t above = lasts(&s->above_ms, load > s->high, now), below = lasts(&s->below_ms, load < s->low && spare, now);

	if (count < s->min)
		return SCALE_ADD;
	if (count > s->max)
		return SCALE_RETIRE;
	if (above >= s->hold_ms && count < s->max)
		return SCALE_ADD;
	return below >= s->hold_ms && count > s->min ? SCALE_RETIRE : SCALE_NOTHING;
}

enum scale_do scale_decide(struct scale *s, int64_t now_ms, unsigned count, double load)
{
	enum scale_do what = wish(s, now_ms, count, load);

	if (what == SCALE_NOTHING || now_ms < s->next_ms)
		return SCALE_NOTHING;
	s->next_ms = now_ms + s->hold_ms;
	s->above_ms = s->below_ms = 0;
	return what;
}
