// SPDX-License-Identifier: Apache-2.0
/*
 * msg_fuzz.c - libFuzzer target: records as a hostile peer sends them, to each of the checks of chan/msg.c.
 * Trust: none. The first byte picks the check, the second the request that a reply is said
 * to answer; the first one's upper bits make parts of the record right, which luck would seldom do.
 */
#include <stdlib.h>

#include "chan/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool good)
{
	if (!good)
		abort();
}

static bool has_value(uint32_t op)
{
	return op == MW_OP_SETSOCKOPT || op == MW_OP_GETSOCKOPT || op == MW_OP_IOCTL;
}

/* Bytes behind it. */
static uint32_t value_of(const struct mw_req *q)
{
	if (q->op == MW_OP_GRANT)
		return 4 * (q->u.grant.rx_pages + q->u.grant.tx_pages);
	if (q->op == MW_OP_VERB)
		return MW_VERB_BYTES;
	return has_value(q->op) ? q->u.option.have : 0;
}

static bool pages_ok(uint32_t n)
{
	return n && n <= MW_RING_BYTES_MAX / MW_PAGE && !(n & (n - 1));
}

static void request(const uint8_t *record, size_t n)
{
	struct mw_req q, again;
	uint32_t fixed;

	if (msg_request_check(&q, record, n) < 0)
		return;
	fixed = msg_request_bytes(q.op);
	must(fixed <= sizeof(q) && n >= fixed && q.bytes == n && memcmp(&q, record, fixed) == 0);
	for (size_t i = fixed; i < sizeof(q); i++)
		must(((uint8_t *)&q)[i] == 0);
	must(n == fixed + value_of(&q) && (!has_value(q.op) || q.u.option.have <= MW_VALUE_MAX));
	must(q.op != MW_OP_GRANT || (pages_ok(q.u.grant.rx_pages) && pages_ok(q.u.grant.tx_pages)));
	must((q.op != MW_OP_BIND && q.op != MW_OP_CONNECT) || msg_addr_ok(&q.u.addr, true));
	again = q;
	msg_request_seal(&again, q.op, q.seq);
	must(memcmp(&again, &q, sizeof(q)) == 0);
}

static void reply(const uint8_t *record, size_t n, uint8_t pick)
{
	struct mw_req asked;
	struct mw_reply r;

	memset(&asked, 0, sizeof(asked));
	asked.u.option.have = pick;
	msg_request_seal(&asked, 1 + pick % (MW_OP_NUM - 1), pick);
	if (msg_reply_check(&r, record, n, &asked) < 0)
		return;
	must(r.op == asked.op && r.seq == asked.seq && r.status <= 0 && r.status >= -4095);
	must(r.value_bytes <= (has_value(asked.op) ? pick : asked.op == MW_OP_VERB ? MW_VERB_BYTES : 0u) && r.value_bytes + sizeof(r) == n);
	must(memcmp(&r, record, sizeof(r)) == 0);
}

/* Requests and replies have op, bytes, seq in the same places. */
static void make_plausible(uint8_t *record, size_t n, uint8_t how, uint8_t pick)
{
	uint16_t op = (uint16_t)(1 + pick % (MW_OP_NUM - 1)), bytes = (uint16_t)n;
	uint32_t seq = pick, value_bytes = (uint32_t)(n - sizeof(struct mw_reply));
	uint8_t check = how % 4;

	if (n < sizeof(struct mw_reply) || check > 1)
		return;
	memcpy(record, &op, sizeof(op));
	memcpy(record + offsetof(struct mw_req, bytes), &bytes, sizeof(bytes));
	if (how & 0x20)
		memcpy(record + offsetof(struct mw_req, seq), &seq, sizeof(seq));
	if (check == 1 && how & 0x40)
		memcpy(record + offsetof(struct mw_reply, value_bytes), &value_bytes, sizeof(value_bytes));
}

static void accepted(const uint8_t *record, size_t n)
{
	struct mw_accepted a;

	if (msg_accepted_check(&a, record, n) < 0)
		return;
	must(n == sizeof(a) && memcmp(&a, record, n) == 0 && msg_addr_ok(&a.peer, true));
}

static void dgram(const uint8_t *record, size_t n)
{
	struct mw_dgram d;
	struct mw_control c;
	uint32_t at = 0, from = 0;
	int r;

	if (msg_dgram_check(&d, record, n) < 0)
		return;
	must(n >= sizeof(d) && memcmp(&d, record, sizeof(d)) == 0 && msg_addr_ok(&d.peer, true));
	must(d.control_bytes <= MW_DGRAM_CONTROL);
	for (; (r = msg_control_next(&c, d.control, d.control_bytes, &at)) > 0; from = at)
		must(c.bytes >= sizeof(c) && c.bytes <= d.control_bytes - from && at > from && at <= d.control_bytes);
	must(r == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *record; /* unaligned on purpose, and exactly as long as it is */

	if (n < 2)
		return 0;
	record = malloc(n);
	if (!record)
		abort();
	memcpy(record, data, n);
	if (data[0] & 0x80)
		make_plausible(record + 2, n - 2, data[0], data[1]);
	switch (data[0] % 4) {
	case 0: request(record + 2, n - 2); break;
	case 1: reply(record + 2, n - 2, data[1]); break;
	case 2: accepted(record + 2, n - 2); break;
	default: dgram(record + 2, n - 2); break;
	}
	free(record);
	return 0;
}
