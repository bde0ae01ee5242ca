// SPDX-License-Identifier: Apache-2.0
/*
 * lock.c - see lock.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/lock.h"
#include "shim/shim.h"

#define WAIT_NS 20000000L /* between looks at whether the holder still lives */
#define SPINS   64
#define INS_WAITS 50      /* a second: then the INS died with the lock */

static bool holder_dead(uint32_t holder, int waits)
{
	if (holder == LOCK_INS)
		return waits > INS_WAITS;
	return syscall(SYS_tkill, holder, 0) < 0 && errno == ESRCH;
}

static void sleep_on(uint32_t *word, uint32_t seen)
{
	struct timespec t = { .tv_nsec = WAIT_NS };

	syscall(SYS_futex, word, FUTEX_WAIT, seen, &t, NULL, 0);
}

static void take_slowly(uint32_t *word, uint32_t me)
{
	for (int waits = 0;; waits++) {
		uint32_t seen = 0;

		for (int i = 0; i < SPINS; i++) {
			seen = 0;
			if (__atomic_compare_exchange_n(word, &seen, me | LOCK_WAITED, false, __ATOMIC_ACQUIRE,
							__ATOMIC_RELAXED))
				return;
		}
		if (!(seen & LOCK_WAITED) &&
		    !__atomic_compare_exchange_n(word, &seen, seen | LOCK_WAITED, false, __ATOMIC_RELAXED,
						 __ATOMIC_RELAXED))
			continue;
		seen |= LOCK_WAITED;
		if (holder_dead(seen & ~LOCK_WAITED, waits) &&
		    __atomic_compare_exchange_n(word, &seen, me | LOCK_WAITED, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return;
		sleep_on(word, seen);
	}
}

int lock_take(uint32_t *word)
{
	uint32_t me = (uint32_t)own_tid(), seen = 0;
	int saved = errno;

	if (__atomic_compare_exchange_n(word, &seen, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return 0;
	if ((seen & ~LOCK_WAITED) == me)
		return -EINTR;
	take_slowly(word, me);
	errno = saved;
	return 0;
}

void lock_drop(uint32_t *word)
{
	if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) & LOCK_WAITED)
		syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}
