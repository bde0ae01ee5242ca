// SPDX-License-Identifier: Apache-2.0
/*
 * msg_test.c - control messages: exact lengths, padding, opcodes, and that a reply answers its request.
 * Trust: none; every refused record must leave the output alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "chan/msg.h"

static const struct {
	uint32_t op, bytes;
} ops[] = {
	{ MW_OP_HELLO, 24 }, { MW_OP_SOCKET, 32 }, { MW_OP_BIND, 48 }, { MW_OP_LISTEN, 24 },
	{ MW_OP_CONNECT, 48 }, { MW_OP_SETSOCKOPT, 40 }, { MW_OP_GETSOCKOPT, 40 }, { MW_OP_STREAM, 24 },
	{ MW_OP_IOCTL, 40 },
	{ MW_OP_FLUSH, 24 }, { MW_OP_SHUTDOWN, 24 }, { MW_OP_AGAIN, 24 }, { MW_OP_URGENT, 24 },
	{ MW_OP_GRANT, 24 }, { MW_OP_REVOKE, 24 }, { MW_OP_VERB, 24 },
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

static struct mw_addr some_addr(uint16_t family)
{
	struct mw_addr a = { .family = family, .port = 80, .addr = { 10, 1, 2, 3 } };

	return a;
}

static struct mw_req good_request(uint32_t op)
{
	struct mw_req q;

	memset(&q, 0, sizeof(q));
	q.slot = 5;
	q.gen = 7;
	if (op == MW_OP_HELLO)
		q.u.hello.version = MW_VERSION;
	if (op == MW_OP_SOCKET)
		q.u.socket = (struct mw_req_socket){ .cookie = 99, .family = MW_FAMILY_IP4, .type = MW_TYPE_STREAM };
	if (op == MW_OP_BIND || op == MW_OP_CONNECT)
		q.u.addr = some_addr(MW_FAMILY_IP4);
	if (op == MW_OP_LISTEN)
		q.u.listen.backlog = -1;
	if (op == MW_OP_SETSOCKOPT || op == MW_OP_GETSOCKOPT)
		q.u.option = (struct mw_req_option){ .level = 6, .name = 1, .bytes = -1 };
	if (op == MW_OP_IOCTL)
		q.u.option.level = 0x541b;
	if (op == MW_OP_FLUSH)
		q.u.flush.tag = 0xffffffffu;
	if (op == MW_OP_SHUTDOWN)
		q.u.shutdown.how = 2;
	if (op == MW_OP_URGENT)
		q.u.urgent = (struct mw_req_urgent){ .what = MW_URGENT_SEND, .byte = 255 };
	if (op == MW_OP_GRANT)
		q.u.grant = (struct mw_req_grant){ .rx_pages = 1, .tx_pages = 2 };
	msg_request_seal(&q, op, 1234);
	return q;
}

static void refused(const void *record, size_t n)
{
	struct mw_req got, before;
	void *exact = malloc(n ? n : 1); /* ASan sees a read past the record */

	memset(&got, 0x5a, sizeof(got));
	before = got;
	memcpy(exact, record, n);
	assert_int_equal(msg_request_check(&got, exact, n), -EPROTO);
	assert_memory_equal(&got, &before, sizeof(got));
	free(exact);
}

static void request_lengths(void **state)
{
	struct mw_req q, got;
	uint8_t record[sizeof(q) + 8];

	(void)state;
	assert_int_equal(OPS, MW_OP_NUM - 1);
	for (size_t i = 0; i < OPS; i++) {
		q = good_request(ops[i].op);
		if (q.op == MW_OP_GRANT || q.op == MW_OP_VERB) /* never without a value: grants(), verbs() */
			continue;
		assert_int_equal(q.bytes, ops[i].bytes);
		assert_int_equal(msg_request_bytes(ops[i].op), ops[i].bytes);
		memset(&got, 0x5a, sizeof(got));
		assert_int_equal(msg_request_check(&got, &q, q.bytes), 0);
		assert_memory_equal(&got, &q, sizeof(q));
		memset(record, 0, sizeof(record));
		memcpy(record, &q, q.bytes);
		for (size_t n = 0; n < sizeof(record); n++)
			if (n != q.bytes)
				refused(record, n); /* the record's length is wrong */
		for (int by = -1; by <= 1; by += 2) {
			q.bytes = (uint16_t)(ops[i].bytes + (uint32_t)by);
			memcpy(record, &q, sizeof(q));
			refused(record, ops[i].bytes); /* what it says of itself is wrong */
			refused(record, q.bytes);      /* consistent, and wrong for the opcode */
		}
	}
}

