/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim/lock.c, with a signal handler at each instruction of a taker: who comes while its thread holds the lock is a guest, else it
 * takes the lock itself; and a handler that jumps out, at any one of them, leaves it to the thread's next call. The processor steps (x86).
 * Trust: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/attach.h"
#include "shim/fork.h"
#include "shim/lock.h"
#include "shim/plain.h"

#define DEEP  100000
#define FIRST 1 /* the word, in the array */

bool plain_on;

static uint32_t words[8]; /* its neighbours share nothing with it */
static uint32_t *const word = &words[FIRST];
static volatile int steps, jump_at, held, was_free, wrong;
static sigjmp_buf home;

int own_tid(void)
{
	return (int)syscall(SYS_gettid);
}

bool attach_ended(const void *at)
{
	return !at;
}

/* What the lock's thread remembers of its last taker is from far down the stack. */
static __attribute__((noinline)) void take_far_down(void)
{
	volatile char far[DEEP];

	far[0] = far[DEEP - 1] = 1;
	assert_true(lock_take(word));
	lock_drop(word);
}

static void at_each_step(int n)
{
	bool ours = *word == (uint32_t)own_tid(), taken;

	(void)n;
	steps++;
	if (steps == jump_at)
		siglongjmp(home, 1);
	if (jump_at)
		return;
	taken = lock_take(word);
	wrong += taken == ours;
	held += ours;
	was_free += !ours;
	if (taken)
		lock_drop(word);
}

#ifdef __x86_64__
static void stepping(bool on)
{
	if (on)
		__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
	else
		__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
}
#else
static void stepping(bool on) { (void)on; }
#endif

static void walk(void)
{
	steps = 0;
	stepping(true);
	if (lock_take(word))
		lock_drop(word);
	stepping(false);
}

static void begin(void **state)
{
	struct sigaction a = { .sa_handler = at_each_step };

	(void)state;
#ifndef __x86_64__
	skip();
#endif
	sigaction(SIGTRAP, &a, NULL);
	jump_at = held = was_free = wrong = 0;
}

static void guests_alone(void **state)
{
	begin(state);
	walk(); /* what is looked up once, is */
	for (int i = 0; i < 3; i++) {
		take_far_down();
		walk();
	}
	assert_int_equal(wrong, 0);
	assert_true(held > 10 && was_free > 10);
	assert_int_equal(*word, 0);
}

static void jumped_out(void **state)
{
	int all;

	begin(state);
	walk();
	all = steps;
	for (int i = 1; i <= all; i++) {
		take_far_down();
		jump_at = i;
		if (sigsetjmp(home, 1) == 0)
			walk();
		stepping(false);
		assert_true(lock_take(word));
		lock_drop(word);
		assert_int_equal(*word, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(guests_alone), cmocka_unit_test(jumped_out) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
