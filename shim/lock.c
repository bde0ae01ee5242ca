// SPDX-License-Identifier: Apache-2.0
/*
 * lock.c - see lock.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/lock.h"
#include "shim/attach.h"
#include "shim/fork.h"
#include "shim/plain.h"

#define WAIT_NS 20000000L /* between looks at whether the holder still lives */
#define SPINS   64
#define INS_WAITS 50      /* a second: then the INS died with the lock, or had written what it liked before it ended */

#define FRAMES 4

/* Where this thread took its latest locks: by the word's address, so one may hide another, which is then a guest. */
static __thread struct {
	const uint32_t *word;
	const char *frame;
} taken_at[FRAMES] __attribute__((tls_model("initial-exec")));
static __thread uint32_t guests __attribute__((tls_model("initial-exec")));

static void note(const uint32_t *word, const char *frame)
{
	size_t i = (size_t)word / sizeof(*word) % FRAMES;

	taken_at[i].frame = frame;
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* a handler must not see the word with an earlier taker's frame */
	taken_at[i].word = word;
}

static void forget(const uint32_t *word)
{
	size_t i = (size_t)word / sizeof(*word) % FRAMES;

	if (taken_at[i].word == word)
		taken_at[i].word = NULL;
}

/* The frame that took it has been jumped out of: it would be further up than ours, on the same stack. */
static bool abandoned(const uint32_t *word, const char *frame)
{
	size_t i = (size_t)word / sizeof(*word) % FRAMES;
	stack_t st;

	if (taken_at[i].word != word || frame < taken_at[i].frame)
		return false;
	return syscall(SYS_sigaltstack, NULL, &st) == 0 && !(st.ss_flags & SS_ONSTACK);
}

static bool holder_dead(const uint32_t *word, uint32_t holder, int waits)
{
	if (holder == LOCK_INS)
		return waits > INS_WAITS;
	if (waits > INS_WAITS && attach_ended(word)) /* an honest holder loses nothing: that socket has failed */
		return true;
	return !plain_on && syscall(SYS_tkill, holder, 0) < 0 && errno == ESRCH;
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
		if (holder_dead(word, seen & ~LOCK_WAITED, waits) &&
		    __atomic_compare_exchange_n(word, &seen, me | LOCK_WAITED, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return;
		sleep_on(word, seen);
	}
}

/*
 * The frame is noted before the lock is taken, so that a handler never meets one that is held and noted for an earlier taker, which
 * would look abandoned; and again behind, for a handler that took it in between and forgot it.
 */
bool lock_take(uint32_t *word)
{
	const char *frame = __builtin_frame_address(0);
	uint32_t me = (uint32_t)own_tid(), seen = 0;
	int saved = errno;

	if ((mw_load(word) & ~LOCK_WAITED) != me)
		note(word, frame);
	if (__builtin_expect(!__atomic_compare_exchange_n(word, &seen, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED), 0)) {
		if ((seen & ~LOCK_WAITED) != me) {
			take_slowly(word, me);
		} else if (!abandoned(word, frame)) {
			guests++;
			errno = saved;
			return false;
		}
		errno = saved;
	}
	note(word, frame);
	return true;
}

uint32_t lock_guests(void)
{
	return guests;
}

void lock_drop(uint32_t *word)
{
	uint32_t was = __atomic_exchange_n(word, 0, __ATOMIC_RELEASE);

	forget(word); /* not before: who jumps out meanwhile leaves it noted */
	if (was & LOCK_WAITED)
		syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}
