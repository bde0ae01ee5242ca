/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - milliseconds since some moment: for how long to wait. Used by broker/, registry/, front/, xen/ and lib/.
 * Trust: the kernel.
 */
#ifndef MW_LIB_CLOCK_H
#define MW_LIB_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* For poll: how long until then; at least 0. */
static inline int clock_until(int64_t due_ms)
{
	int64_t left = due_ms - clock_ms();

	return left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

#endif
