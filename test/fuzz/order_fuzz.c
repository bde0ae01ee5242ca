// SPDX-License-Identifier: Apache-2.0
/*
 * order_fuzz.c - libFuzzer target: any line of the control socket as an order, or any requests of the MAGICWAND stream. What is taken names
 * a verb, has texts that end, and is carried out against an INS that answers anything: its giver is answered exactly once, and it can be
 * undone.
 * Trust: none.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chan/msg.h"
#include "link/memfd.h"
#include "telem/netflow.h"
#include "telem/order.h"
#include "telem/owner.h"
#include "telem/target.h"

#define SLOTS 64
#define ASKED_MAX 1024

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct telem telem;
static struct {
	struct verb_msg m;
	verb_answer *fn;
	void *arg;
} asked[ASKED_MAX];
static uint32_t asked_count, answers, lies;
static volatile uint64_t hit; /* so that the ids are read */

/* --- what mw-telem has beside it --- */

int verbs_ask(const struct verb_msg *m, const void *value, verb_answer *fn, void *arg)
{
	uint8_t copy[VERB_VALUE_MAX];

	if (m->bytes > VERB_VALUE_MAX || m->verb == 0 || m->verb >= VERB_NUM)
		abort();
	memcpy(copy, value ? value : copy, value ? m->bytes : 0);
	if (asked_count == ASKED_MAX)
		return -ENOMEM;
	asked[asked_count].m = *m;
	asked[asked_count].fn = fn;
	asked[asked_count++].arg = arg;
	return 0;
}

void sample_fresh(sample_answer *fn, void *arg)
{
	fn(arg, lies & 1);
}

void owner_asks(uint32_t kind, uint32_t pid, owner_done *fn, void *arg)
{
	if (kind != OWNER_RUNNING && kind != OWNER_INTERRUPT)
		abort();
	fn(arg, pid & 1 ? 0 : -ESRCH);
}

void loop_timer(struct timer *t, uint32_t ms)
{
	t->due_ns = ms;
}

uint64_t loop_now_ns(void)
{
	return 1800000000ull * 1000000000u;
}

uint64_t loop_steady_ns(void)
{
	return 1800000000ull * 1000000000u;
}

void audit(const struct verdict *v, const char *event)
{
	if (!*event || !*verb_name(v->verb))
		abort();
}

void minrate_watch(void)
{
}

/* --- orders --- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int state = memfd_make_plain("state", POLICY_BYTES, &(void *){ NULL });

	(void)argc;
	(void)argv;
	telem.app = "fuzz";
	if (dup2(state, TELEM_STATE_FD) < 0 || memfd_make(&telem.flows.arena, SLOTS, 4096, 4096) < 0 ||
	    memfd_make_tele(&telem.flows.tele, SLOTS) < 0 || policy_init() < 0)
		abort();
	mw_store(MW_WORD(&tele_header(&telem.flows.tele)->slots_high), SLOTS);
	for (uint32_t i = 0; i < SLOTS; i += 2) {
		struct mw_flow *f = (struct mw_flow *)(mw_uintptr)tele_flow(&telem.flows.tele, i);

		*f = (struct mw_flow){ .id = 1ull << 32 | i, .state = i ? MW_ST_ESTABLISHED : MW_ST_LISTEN, .type = MW_TYPE_STREAM };
		f->local.port = 80;
		f->local.family = MW_FAMILY_IP4;
		f->peer = i ? (struct mw_addr){ .family = MW_FAMILY_IP4, .addr = { 192, 0, 2, (uint8_t)i } } : f->peer;
	}
	return 0;
}

static void done(void *arg, const struct verdict *v, const char *why, const uint64_t *flows, uint32_t count)
{
	uint64_t *id = arg;
	json_t *o = v ? verdict_json(v) : NULL;

	for (uint32_t i = 0; i < count; i++)
		hit = flows[i];
	if ((!v && !why) || (v && !o))
		abort();
	*id = v ? v->id : 0;
	json_decref(o);
	answers++;
}

/* Some have ended, some refuse, and numbers are what they like. */
static void answer(void)
{
	for (uint32_t i = 0; i < asked_count; i++) {
		struct verb_msg m = asked[i].m;
		uint8_t value[VERB_VALUE_MAX];

		memset(value, (int)(lies >> 8), sizeof(value));
		lies = lies * 1103515245 + 12345;
		m.status = lies >> 16 & 3 ? 0 : -(int32_t)(1 + (lies >> 20 & 127));
		m.number = lies & 0x10000 ? UINT64_MAX : lies >> 20;
		asked[i].fn(asked[i].arg, &m, value);
	}
	asked_count = 0;
}

static void check(const struct order *o)
{
	if (!strcmp(verb_name(o->v.verb), "?") || o->v.bytes > VERDICT_VALUE || strnlen(o->v.target, VERDICT_TARGET) == VERDICT_TARGET ||
	    strnlen(o->v.what, VERDICT_WHAT) == VERDICT_WHAT || strnlen(o->v.who, VERDICT_WHO) == VERDICT_WHO ||
	    strnlen(o->v.why, VERDICT_WHY) == VERDICT_WHY)
		abort();
}

static void give(const struct order *o)
{
	uint64_t id = 0, other = 0;

	answers = 0;
	policy_order(o, done, &id);
	answer();
	if (answers != 1)
		abort();
	if (id && !o->dry_run) {
		policy_undo(id, "fuzz", done, &other);
		answer();
		if (answers != 2)
			abort();
	}
}

/* --- requests of the stream --- */

static void responded(void *arg, int32_t status, uint64_t value, uint64_t micros)
{
	bool *was = arg;

	if (*was || status > 0 || status < -4095 || (status && (value || micros)))
		abort();
	*was = true;
}

static bool holds(const struct verdict *v, void *arg)
{
	if (v->status != VERDICT_HOLDS)
		return true;
	*(uint64_t *)arg = v->id;
	return false;
}

static void undo_all(void)
{
	uint64_t id, other;

	while (!policy_each(holds, &id)) {
		policy_undo(id, "fuzz", done, &other);
		answer();
	}
}

static void stream(const uint8_t *data, size_t n)
{
	struct mwnf_request q;
	int took;

	while ((took = mwnf_request(&q, data, n)) > 0) {
		bool was = false;

		if (q.by_socket && q.id & 1) /* one that there may be, which luck would seldom name */
			q.socket = mwnf_id(NETFLOW_INS, 1ull << 32 | q.socket % SLOTS);
		feature_ask(&q, "process 4711", responded, &was);
		answer();
		if (!was)
			abort();
		data += took;
		n -= (size_t)took;
	}
	undo_all();
}

/* --- the target --- */

static void line(const uint8_t *data, size_t n)
{
	json_t *q = json_loadb((const char *)data, n, 0, NULL);
	char why[FILTER_WHY_BYTES] = "";
	struct order o;

	if (q && order_parse(&o, q, "uid 0 (pid 1)", why)) {
		check(&o);
		give(&o);
	} else if (q && !why[0]) {
		abort();
	}
	json_decref(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct mwnf_request q;

	lies = (uint32_t)n;
	if (mwnf_request(&q, data, n) > 0)
		stream(data, n);
	else
		line(data, n);
	return 0;
}
