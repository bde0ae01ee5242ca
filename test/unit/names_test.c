// SPDX-License-Identifier: Apache-2.0
/*
 * names_test.c - link/names.c: what is written is read back, and what is not of that form is refused.
 * Trust: none needed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "link/names.h"

static struct names_ask full_ask(void)
{
	struct names_ask ask = { .call = NAMES_ADDRINFO, .n = { 1, -2, 3, 4, INT32_MIN, INT32_MAX }, .has_conf = true };

	ask.a = names_text("a.name");
	ask.b = names_text("");
	ask.data = (struct names_text){ (const uint8_t *)"\0\1\2", 3 };
	ask.conf.servers = 2;
	ask.conf.server[0].family = AF_INET;
	ask.conf.server[1].family = AF_INET6;
	ask.conf.search_bytes = 6;
	memcpy(ask.conf.search, "a\0b.c", 6);
	return ask;
}

static void ask_comes_back(void **state)
{
	struct names_ask ask = full_ask(), got;
	struct names_out out;

	(void)state;
	assert_int_equal(names_ask_put(&out, &ask), 0);
	assert_int_equal(names_bytes(out.at, NAMES_ASK_MAX), out.bytes);
	assert_int_equal(names_ask_get(&got, out.at, out.bytes), 0);
	assert_int_equal(got.call, ask.call);
	assert_memory_equal(got.n, ask.n, sizeof(ask.n));
	assert_memory_equal(&got.conf, &ask.conf, sizeof(ask.conf));
	assert_string_equal((const char *)got.a.at, "a.name");
	assert_true(got.b.at && !got.b.bytes);
	assert_int_equal(got.data.bytes, 3);
	assert_memory_equal(got.data.at, "\0\1\2", 4);
	free(out.at);
}

static void absent_is_not_empty(void **state)
{
	struct names_ask ask = { .call = NAMES_BYNAME }, got;
	struct names_out out;

	(void)state;
	assert_int_equal(names_ask_put(&out, &ask), 0);
	assert_int_equal(names_ask_get(&got, out.at, out.bytes), 0);
	assert_null(got.a.at);
	assert_null(got.data.at);
	assert_false(got.has_conf);
	free(out.at);
}

/* Every shorter record, every longer one, and every byte of the lengths and numbers changed. */
static void other_asks_are_refused(void **state)
{
	struct names_ask ask = full_ask(), got;
	struct names_out out;

	(void)state;
	assert_int_equal(names_ask_put(&out, &ask), 0);
	out.at = realloc(out.at, out.bytes + 1);
	for (size_t n = 0; n <= out.bytes + 1; n++)
		if (n != out.bytes)
			assert_int_equal(names_ask_get(&got, out.at, n), -EBADMSG);
	for (size_t i = 0; i < 12; i++) {
		out.at[i] ^= 0x80;
		assert_int_equal(names_ask_get(&got, out.at, out.bytes), -EBADMSG);
		out.at[i] ^= 0x80;
	}
	assert_int_equal(names_ask_get(&got, out.at, out.bytes), 0);
	free(out.at);
}

static int refused(struct names_ask ask)
{
	struct names_ask got;
	struct names_out out;
	int r;

	assert_int_equal(names_ask_put(&out, &ask), 0);
	r = names_ask_get(&got, out.at, out.bytes);
	free(out.at);
	return r;
}

static void senseless_asks_are_refused(void **state)
{
	struct names_ask ask = full_ask();

	(void)state;
	assert_int_equal(refused(ask), 0);
	ask.call = 0;
	assert_int_equal(refused(ask), -EBADMSG);
	ask.call = NAMES_CALLS;
	assert_int_equal(refused(ask), -EBADMSG);
	ask = full_ask();
	ask.a = (struct names_text){ (const uint8_t *)"a\0b", 3 }; /* two names in one */
	assert_int_equal(refused(ask), -EBADMSG);
	ask = full_ask();
	ask.conf.servers = 4;
	assert_int_equal(refused(ask), -EBADMSG);
	ask = full_ask();
	ask.conf.server[1].family = AF_UNIX;
	assert_int_equal(refused(ask), -EBADMSG);
	ask = full_ask();
	ask.conf.search_bytes = NAMES_SEARCH_MAX + 1;
	assert_int_equal(refused(ask), -EBADMSG);
	ask = full_ask();
	ask.conf.search_bytes = 5; /* ends within a domain */
	assert_int_equal(refused(ask), -EBADMSG);
}

