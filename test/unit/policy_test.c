/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telem/policy.c: an INS that answers for a verdict only when thousands more were given is taken to mean that one and no other.
 * Trust: none in its answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "chan/msg.h"
#include "link/memfd.h"
#include "telem/order.h"

struct telem telem;
static struct question {
	verb_answer *fn;
	void *arg;
	struct verb_msg m;
} kept;
static bool keep;               /* the next question is not answered yet */
static struct verdict last;     /* of the last answer to an order */

/* --- what mw-telem has beside it --- */

int verbs_ask(const struct verb_msg *m, const void *value, verb_answer *fn, void *arg)
{
	struct verb_msg answer = *m;

	(void)value;
	answer.status = 0;
	answer.number = 1;
	if (keep)
		kept = (struct question){ fn, arg, answer };
	else
		fn(arg, &answer, NULL);
	keep = false;
	return 0;
}

void sample_fresh(sample_answer *fn, void *arg)
{
	fn(arg, true);
}

void loop_timer(struct timer *t, uint32_t ms)
{
	(void)t, (void)ms;
}

uint64_t loop_now_ns(void)
{
	return 1;
}

uint64_t loop_steady_ns(void)
{
	return 1;
}

void audit(const struct verdict *v, const char *event)
{
	(void)v, (void)event;
}

void minrate_watch(void)
{
}

/* --- orders --- */

static void done(void *arg, const struct verdict *v, const char *why, const uint64_t *flows, uint32_t count)
{
	(void)arg, (void)flows, (void)count;
	assert_null(why);
	last = *v;
}

static uint64_t order(const char *text)
{
	json_t *q = json_loads(text, 0, NULL);
	char why[FILTER_WHY_BYTES] = "";
	struct order o;

	last = (struct verdict){ 0 };
	assert_true(order_parse(&o, q, "test", why));
	policy_order(&o, done, NULL);
	json_decref(q);
	return last.id;
}

static bool find(const struct verdict *v, void *arg)
{
	struct verdict *wanted = arg;

	if (v->id == wanted->id)
		*wanted = *v;
	return v->id != wanted->id;
}

static void late(void **state)
{
	static const char block[] = "{\"verb\":\"block\",\"target\":\"192.0.2.1\"}";
	struct verdict v = { 0 };
	uint64_t second;

	(void)state;
	keep = true;
	assert_int_equal(order(block), 0);      /* the first verdict: no answer yet */
	second = order(block);                  /* replaces it */
	assert_int_equal(second, 2);
	for (uint32_t i = 0; i < VERDICTS; i++)
		assert_true(order("{\"verb\":\"close\",\"target\":\"4294967298\"}") > second);
	kept.fn(kept.arg, &kept.m, NULL);
	assert_int_equal(last.id, 1);
	assert_int_equal(last.verb, VERB_BLOCK);
	assert_false(policy_each(find, &(struct verdict){ .id = second }));
	v.id = 1;
	assert_false(policy_each(find, &v));
	assert_int_equal(v.status, VERDICT_REPLACED);
	for (uint32_t i = 0; i < VERDICTS; i++) /* now its place is anybody's */
		assert_true(order("{\"verb\":\"close\",\"target\":\"4294967298\"}") > second);
	assert_true(policy_each(find, &(struct verdict){ .id = 1 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(late) };
	int state = memfd_make_plain("state", POLICY_BYTES, &(void *){ NULL });

	telem.app = "test";
	if (dup2(state, TELEM_STATE_FD) < 0 || memfd_make(&telem.flows.arena, 64, 4096, 4096) < 0 ||
	    memfd_make_tele(&telem.flows.tele, 64) < 0 || policy_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
