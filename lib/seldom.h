/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seldom.h - lines for a person that somebody who is not trusted can cause: so many in a while, no more. Used by broker/ and xen/.
 * Trust: none in who causes them.
 */
#ifndef MW_LIB_SELDOM_H
#define MW_LIB_SELDOM_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SELDOM_LINES = 10,	/* in a while */
	SELDOM_MS = 5000,	/* its length */
};

/* One for each who may cause them, so that none can keep another's from being said. Zeroes: nothing was said yet. */
struct seldom {
	int64_t until_ms;
	uint32_t said;
	uint64_t unsaid;
};

/* True: say it, by our clock_ms(). Before the first of a new while, one line tells how many were left out of those before. */
bool seldom_may(struct seldom *s, int64_t now_ms);

#endif
