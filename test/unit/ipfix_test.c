// SPDX-License-Identifier: Apache-2.0
/*
 * ipfix_test.c - flow records become IPFIX messages that libfixbuf reads again, value by value; the table's elements are sound.
 * Trust: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fixbuf/public.h>

#include "chan/msg.h"
#include "telem/ipfix.h"

#define BYTES_MAX (1u << 20)

static uint8_t stream[BYTES_MAX];
static size_t stream_bytes, records, messages;
static void *last_to;

static void take(void *to, struct ipfix_message *m)
{
	assert_true(m->bytes > 16 && m->bytes <= IPFIX_MESSAGE_MAX);
	assert_int_equal(m->data[2] << 8 | m->data[3], m->bytes);
	assert_true(stream_bytes + m->bytes <= BYTES_MAX);
	memcpy(stream + stream_bytes, m->data, m->bytes);
	stream_bytes += m->bytes;
	records += m->records;
	messages++;
	last_to = to;
}

static struct mw_addr address(uint8_t first, uint16_t port, uint32_t family)
{
	struct mw_addr a = { .family = (uint8_t)family, .port = port };

	for (int i = 0; i < (family == MW_FAMILY_IP4 ? 4 : 16); i++)
		a.addr[i] = (uint8_t)(first + i);
	return a;
}

static struct flow flow(bool accepted, uint32_t family)
{
	struct flow f = { .unread = 11, .unsent = 12, .open = true };

	f.f.id = 0x500000007;
	f.f.type = MW_TYPE_STREAM;
	f.f.state = MW_ST_CLOSING;
	f.f.peer = address(10, 1111, family);
	f.f.local = address(60, 80, family);
	f.f.listener = accepted ? 0x100000001 : 0;
	f.f.pid = 4242;
	f.f.opened_ns = 1700000000123456789;
	f.f.closed_ns = 1700000001000000000;
	f.f.first_rx_ns = f.f.last_rx_ns = 1700000000500000000;
	f.f.peer_fin_ns = 1700000000900000000;
	f.f.rx_bytes = 1000;
	f.f.tx_bytes = 0x123456789a;
	f.f.rx_silence_ns = 77;
	f.f.head = MW_HEAD_PARTIAL;
	f.f.end = MW_END_CLOSED;
	f.f.error = -5;
	for (int i = 0; i < (int)MW_OPT_NUM; i++)
		f.f.option[i].app = f.f.option[i].operator = MW_OPT_UNSET;
	f.f.option[MW_OPT_LINGER].operator = 3;
	return f;
}

static void send_flow(const struct flow *f, enum ipfix_kind kind, uint64_t rx, uint64_t tx)
{
	struct ipfix_report r = { .flow = f, .kind = kind, .rx = rx, .tx = tx };

	ipfix_encode_flow(&r);
}

/* --- reading it again --- */

static fBuf_t *reader(fbSession_t **session, fbInfoModel_t *model)
{
	fBuf_t *b;

	*session = fbSessionAlloc(model);
	b = fBufAllocForCollection(*session, NULL);
	fBufSetAutomaticMode(b, FALSE);
	fBufSetBuffer(b, stream, stream_bytes);
	return b;
}

/* The next record of that template; its values by libfixbuf's own reading, one element at a time. */
struct wanted {
	uint32_t pen;
	uint16_t id, bytes;
	uint64_t value;
};

static fbTemplate_t *template_of(fBuf_t *b, uint16_t *tid)
{
	GError *error = NULL;
	fbTemplate_t *t = fBufNextCollectionTemplate(b, tid, &error);

	while (!t && error && g_error_matches(error, FB_ERROR_DOMAIN, FB_ERROR_EOM)) {
		g_clear_error(&error);
		t = fBufNextCollectionTemplate(b, tid, &error);
	}
	g_clear_error(&error);
	return t;
}

static uint64_t read_value(const uint8_t *p, uint16_t bytes)
{
	uint64_t v = 0;
	uint32_t u32;
	uint16_t u16;

	if (bytes == 8) {
		memcpy(&v, p, 8);
	} else if (bytes == 4) {
		memcpy(&u32, p, 4);
		v = u32;
	} else if (bytes == 2) {
		memcpy(&u16, p, 2);
		v = u16;
	} else {
		v = *p;
	}
	return v;
}

static void check_record(const struct wanted *want, size_t count)
{
	fbInfoModel_t *model = fbInfoModelAlloc();
	fbSession_t *session;
	fBuf_t *b = reader(&session, model);
	fbTemplate_t *inside = fbTemplateAlloc(model), *t;
	uint8_t record[1024];
	size_t bytes = sizeof(record), flows = 0;
	GError *error = NULL;
	uint16_t tid;

	for (size_t i = 0; i < count; i++) {
		fbInfoElement_t x = { .ent = want[i].pen, .num = want[i].id, .len = want[i].bytes, .flags = FB_IE_F_ENDIAN };

		if (want[i].pen == IPFIX_PEN) {
			x.ref.name = "own";
			x.type = FB_UINT_64;
			fbInfoModelAddElement(model, &x);
		}
		assert_true(fbTemplateAppend(inside, &x, &error));
	}
	assert_int_equal(fbSessionAddTemplate(session, TRUE, 400, inside, &error), 400);
	assert_true(fBufSetInternalTemplate(b, 400, &error));
	while ((t = template_of(b, &tid))) {
		size_t at = 0;

		bytes = sizeof(record);
		if (!fBufNext(b, record, &bytes, &error))
			break;
		if (tid != 256 && tid != 257)
			continue;
		flows++;
		for (size_t i = 0; i < count; at += want[i++].bytes)
			assert_int_equal(read_value(record + at, want[i].bytes), want[i].value);
	}
	g_clear_error(&error);
	assert_int_equal(flows, 1);
	fBufFree(b);
	fbInfoModelFree(model);
}