/* Its value is of one length. */
static void verbs(void **state)
{
	uint8_t record[24 + MW_VERB_BYTES + 1] = { 0 };
	struct mw_req q = good_request(MW_OP_VERB), got;

	(void)state;
	assert_int_equal(q.bytes, 24 + MW_VERB_BYTES);
	memcpy(record, &q, 24);
	assert_int_equal(msg_request_check(&got, record, q.bytes), 0);
	for (size_t n = 0; n < sizeof(record); n++) {
		q.bytes = (uint16_t)n;
		memcpy(record, &q, 24);
		if (n != 24 + MW_VERB_BYTES)
			refused(record, n);
	}
}

static void request_opcodes(void **state)
{
	(void)state;
	for (uint32_t op = 0; op < 65536; op++) {
		struct mw_req q;

		if (op >= 1 && op < MW_OP_NUM)
			continue;
		assert_int_equal(msg_request_bytes(op), 0);
		memset(&q, 0, sizeof(q));
		q.op = (uint16_t)op;
		for (size_t i = 0; i < OPS; i++) {
			q.bytes = (uint16_t)ops[i].bytes;
			refused(&q, q.bytes);
		}
		q.bytes = 16;
		refused(&q, 16);
	}
	assert_int_equal(msg_request_bytes(0xffffffffu), 0);
	assert_int_equal(msg_request_bytes(65536 + MW_OP_HELLO), 0);
}

static void request_padding(void **state)
{
	struct mw_req q;

	(void)state;
#define REFUSED(op, change) do { \
		q = good_request(op); \
		change; \
		refused(&q, q.bytes); \
	} while (0)
	REFUSED(MW_OP_HELLO, q.u.hello.pad = 1);
	REFUSED(MW_OP_SOCKET, q.u.socket.lane = 0x80000000u);
	REFUSED(MW_OP_LISTEN, q.u.listen.pad = 1);
	REFUSED(MW_OP_FLUSH, q.u.flush.pad = 1);
	REFUSED(MW_OP_SHUTDOWN, q.u.shutdown.pad = 1);
	REFUSED(MW_OP_SHUTDOWN, q.u.shutdown.how = 3);
	REFUSED(MW_OP_URGENT, q.u.urgent.what = MW_URGENT_OWNER + 1);
	REFUSED(MW_OP_URGENT, q.u.urgent.what = MW_URGENT_TAKE);
	REFUSED(MW_OP_URGENT, q.u.urgent.byte = 256);
	REFUSED(MW_OP_IOCTL, q.u.option.name = 1);
	REFUSED(MW_OP_REVOKE, q.u.revoke.pad = 1);
	REFUSED(MW_OP_VERB, q.bytes = 24);
	for (uint32_t op = MW_OP_SETSOCKOPT; op <= MW_OP_IOCTL; op++) {
		if (op >= MW_OP_STREAM && op < MW_OP_IOCTL)
			continue;
		REFUSED(op, q.u.option.have = 1);
		REFUSED(op, q.u.option.absent = 8);
		REFUSED(op, q.u.option.pad = 1);
		REFUSED(op, q.u.option.have = MW_VALUE_MAX + 1);
		REFUSED(op, q.u.option.have = 0xffffffffu);
	}
	for (uint32_t op = MW_OP_BIND; op <= MW_OP_CONNECT; op += MW_OP_CONNECT - MW_OP_BIND) {
		REFUSED(op, q.u.addr.pad = 1);
		REFUSED(op, q.u.addr.family = 2); /* the host's AF_INET is not the wire's */
		REFUSED(op, q.u.addr.addr[4] = 1);
		REFUSED(op, q.u.addr.scope_id = 1);
	}
#undef REFUSED
}

