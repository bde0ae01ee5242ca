/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an INS domain may say of itself, and the addresses that it may have: what makes no sense is none.
 * Trust: none needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>

#include "xen/pool.h"
#include "xen/values.h"

static void test_numbers(void **state)
{
	static const char *const bad[] = { "", " 1", "1 ", "-1", "+1", "0x1", "1g", "A", "18446744073709551616", "99999999999999999999999" };
	uint64_t v = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(values_number(bad[i], 16, UINT64_MAX, &v));
	assert_false(values_number("a", 10, UINT64_MAX, &v));
	assert_false(values_number("101", 10, 100, &v));
	assert_int_equal(v, 7);
	assert_true(values_number("ff", 16, 255, &v) && v == 255);
	assert_true(values_number("18446744073709551615", 10, UINT64_MAX, &v) && v == UINT64_MAX);
}

static void test_load(void **state)
{
	static const char *const bad[] = { "", "::", "1:2", "1:2:", "1:2:3:4", "3e9:0:0", "0:ffffffff:0", "0:0:-1", "0: 1:2", "a:b:cx" };
	struct values_load l = { 0, 0, 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(values_load(bad[i], &l));
	assert_true(values_load("3e8:10:f", &l));
	assert_true(l.cpu >= 1 && l.cpu <= 1 && (int)l.connections == 16 && (int)l.rate == 15);
}

static void test_words(void **state)
{
	char word[8];

	(void)state;
	assert_true(values_listens("16 50 ffff", 80));
	assert_true(values_listens("16 50 ffff", 65535));
	assert_false(values_listens("16 500 50x x50 -50 00050000", 80));
	assert_false(values_listens("", 0));
	assert_true(values_word("a bc", 1, word, sizeof(word)));
	assert_string_equal(word, "bc");
	assert_false(values_word("a bc", 2, word, sizeof(word)));
	assert_true(values_word("123456789abc", 0, word, sizeof(word)));
	assert_string_equal(word, "1234567");
}

static bool odd(const char *address)
{
	return (address[strlen(address) - 1] - '0') % 2;
}

static bool all(const char *address)
{
	(void)address;
	return true;
}

static void test_pool(void **state)
{
	static const char *const bad[] = { "", "10.0.0.1", "10.0.0.1-10.0.0.2", "10.0.0.1/24-10.0.0.2/24", "10.0.0.2-10.0.0.1/24", "10.0.0.1-10.0.1.1/24",
					   "10.0.0.1-10.0.0.2/33", "10.0.0.1-10.0.0.2/0", "10.0.0.1-10.0.0.2/x", "10.0.0.1-10.0.0.2/ 24", "10.0.0.1-fd00::2/64",
					   "10.0.0.1-10.255.0.2/8", "fd00::1-fd00:1::1/16", "fd00::1-fd00::2/129", "10.0.0.1-10.0.0.2/24 " };
	char out[POOL_TEXT_BYTES];
	struct pool p;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(pool_parse(&p, bad[i]));
	assert_true(pool_parse(&p, "10.0.0.254-10.0.1.1/16"));
	assert_true(p.bits == 16 && p.family == AF_INET);
	assert_true(pool_has(&p, "10.0.0.255", out) && pool_has(&p, "10.0.1.1", out));
	assert_false(pool_has(&p, "10.0.1.2", out) || pool_has(&p, "10.0.0.253", out) || pool_has(&p, "fd00::1", out) || pool_has(&p, "", out) ||
		     pool_has(&p, "10.0.1.1/24", out) || pool_has(&p, "11.0.1.1", out));
	assert_true(pool_give(&p, odd, out));
	assert_string_equal(out, "10.0.0.254");
	assert_true(pool_give(&p, odd, out));
	assert_string_equal(out, "10.0.1.0");
	assert_true(pool_give(&p, odd, out)); /* round again */
	assert_string_equal(out, "10.0.0.254");
	assert_false(pool_give(&p, all, out));
	assert_true(pool_parse(&p, "fd00::fffe-fd00::1:2/64"));
	assert_true(pool_has(&p, "FD00:0:0::0001:0001", out));
	assert_string_equal(out, "fd00::1:1");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_numbers), cmocka_unit_test(test_load), cmocka_unit_test(test_words), cmocka_unit_test(test_pool) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
