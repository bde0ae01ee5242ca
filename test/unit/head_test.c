// SPDX-License-Identifier: Apache-2.0
/*
 * head_test.c - where a first header ends, in one piece and split at every byte.
 * Trust: none; the texts are what clients send, and what they should not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ins/head.h"

#define GET      "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define HELLO(n) "\x01\x00\x00" n
#define RECORD(n) "\x16\x03\x01\x00" n
#define TEXT(s)  s, sizeof(s) - 1

struct sample {
	const char *text;
	uint32_t bytes;
	uint8_t kind;             /* it begins with */
	uint8_t state;            /* and ends with */
	uint32_t head_bytes;
};

static const struct sample samples[] = {
	{ TEXT(""), HEAD_ANY, MW_HEAD_NONE, 0 },
	{ TEXT("G"), HEAD_ANY, MW_HEAD_PARTIAL, 1 },
	{ TEXT(GET), HEAD_ANY, MW_HEAD_COMPLETE, 27 },
	{ TEXT(GET "body\r\n\r\nof it"), HEAD_ANY, MW_HEAD_COMPLETE, 27 },
	{ TEXT(GET GET), HEAD_ANY, MW_HEAD_COMPLETE, 27 },
	{ TEXT("GET / HTTP/1.0\n\n"), HEAD_ANY, MW_HEAD_COMPLETE, 16 },
	{ TEXT("GET / HTTP/1.0\n\r\n"), HEAD_ANY, MW_HEAD_COMPLETE, 17 },
	{ TEXT("GET / HTTP/1.0\r\n\n"), HEAD_ANY, MW_HEAD_COMPLETE, 17 },
	{ TEXT("GET / HTTP/1.0\r\n\r"), HEAD_ANY, MW_HEAD_PARTIAL, 17 },
	{ TEXT("GET / HTTP/1.0\r\r\n\r\r\n"), HEAD_ANY, MW_HEAD_PARTIAL, 20 },
	{ TEXT("GET / HTTP/1.0\r\n \r\n\r\n"), HEAD_ANY, MW_HEAD_COMPLETE, 21 },
	{ TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HEAD_ANY, MW_HEAD_COMPLETE, 18 },
	{ TEXT("get / HTTP/1.0\r\n\r\n"), HEAD_ANY, MW_HEAD_OTHER, 1 },
	{ TEXT("\r\n" GET), HEAD_ANY, MW_HEAD_OTHER, 1 },
	{ TEXT("\0"), HEAD_ANY, MW_HEAD_OTHER, 1 },
	{ TEXT("\r\n\n\r" GET), HEAD_HTTP, MW_HEAD_COMPLETE, 31 },
	{ TEXT("\r\n\r\n\r\n"), HEAD_HTTP, MW_HEAD_PARTIAL, 6 },
	{ TEXT("get / HTTP/1.0\r\n\r\n"), HEAD_HTTP, MW_HEAD_COMPLETE, 18 },
	{ TEXT("\x16\x03\x01 nonsense\n"), HEAD_HTTP, MW_HEAD_PARTIAL, 13 },
	{ TEXT(RECORD("\x07") HELLO("\x03") "abc"), HEAD_ANY, MW_HEAD_COMPLETE, 12 },
	{ TEXT(RECORD("\x07") HELLO("\x03") "ab"), HEAD_ANY, MW_HEAD_PARTIAL, 11 },
	{ TEXT(RECORD("\x09") HELLO("\x03") "abcde"), HEAD_ANY, MW_HEAD_COMPLETE, 12 },
	{ TEXT(RECORD("\x02") "\x01\x00" RECORD("\x03") "\x00\x02" "a" RECORD("\x01") "b"), HEAD_TLS, MW_HEAD_COMPLETE, 21 },
	{ TEXT(RECORD("\x04") HELLO("\x00")), HEAD_ANY, MW_HEAD_COMPLETE, 9 },
	{ TEXT(RECORD("\x07") "\x02\x00\x00\x03" "abc"), HEAD_ANY, MW_HEAD_OTHER, 6 },
	{ TEXT(RECORD("\x00") HELLO("\x03") "abc"), HEAD_ANY, MW_HEAD_OTHER, 5 },
	{ TEXT("\x16\x03\x01\x40\x01"), HEAD_ANY, MW_HEAD_OTHER, 5 },
	{ TEXT("\x16\x02\x01\x00\x07"), HEAD_ANY, MW_HEAD_OTHER, 2 },
	{ TEXT(RECORD("\x07") "\x01\x01\x00\x01" "abc"), HEAD_ANY, MW_HEAD_OTHER, 9 },
	{ TEXT("\x15\x03\x01\x00\x02"), HEAD_ANY, MW_HEAD_OTHER, 1 },
	{ TEXT(GET), HEAD_TLS, MW_HEAD_OTHER, 1 },
};

/* Of exactly so many bytes, so that one read too many is seen. */
static void feed(struct head *h, const char *text, uint32_t from, uint32_t to)
{
	uint8_t *copy = malloc(to - from);

	assert_true(copy || to == from);
	memcpy(copy, text + from, to - from);
	head_scan(h, copy, to - from);
	free(copy);
}

static void is_as_said(const struct sample *s, const struct head *h)
{
	assert_int_equal(h->state, s->state);
	assert_int_equal(h->bytes, s->head_bytes);
}

static void in_one_piece(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct head h = { .kind = samples[i].kind };

		feed(&h, samples[i].text, 0, samples[i].bytes);
		is_as_said(&samples[i], &h);
	}
}

static void split_once_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		for (uint32_t at = 0; at <= samples[i].bytes; at++) {
			struct head h = { .kind = samples[i].kind };

			feed(&h, samples[i].text, 0, at);
			feed(&h, samples[i].text, at, samples[i].bytes);
			is_as_said(&samples[i], &h);
		}
}

static void byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct head h = { .kind = samples[i].kind };

		for (uint32_t at = 0; at < samples[i].bytes; at++)
			feed(&h, samples[i].text, at, at + 1);
		is_as_said(&samples[i], &h);
	}
}

/* A header without end is given up at the bound, and costs nothing from then on. */
static void bounded(void **state)
{
	static const char line[] = "Field: value\r\n";
	struct head h = { 0 };

	(void)state;
	while (!head_decided(&h)) {
		assert_true(h.bytes < HEAD_BYTES_MAX);
		feed(&h, line, 0, sizeof(line) - 1);
	}
	assert_int_equal(h.state, MW_HEAD_OTHER);
	assert_int_equal(h.bytes, HEAD_BYTES_MAX);
	feed(&h, "\r\n\r\n", 0, 4);
	assert_int_equal(h.state, MW_HEAD_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_one_piece),
		cmocka_unit_test(split_once_anywhere),
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
