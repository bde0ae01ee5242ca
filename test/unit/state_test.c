/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of an INS, made by one program and opened by another: what fits, and what does not.
 * Trust: none needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chan/wire.h"
#include "ins/state.h"
#include "link/memfd.h"

#define SLOTS 128u

static int made;

/* In a process of its own, as another program is. */
static void elsewhere(int (*check)(int fd), int fd)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(check(fd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int make(void **state)
{
	uint8_t *a;

	(void)state;
	made = state_make(SLOTS);
	assert_true(made >= 0);
	a = state_block("first", 100);
	assert_non_null(a);
	assert_int_equal(a[0] | a[99], 0);
	memset(a, 7, 100);
	assert_true((uint8_t *)state_block("second", MW_PAGE + 1) >= a + MW_PAGE);
	assert_null(state_block("too much", (size_t)1 << 40));
	return 0;
}

static int open_same(int fd)
{
	uint8_t *a, *b;

	if (state_open(fd) != 0 || state_slots() != SLOTS)
		return 1;
	b = state_block("second", MW_PAGE + 1);
	if (state_complete() != -EPROTO || !strstr(state_misfit(), "2 blocks: its own has 1"))
		return 2;
	a = state_block("first", 100);
	return !a || a[0] != 7 || a[99] != 7 || !b || state_complete() != 0 ? 3 : 0;
}

static int open_others(int fd)
{
	if (state_open(fd) != 0)
		return 1;
	if (state_block("first", 101) || !strstr(state_misfit(), "`first` of 100 bytes: its own has 101"))
		return 2;
	return state_block("third", 1) || !strstr(state_misfit(), "`third` of 0 bytes") ? 3 : 0;
}

static int open_nonsense(int fd)
{
	return state_open(fd) == -EPROTO && strstr(state_misfit(), "version 0") ? 0 : 1;
}

static int open_nothing(int fd)
{
	return state_open(fd) < 0 ? 0 : 1;
}

static void test_same(void **state)
{
	(void)state;
	elsewhere(open_same, made);
}

static void test_others(void **state)
{
	(void)state;
	elsewhere(open_others, made);
}

static void test_nonsense(void **state)
{
	int pair[2];
	void *base;

	(void)state;
	elsewhere(open_nonsense, memfd_make_plain("other", 16 * MW_PAGE, &base));
	assert_int_equal(pipe(pair), 0);
	elsewhere(open_nothing, pair[0]);
	elsewhere(open_nothing, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, make, NULL);
}
