// SPDX-License-Identifier: Apache-2.0
/*
 * mwnf_test.c - the MAGICWAND NetFlow stream, byte for byte, as its clients write and read it.
 * Trust: none.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "telem/mwnf.h"

static void ids(void **state)
{
	uint64_t flow = 0x0000000500000007ull;

	(void)state;
	assert_int_equal(mwnf_id(0, flow), 0x5300000000050007ull);
	assert_int_equal(mwnf_id(3, 0xffffffff0000fffeull), 0x5303fffffffffffeull);
	assert_int_equal(mwnf_flow(0, mwnf_id(0, flow)), flow);
	assert_int_equal(mwnf_flow(3, mwnf_id(3, 0xffffffff0000fffeull)), 0xffffffff0000fffeull);
	assert_int_equal(mwnf_flow(1, mwnf_id(0, flow)), 0);
	assert_int_equal(mwnf_flow(0, 0x5200000000050007ull), 0);
}

static void info(void **state)
{
	static const uint8_t want[MWNF_INFO_BYTES] = {
		0xd3, 0x10, 0, 0, 0, 0, 0, 3,
		0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2,
		0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4,
		0x53, 0, 0, 0, 0, 5, 0, 7,
		0, 0, 0, 4, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80,
		0, 0, 0, 6, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x12, 0x67,
		0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0,
		0x53, 0, 0, 0, 0, 9, 0, 8,
	};
	struct mw_event e = { .kind = MW_EV_ACCEPT, .opened_ns = 1000000002ull, .time_ns = 3000000004ull, .id = 0x500000007ull,
			      .extra = 0x900000008ull, .local_family = 4, .peer_family = 6, .local_port = 80, .peer_port = 4711,
			      .rx_bytes = 256, .tx_bytes = 512 };
	uint8_t out[MWNF_INFO_BYTES];

	(void)state;
	inet_pton(AF_INET, "192.0.2.1", e.local);
	inet_pton(AF_INET6, "2001:db8::9", e.peer);
	assert_true(mwnf_info(out, 0, &e));
	assert_memory_equal(out, want, sizeof(want));
	e.peer_family = MW_FAMILY_NONE; /* a listener: a family of 4 or 6 all the same, or existing clients die */
	e.peer_port = 7;
	assert_true(mwnf_info(out, 0, &e));
	assert_int_equal(out[73], 4);
	for (int i = 74; i < 92; i++)
		assert_int_equal(out[i], 0);
	e.local_family = e.peer_family = MW_FAMILY_IP6; /* a socket for both */
	inet_pton(AF_INET6, "::ffff:192.0.2.1", e.local);
	inet_pton(AF_INET6, "::ffff:192.0.2.2", e.peer);
	assert_true(mwnf_info(out, 0, &e));
	assert_int_equal(out[51], 4);
	assert_memory_equal(out + 52, "\xc0\0\2\1\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(out[73], 4);
	assert_memory_equal(out + 74, "\xc0\0\2\2\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(mwnf_bytes(out), sizeof(out));
	e.kind = MW_EV_LISTEN;
	assert_false(mwnf_info(out, 0, &e));
}

static void put_request(uint8_t out[MWNF_REQUEST_BYTES], uint16_t flags, uint16_t name, const void *ident, size_t n)
{
	static const uint8_t head[] = { 0xd3, 0x20, 1, 2, 3, 4 };

	memset(out, 0, MWNF_REQUEST_BYTES);
	memcpy(out, head, sizeof(head));
	out[7] = (uint8_t)flags;
	out[8] = (uint8_t)(name >> 8);
	out[9] = (uint8_t)name;
	out[17] = 5;
	out[25] = 6;
	memcpy(out + 26, ident, n);
}

static void requests(void **state)
{
	uint8_t id[8] = { 0x53, 0, 0, 0, 0, 5, 0, 7 }, in[MWNF_REQUEST_BYTES], exact[MWNF_REQUEST_BYTES];
	uint8_t four[20] = { 0, 0, 0, 4, 192, 0, 2, 1 }, six[20] = { 0, 0, 0, 6, 0x20, 1 }, odd[20] = { 0, 0, 0, 9 };
	uint8_t text[20] = "\0\0\0\002192.0.2.9", longest[20] = "\0\0\0\002192.168.100.2001";
	struct mwnf_request q;

	(void)state;
	put_request(in, 3, MWNF_SNDBUF, id, sizeof(id));
	for (size_t n = 0; n < sizeof(in); n++)
		assert_int_equal(mwnf_request(&q, in, n), 0);
	assert_int_equal(mwnf_request(&q, in, sizeof(in)), 46);
	assert_true(q.id == 0x01020304 && q.name == MWNF_SNDBUF && q.write && q.by_socket && !q.by_address);
	assert_true(q.value == 5 && q.micros == 6 && q.socket == 0x5300000000050007ull);
	put_request(in, 5, MWNF_BLOCK, four, sizeof(four));
	assert_int_equal(mwnf_request(&q, in, sizeof(in)), 46);
	assert_true(q.by_address && q.addr.family == MW_FAMILY_IP4 && q.addr.addr[3] == 1);
	put_request(in, 5, MWNF_BLOCK, six, sizeof(six));
	mwnf_request(&q, in, sizeof(in));
	assert_true(q.addr.family == MW_FAMILY_IP6 && q.addr.addr[0] == 0x20);
	put_request(in, 1, MWNF_BLOCK, text, sizeof(text)); /* flags 1, family 2, dotted ASCII: as existing clients do */
	mwnf_request(&q, in, sizeof(in));
	assert_true(q.write && q.by_address && q.addr.family == MW_FAMILY_IP4 && q.addr.addr[3] == 9);
	put_request(in, 5, MWNF_BLOCK, longest, sizeof(longest)); /* 16 bytes without a NUL */
	mwnf_request(&q, in, sizeof(in));
	assert_true(q.addr.family == MW_FAMILY_NONE);
	put_request(in, 5, MWNF_BLOCK, odd, sizeof(odd));
	mwnf_request(&q, in, sizeof(in));
	assert_true(q.addr.family == MW_FAMILY_NONE);
	for (int i = 0; i < 2; i++) {
		memcpy(exact, in, sizeof(exact));
		exact[i] ^= 1;
		assert_int_equal(mwnf_request(&q, exact, 1 + (size_t)i), -1);
		assert_int_equal(mwnf_request(&q, exact, sizeof(exact)), -1);
	}
}

static void responses(void **state)
{
	static const uint8_t want[] = { 0xd3, 0x2f, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xf7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9 };
	uint8_t out[MWNF_RESPONSE_BYTES];

	(void)state;
	mwnf_response(out, 0x01020304, -9, 8, 9);
	assert_memory_equal(out, want, sizeof(want));
	assert_int_equal(mwnf_bytes(out), sizeof(out));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ids), cmocka_unit_test(info), cmocka_unit_test(requests),
					    cmocka_unit_test(responses) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