/* An option's value follows: as long as the request says, and no longer than any may be. */
static void request_values(void **state)
{
	static uint8_t record[sizeof(struct mw_req) + MW_VALUE_MAX + 2];
	struct mw_req q, got;

	(void)state;
	for (uint32_t have = 0; have <= MW_VALUE_MAX + 1; have = have < 300 ? have + 1 : have + 1 + have / 5 * 4 % 7919) {
		uint32_t fixed = msg_request_bytes(MW_OP_SETSOCKOPT);

		q = good_request(MW_OP_SETSOCKOPT);
		q.u.option.have = have;
		msg_request_seal(&q, MW_OP_SETSOCKOPT, 5);
		assert_int_equal(q.bytes, fixed + have);
		memset(record, 7, sizeof(record));
		memcpy(record, &q, fixed);
		if (have <= MW_VALUE_MAX) {
			assert_int_equal(msg_request_check(&got, record, q.bytes), 0);
			assert_memory_equal(&got, &q, fixed);
		} else {
			refused(record, q.bytes);
		}
		refused(record, q.bytes - 1u);
		refused(record, q.bytes + 1u);
	}
	q.u.option.have = MW_VALUE_MAX + 1;
	msg_request_seal(&q, MW_OP_SETSOCKOPT, 5);
	memcpy(record, &q, msg_request_bytes(MW_OP_SETSOCKOPT));
	refused(record, q.bytes);
}

/* As many refs follow as both rings have pages, and those are powers of two. */
static void grants(void **state)
{
	static uint8_t record[65536];
	static const uint32_t bad[] = { 0, 3, MW_RING_BYTES_MAX / MW_PAGE * 2, 0x80000000u, 0xffffffffu };
	const uint32_t fixed = msg_request_bytes(MW_OP_GRANT);
	struct mw_req q = good_request(MW_OP_GRANT), got;

	(void)state;
	assert_int_equal(fixed, 24);
	for (uint32_t rx = 1; rx <= MW_RING_BYTES_MAX / MW_PAGE; rx *= 2) {
		q.u.grant.rx_pages = rx;
		msg_request_seal(&q, MW_OP_GRANT, 5);
		assert_int_equal(q.bytes, fixed + (rx + 2) * 4);
		memcpy(record, &q, fixed);
		assert_int_equal(msg_request_check(&got, record, q.bytes), 0);
		assert_memory_equal(&got, &q, fixed);
		refused(record, q.bytes - 4u);
		refused(record, q.bytes + 4u);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		q = good_request(MW_OP_GRANT);
		q.u.grant.tx_pages = bad[i];
		memcpy(record, &q, sizeof(q));
		refused(record, q.bytes);
		refused(record, fixed);
		q.u.grant = (struct mw_req_grant){ .rx_pages = bad[i], .tx_pages = 2 };
		memcpy(record, &q, sizeof(q));
		refused(record, q.bytes);
		refused(record, fixed);
	}
}

static void addresses(void **state)
{
	struct mw_addr a = some_addr(MW_FAMILY_IP4);

	(void)state;
	assert_true(msg_addr_ok(&a, false));
	for (int i = 4; i < 16; i++) {
		a.addr[i] = 1;
		assert_false(msg_addr_ok(&a, true));
		a.addr[i] = 0;
	}
	a.flowinfo = 1;
	assert_false(msg_addr_ok(&a, true));
	a = some_addr(MW_FAMILY_IP6);
	a.addr[15] = 1;
	a.scope_id = a.flowinfo = 3;
	assert_true(msg_addr_ok(&a, false));
	a.pad = 1;
	assert_false(msg_addr_ok(&a, false));
	for (uint32_t family = 0; family < 65536; family++) {
		memset(&a, 0, sizeof(a));
		a.family = (uint16_t)family;
		assert_int_equal(msg_addr_ok(&a, false), family == MW_FAMILY_IP4 || family == MW_FAMILY_IP6);
		assert_int_equal(msg_addr_ok(&a, true), family == 0 || family == MW_FAMILY_IP4 || family == MW_FAMILY_IP6);
	}
	/* No family: then nothing else is used, and all of it is zero. */
	for (size_t i = 0; i < sizeof(a); i++) {
		if (i == offsetof(struct mw_addr, family) || i == offsetof(struct mw_addr, family) + 1)
			continue;
		memset(&a, 0, sizeof(a));
		((uint8_t *)&a)[i] = 1;
		assert_false(msg_addr_ok(&a, true));
	}
}