static void long_asks_are_refused(void **state)
{
	char *name = calloc(1, NAMES_ASK_MAX + 1);
	struct names_ask ask = { .call = NAMES_BYNAME };
	struct names_out out;

	(void)state;
	memset(name, 'a', NAMES_ASK_MAX);
	ask.a = names_text(name);
	assert_int_equal(names_ask_put(&out, &ask), -EMSGSIZE);
	free(out.at);
	free(name);
}

static void items_come_back(void **state)
{
	struct names_reply r = { .call = NAMES_ADDRINFO, .value = -3, .error = 7, .herror = -1 }, got;
	struct names_item item = { .n = { 1, 2, 3, -4 }, .a = { (const uint8_t *)"\1\2", 2 } }, back;
	struct names_out out;

	(void)state;
	names_reply_begin(&out, &r);
	for (int i = 0; i < 20000; i++) {
		item.n[0] = i;
		item.b = names_text(i % 2 ? "name" : NULL);
		names_item_put(&out, &item);
	}
	assert_int_equal(names_reply_end(&out), 0);
	assert_int_equal(names_reply_get(&got, out.at, out.bytes), 0);
	assert_int_equal(got.count, 20000);
	assert_true(got.value == -3 && got.error == 7 && got.herror == -1);
	for (int i = 0; i < 20000; i++) {
		assert_true(names_item_get(&got, &back));
		assert_int_equal(back.n[0], i);
		assert_int_equal(back.a.bytes, 2);
		assert_int_equal(back.b.at != NULL, i % 2);
	}
	assert_false(names_item_get(&got, &back));
	free(out.at);
}

static void other_replies_are_refused(void **state)
{
	struct names_reply r = { .call = NAMES_BYNAME }, got;
	struct names_item item = { .b = names_text("name") };
	struct names_out out;

	(void)state;
	names_reply_begin(&out, &r);
	names_item_put(&out, &item);
	names_item_put(&out, &item);
	assert_int_equal(names_reply_end(&out), 0);
	out.at = realloc(out.at, out.bytes + 1);
	for (size_t n = 0; n <= out.bytes + 1; n++)
		if (n != out.bytes)
			assert_int_equal(names_reply_get(&got, out.at, n), -EBADMSG);
	out.at[20]++; /* the count */
	assert_int_equal(names_reply_get(&got, out.at, out.bytes), -EBADMSG);
	out.at[20]--;
	out.at[out.bytes - 1] = 'x'; /* a text without its end */
	assert_int_equal(names_reply_get(&got, out.at, out.bytes), -EBADMSG);
	free(out.at);
}

static void long_replies_are_refused(void **state)
{
	struct names_reply r = { .call = NAMES_RES_SEND };
	struct names_item item = { .n = { 0 } };
	uint8_t *block = calloc(1, 1u << 20);
	struct names_out out;

	(void)state;
	item.a = (struct names_text){ block, 1u << 20 };
	names_reply_begin(&out, &r);
	for (int i = 0; i < 4; i++)
		names_item_put(&out, &item);
	assert_int_equal(names_reply_end(&out), -EMSGSIZE);
	assert_true(out.bytes <= NAMES_REPLY_MAX);
	free(out.at);
	free(block);
}

static void lengths_are_bounded(void **state)
{
	static const uint8_t none[4] = { 3 }, some[4] = { 4 }, much[4] = { 0, 0, 0, 0x80 };

	(void)state;
	assert_int_equal(names_bytes(none, NAMES_REPLY_MAX), 0);
	assert_int_equal(names_bytes(some, NAMES_REPLY_MAX), 4);
	assert_int_equal(names_bytes(some, 3), 0);
	assert_int_equal(names_bytes(much, NAMES_REPLY_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ask_comes_back),	 cmocka_unit_test(absent_is_not_empty),
		cmocka_unit_test(other_asks_are_refused), cmocka_unit_test(senseless_asks_are_refused),
		cmocka_unit_test(long_asks_are_refused), cmocka_unit_test(items_come_back),
		cmocka_unit_test(other_replies_are_refused), cmocka_unit_test(long_replies_are_refused),
		cmocka_unit_test(lengths_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
