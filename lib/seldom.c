// SPDX-License-Identifier: Apache-2.0
/*
 * seldom.c - see seldom.h.
 * Trust: as in the header.
 */
#include <stdio.h>

#include "lib/seldom.h"

bool seldom_may(struct seldom *s, int64_t now_ms)
{
	if (now_ms >= s->until_ms) {
		if (s->unsaid)
			fprintf(stderr, "mw: %llu lines before the next one were left out\n", (unsigned long long)s->unsaid);
		*s = (struct seldom){ .until_ms = now_ms + SELDOM_MS };
	}
	if (s->said == SELDOM_LINES) {
		s->unsaid++;
		return false;
	}
	s->said++;
	return true;
}
