// SPDX-License-Identifier: Apache-2.0
/*
 * dry.c - whom an order would hit.
 * Trust: as in policy.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/prefix.h"
#include "telem/policy.h"

struct member {
	struct mw_addr peer; /* as plain as it can be; its port is 0 */
	uint64_t flow;
};

static int by_peer(const void *a, const void *b)
{
	return memcmp(&((const struct member *)a)->peer, &((const struct member *)b)->peer, sizeof(struct mw_addr));
}

/* Accepted connections that a cap counts. */
static uint32_t counted(const struct verdict *v, struct member *all)
{
	uint32_t high = flow_slots_high(&telem.flows), n = 0;
	struct flow f;

	for (uint32_t i = 0; i < high && n < FLOWS_AT_ONCE; i++) {
		if (!flow_read(&telem.flows, i, &f) || !f.f.listener || (v->addr.port && f.f.local.port != v->addr.port))
			continue;
		addr_unmap(&f.f.peer);
		f.f.peer.port = 0;
		if (f.f.peer.family == v->addr.family)
			all[n++] = (struct member){ f.f.peer, f.f.id };
	}
	return n;
}

/* Those in groups that have too many: as many as the INS would say. */
static uint32_t above_cap(const struct verdict *v, uint64_t *flows)
{
	struct member *all = malloc(FLOWS_AT_ONCE * sizeof(*all));
	uint32_t n = all ? counted(v, all) : 0, count = 0;

	if (n)
		qsort(all, n, sizeof(*all), by_peer);
	for (uint32_t first = 0, end; first < n; first = end) {
		struct prefix p = { all[first].peer, v->prefix };

		for (end = first; end < n && prefix_has(&p, &all[end].peer); end++)
			;
		for (uint32_t i = first; i < end && end - first > v->number; i++)
			flows[count++] = all[i].flow;
	}
	free(all);
	return count;
}

static uint32_t matching(const char *expression, uint64_t *flows)
{
	char why[FILTER_WHY_BYTES];
	struct target t;
	uint32_t n = target_parse(&t, expression, why) < 0 ? 0 : target_flows(&t, flows);

	target_free(&t);
	return n;
}

static uint32_t whom(const struct verdict *v, const struct target *t, uint64_t *flows)
{
	char text[PREFIX_TEXT_BYTES > 64 ? PREFIX_TEXT_BYTES : 64];
	struct prefix p = { v->addr, v->prefix };
	uint32_t n = 0;

	switch (v->verb) {
	case VERB_BLOCK:
		return matching(prefix_text(&p, text), flows);
	case VERB_GATE: /* who has been let in stays */
		snprintf(text, sizeof(text), "state = held and local_port = %u", t->port);
		return matching(text, flows);
	case VERB_CAP:
		return above_cap(v, flows);
	case VERB_BACKLOG:
		return t->kind == TARGET_FLOW ? target_flows(t, flows) : target_listeners(t, flows);
	case VERB_SET:
		n = target_listeners(t, flows);
	}
	return n + target_flows(t, flows + n);
}

void dry_run(const struct order *o, const struct target *t, policy_done *fn, void *arg)
{
	uint64_t *flows = malloc(2 * FLOWS_AT_ONCE * sizeof(*flows)); /* listeners, and connections */

	if (flows)
		fn(arg, &o->v, NULL, flows, whom(&o->v, t, flows));
	else
		fn(arg, NULL, "no memory", NULL, 0);
	free(flows);
}