static void fresh(void)
{
	ipfix_encode_flush();
	stream_bytes = records = messages = 0;
	ipfix_encode_announce(&stream, 5);
	assert_ptr_equal(last_to, &stream);
}

static void accepted(void **state)
{
	static const struct wanted want[] = {
		{ 0, 8, 4, 0x0a0b0c0d }, { 0, 12, 4, 0x3c3d3e3f }, { 0, 7, 2, 1111 }, { 0, 11, 2, 80 }, { 0, 4, 1, 6 },
		{ 0, 148, 8, 0x500000007 }, { 0, 152, 8, 1700000000123 }, { 0, 153, 8, 1700000001000 }, { 0, 1, 8, 300 },
		{ 29305, 1, 8, 400 }, { 0, 231, 8, 300 }, { 0, 232, 8, 400 }, { 0, 6, 1, 0x1b }, { 29305, 6, 1, 0x13 },
		{ 0, 136, 1, 3 }, { 0, 61, 1, 0 }, { 0, 239, 1, 1 }, { IPFIX_PEN, 100, 1, IPFIX_CLOSE }, { IPFIX_PEN, 103, 4, 4242 },
		{ IPFIX_PEN, 113, 8, 1000 }, { IPFIX_PEN, 114, 8, 0x123456789a }, { IPFIX_PEN, 117, 8, 11 }, { IPFIX_PEN, 119, 8, 77 },
		{ IPFIX_PEN, 122, 1, MW_HEAD_PARTIAL }, { IPFIX_PEN, 125, 4, 0xffffffff }, { IPFIX_PEN, 126, 4, 3 },
		{ IPFIX_PEN, 144, 4, 0xfffffffb },
	};
	struct flow f = flow(true, MW_FAMILY_IP4);

	(void)state;
	fresh();
	send_flow(&f, IPFIX_CLOSE, 300, 400);
	ipfix_encode_flush();
	assert_null(last_to);
	check_record(want, sizeof(want) / sizeof(want[0]));
}

static void connected(void **state)
{
	static const struct wanted want[] = {
		{ 0, 8, 4, 0x3c3d3e3f }, { 0, 12, 4, 0x0a0b0c0d }, { 0, 7, 2, 80 }, { 0, 11, 2, 1111 }, { 0, 1, 8, 400 },
		{ 29305, 1, 8, 300 }, { 0, 231, 8, 400 }, { 0, 61, 1, 1 }, { 0, 136, 1, 4 }, { IPFIX_PEN, 100, 1, IPFIX_VERDICT },
	};
	struct flow f = flow(false, MW_FAMILY_IP4);

	(void)state;
	fresh();
	f.f.verdict = 9;
	send_flow(&f, IPFIX_VERDICT, 300, 400);
	ipfix_encode_flush();
	check_record(want, sizeof(want) / sizeof(want[0]));
}

static void six(void **state)
{
	static const struct wanted want[] = { { 0, 7, 2, 1111 }, { 0, 11, 2, 80 }, { 0, 136, 1, 2 } };
	struct flow f = flow(true, MW_FAMILY_IP6);
	const uint8_t *peer = f.f.peer.addr, *at = stream;
	bool found = false;

	(void)state;
	fresh();
	send_flow(&f, IPFIX_ACTIVE, 0, 0);
	ipfix_encode_flush();
	check_record(want, sizeof(want) / sizeof(want[0]));
	for (; at + 16 <= stream + stream_bytes; at++)
		found |= memcmp(at, peer, 16) == 0;
	assert_true(found);
}

/* Each message is full before the next begins, and knows its records: one sequence for a whole session. */
static void many(void **state)
{
	struct flow f = flow(true, MW_FAMILY_IP4);

	(void)state;
	fresh();
	records = messages = 0;
	for (int i = 0; i < 1000; i++)
		send_flow(&f, IPFIX_CLOSE, 1, 1);
	ipfix_encode_flush();
	assert_int_equal(records, 1000);
	assert_true(messages < 600);
}

/* A number is given once; ours are from 100 up. */
static void elements(void **state)
{
	(void)state;
	for (size_t i = 0; i < flow_field_count; i++) {
		const struct flow_element *e = &flow_fields[i].element;

		if (!e->id)
			continue;
		if (e->pen) {
			assert_int_equal(e->pen, IPFIX_PEN);
			assert_true(e->id > 100 && e->id < 0x4000);
		}
		assert_int_equal(!!e->id6, flow_fields[i].type == FLOW_ADDR);
		for (size_t j = 0; j < i; j++)
			assert_false(flow_fields[j].element.id == e->id && flow_fields[j].element.pen == e->pen);
	}
}

static int start(void **state)
{
	(void)state;
	return ipfix_encode_init("app", 0, take);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elements), cmocka_unit_test(accepted), cmocka_unit_test(connected), cmocka_unit_test(six),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests_name("ipfix", tests, start, NULL);
}
