/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/seldom.c: who causes lines without end gets a few in each while, and how many were not said is.
 * Trust: none needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/seldom.h"

/* What it says itself meanwhile is in `text`. */
static uint32_t allowed(struct seldom *s, int64_t now_ms, int tries, char text[256])
{
	FILE *file = tmpfile();
	int own = dup(STDERR_FILENO);
	uint32_t n = 0;

	assert_non_null(file);
	dup2(fileno(file), STDERR_FILENO);
	for (int i = 0; i < tries; i++)
		n += seldom_may(s, now_ms);
	dup2(own, STDERR_FILENO);
	close(own);
	rewind(file);
	text[fread(text, 1, 255, file)] = 0;
	fclose(file);
	return n;
}

static void flood(void **state)
{
	struct seldom s = { 0 }, other = { 0 };
	char text[256];

	(void)state;
	assert_int_equal(allowed(&s, 1000, 1000, text), SELDOM_LINES);
	assert_string_equal(text, "");
	assert_int_equal(allowed(&s, 1000 + SELDOM_MS - 1, 10, text), 0);
	assert_int_equal(allowed(&other, 1001, 1, text), 1);
	assert_int_equal(allowed(&s, 1000 + SELDOM_MS, 1, text), 1);
	assert_string_equal(text, "mw: 1000 lines before the next one were left out\n");
	assert_int_equal(allowed(&s, 1000 + SELDOM_MS, 100, text), SELDOM_LINES - 1);
	assert_string_equal(text, "");
}

/* As lines of honest ones come: all are said. */
static void few(void **state)
{
	struct seldom s = { 0 };
	char text[256];

	(void)state;
	for (int64_t now = 5; now < 100 * SELDOM_MS; now += SELDOM_MS / SELDOM_LINES) {
		assert_int_equal(allowed(&s, now, 1, text), 1);
		assert_string_equal(text, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(flood), cmocka_unit_test(few) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