static struct mw_reply good_reply(const struct mw_req *asked, uint32_t value_bytes)
{
	struct mw_reply r;

	memset(&r, 0, sizeof(r));
	r.op = asked->op;
	r.seq = asked->seq;
	r.bytes = (uint16_t)(sizeof(r) + value_bytes);
	r.value_bytes = value_bytes;
	return r;
}

/* The record: the header and a value behind it, in memory that is exactly as long. */
static int checked(struct mw_reply *got, const struct mw_reply *r, size_t n, const struct mw_req *asked)
{
	uint8_t *record = calloc(1, n ? n : 1);
	int result;

	memcpy(record, r, n < sizeof(*r) ? n : sizeof(*r));
	result = msg_reply_check(got, record, n, asked);
	free(record);
	return result;
}

static void reply_refused(const struct mw_reply *r, size_t n, const struct mw_req *asked)
{
	struct mw_reply got, before;

	memset(&got, 0x5a, sizeof(got));
	before = got;
	assert_int_equal(checked(&got, r, n, asked), -EPROTO);
	assert_memory_equal(&got, &before, sizeof(got));
}

static void replies(void **state)
{
	struct mw_req asked = good_request(MW_OP_GETSOCKOPT);
	struct mw_reply r, got;

	(void)state;
	asked.u.option.have = 256;
	for (uint32_t v = 0; v <= 256; v++) {
		r = good_reply(&asked, v);
		r.length = -1;
		assert_int_equal(checked(&got, &r, r.bytes, &asked), 0);
		assert_memory_equal(&got, &r, sizeof(r));
		reply_refused(&r, r.bytes - 1u, &asked);
		reply_refused(&r, r.bytes + 1u, &asked);
	}
	r = good_reply(&asked, 257); /* more than was asked for */
	reply_refused(&r, r.bytes, &asked);
#define REFUSED(change) do { \
		r = good_reply(&asked, 8); \
		change; \
		reply_refused(&r, sizeof(r) + 8, &asked); \
	} while (0)
	REFUSED(r.bytes++);
	REFUSED(r.value_bytes--);
	REFUSED(r.value_bytes = 0xfffffff0u);
	REFUSED(r.op = MW_OP_SETSOCKOPT);
	REFUSED(r.seq++);
	REFUSED(r.status = 1);
	REFUSED(r.status = 0x7fffffff);
	REFUSED(r.status = -4096);
	REFUSED(r.status = INT32_MIN);
#undef REFUSED
	r = good_reply(&asked, 0);
	for (size_t n = 0; n < sizeof(r); n++)
		reply_refused(&r, n, &asked);
	r.status = -4095;
	assert_int_equal(checked(&got, &r, r.bytes, &asked), 0);
	asked = good_request(MW_OP_SOCKET);
	r = good_reply(&asked, 1); /* only options have values */
	reply_refused(&r, r.bytes, &asked);
}

static void accepted(void **state)
{
	struct mw_accepted a = { .slot = 1, .gen = 3, .peer = some_addr(MW_FAMILY_IP4) }, got;
	uint8_t more[sizeof(a) + 1] = { 0 };

	(void)state;
	assert_int_equal(msg_accepted_check(&got, &a, sizeof(a)), 0);
	assert_memory_equal(&got, &a, sizeof(a));
	memcpy(more, &a, sizeof(a));
	assert_int_equal(msg_accepted_check(&got, more, sizeof(a) + 1), -EPROTO);
	assert_int_equal(msg_accepted_check(&got, more, sizeof(a) - 1), -EPROTO);
	assert_int_equal(msg_accepted_check(&got, more, 0), -EPROTO);
	a.pad = 1;
	assert_int_equal(msg_accepted_check(&got, &a, sizeof(a)), -EPROTO);
	a.pad = 0;
	a.ins = MW_INS_MAX;
	assert_int_equal(msg_accepted_check(&got, &a, sizeof(a)), -EPROTO);
	a.ins = MW_INS_MAX - 1;
	a.peer.pad = 1;
	assert_int_equal(msg_accepted_check(&got, &a, sizeof(a)), -EPROTO);
	a.peer.pad = 0;
	a.peer.family = 9;
	assert_int_equal(msg_accepted_check(&got, &a, sizeof(a)), -EPROTO);
}

