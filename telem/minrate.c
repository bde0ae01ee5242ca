// SPDX-License-Identifier: Apache-2.0
/*
 * minrate.c - a minimum rate: who owes bytes and brings fewer than so many a second, for longer than the grace, is reset.
 * Trust: as in flow.h.
 *
 * A peer owes while it has begun a request that the application has not answered (the last bytes were the peer's, and its header is
 * not complete or the application waits for more), and while what was written to it does not leave. An idle keep-alive
 * connection owes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "telem/policy.h"
#include "telem/target.h"

#define LOOK_MS 500

/* What a socket had moved when its present debt began. */
struct debt {
	uint64_t flow, rule, since_ns, bytes;
};

static struct timer timer;
static struct debt *debts;
static struct verdict rules[MINRATES];
static struct target targets[MINRATES];
static uint32_t rule_count;

static bool owes(const struct flow *f)
{
	bool sending = f->f.last_rx_ns > f->f.last_tx_ns && f->unread == 0, waiting = f->unsent > 0, silent = !f->f.first_rx_ns;

	return f->f.state == MW_ST_ESTABLISHED && f->f.handed_ns && (sending || waiting || silent);
}

static void reset(const struct verdict *rule, const struct flow *f)
{
	struct order o = { .v = { .verb = VERB_RESET } };

	snprintf(o.v.target, sizeof(o.v.target), "%llu", (unsigned long long)f->f.id);
	snprintf(o.v.who, sizeof(o.v.who), "verdict %llu", (unsigned long long)rule->id);
	snprintf(o.v.why, sizeof(o.v.why), "less than %llu bytes a second", (unsigned long long)rule->number);
	snprintf(o.v.what, sizeof(o.v.what), "reset");
	policy_order(&o, policy_ignore, NULL);
}

/* True when it was below the rate for longer than the grace. */
static bool too_slow(struct debt *d, const struct flow *f, const struct verdict *rule, uint64_t now)
{
	uint64_t bytes = f->f.rx_bytes + f->f.tx_bytes, spent;

	if (!owes(f)) {
		d->flow = 0;
		return false;
	}
	if (d->flow != f->f.id || d->rule != rule->id)
		*d = (struct debt){ f->f.id, rule->id, now, bytes };
	spent = now - d->since_ns;
	if (spent < rule->grace_ns)
		return false;
	if ((double)(bytes - d->bytes) * 1e9 / (double)spent < (double)rule->number)
		return true;
	*d = (struct debt){ f->f.id, rule->id, now, bytes }; /* it kept to it: the next stretch begins */
	return false;
}

static void look(struct timer *t)
{
	uint32_t high = flow_slots_high(&telem.flows);
	uint64_t now = loop_now_ns(), steady = loop_steady_ns();
	struct flow f;

	for (uint32_t i = 0; i < high && rule_count; i++) {
		if (!flow_read(&telem.flows, i, &f))
			continue;
		for (uint32_t n = 0; n < rule_count; n++) {
			struct debt *d = &debts[(size_t)i * MINRATES + n];

			if (target_has(&targets[n], &f, now) && too_slow(d, &f, &rules[n], steady)) {
				reset(&rules[n], &f);
				break;
			}
		}
	}
	if (rule_count)
		loop_timer(t, LOOK_MS);
}

static bool add(const struct verdict *v, void *arg)
{
	char why[FILTER_WHY_BYTES];

	(void)arg;
	if (v->verb != VERB_MINRATE || v->status != VERDICT_HOLDS)
		return true;
	if (target_parse(&targets[rule_count], v->target, why) == 0)
		rules[rule_count++] = *v;
	return rule_count < MINRATES;
}

void minrate_watch(void)
{
	for (uint32_t i = 0; i < rule_count; i++)
		target_free(&targets[i]);
	rule_count = 0;
	policy_each(add, NULL);
	if (rule_count && !debts)
		debts = calloc((size_t)MW_SLOTS_MAX * MINRATES, sizeof(*debts));
	if (!debts)
		rule_count = 0;
	timer.fn = look;
	if (rule_count && !timer.due_ns)
		loop_timer(&timer, LOOK_MS);
}