static struct mw_dgram good_dgram(void)
{
	struct mw_dgram d = { .kind = MW_DG_DATA, .flags = MW_DGF_MORE, .tag = 7, .control_bytes = 48,
			      .peer = some_addr(MW_FAMILY_IP4) };
	struct mw_control c = { .bytes = sizeof(c) + 4, .type = 2 };

	memcpy(d.control, &c, sizeof(c));
	c.bytes = sizeof(c) + 8;
	memcpy(d.control + 24, &c, sizeof(c));
	return d;
}

static void dgram_refused(const struct mw_dgram *d, size_t n)
{
	struct mw_dgram got, before;
	size_t held = n < sizeof(*d) ? n : sizeof(*d);
	void *exact = malloc(held ? held : 1);

	memset(&got, 0x5a, sizeof(got));
	before = got;
	memcpy(exact, d, held);
	assert_int_equal(msg_dgram_check(&got, exact, n), -EPROTO);
	assert_memory_equal(&got, &before, sizeof(got));
	free(exact);
}

static void dgrams(void **state)
{
	struct mw_dgram d = good_dgram(), got;

	(void)state;
	for (size_t n = 0; n < sizeof(d); n++)
		dgram_refused(&d, n);
	for (size_t n = sizeof(d); n <= sizeof(d) + MW_DGRAM_PAYLOAD; n += 4097) {
		assert_int_equal(msg_dgram_check(&got, &d, n), 0);
		assert_memory_equal(&got, &d, sizeof(d));
	}
	assert_int_equal(msg_dgram_check(&got, &d, sizeof(d) + MW_DGRAM_PAYLOAD), 0);
	dgram_refused(&d, sizeof(d) + MW_DGRAM_PAYLOAD + 1);
	dgram_refused(&d, (size_t)-1);
#define REFUSED(change) do { \
		d = good_dgram(); \
		change; \
		dgram_refused(&d, sizeof(d)); \
	} while (0)
	REFUSED(d.kind = 0);
	REFUSED(d.kind = 3);
	REFUSED(d.flags = 0x10);
	REFUSED(d.pad = 1);
	REFUSED(d.peer.family = 2);
	REFUSED(d.peer.addr[5] = 1);
	REFUSED(d.control_bytes = 47);
	REFUSED(d.control_bytes = 40);
	REFUSED(d.control_bytes = 56);  /* a header of zeros */
	REFUSED(d.control_bytes = MW_DGRAM_CONTROL + 8);
	REFUSED(d.control_bytes = 0xfffffff8u);
	REFUSED(d.control[MW_DGRAM_CONTROL - 1] = 1); /* behind what is used */
	REFUSED(d.control_bytes = 24);  /* the second piece is behind it */
	for (uint64_t bytes = 0; bytes < 16; bytes++)
		REFUSED(memcpy(d.control, &bytes, 8));
	for (uint64_t bytes = 49; bytes; bytes <<= 1)
		REFUSED(memcpy(d.control, &bytes, 8));
	for (uint64_t bytes = 25; bytes < 1000; bytes += 8)
		REFUSED(memcpy(d.control + 24, &bytes, 8));
#undef REFUSED
	d = good_dgram();
	d.kind = MW_DG_ERROR;
	assert_int_equal(msg_dgram_check(&got, &d, sizeof(d)), 0);
	dgram_refused(&d, sizeof(d) + 1); /* an error has no payload */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_lengths),
		cmocka_unit_test(verbs), cmocka_unit_test(request_opcodes),
		cmocka_unit_test(request_padding),
		cmocka_unit_test(request_values),
		cmocka_unit_test(grants),
		cmocka_unit_test(addresses),
		cmocka_unit_test(replies),
		cmocka_unit_test(accepted),
		cmocka_unit_test(dgrams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
