// SPDX-License-Identifier: Apache-2.0
/*
 * target.c - see target.h.
 * Trust: as in the header.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/prefix.h"
#include "telem/target.h"
#include "telem/telem.h"

static bool number(const char *text, uint64_t *n)
{
	char *end;

	*n = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && !*end;
}

int target_parse(struct target *t, const char *text, char why[FILTER_WHY_BYTES])
{
	char expression[80];
	struct prefix p;
	uint64_t n;

	memset(t, 0, sizeof(*t));
	if (!strcmp(text, "all")) {
		t->kind = TARGET_ALL;
	} else if (text[0] == ':' && number(text + 1, &n) && n < 65536) {
		t->kind = TARGET_PORT;
		t->port = (uint32_t)n;
	} else if (number(text, &n)) {
		t->flow = n;
	} else {
		t->kind = TARGET_FILTER;
		snprintf(expression, sizeof(expression), "peer = %.60s", text);
		t->filter = filter_parse(prefix_parse(&p, text) == 0 ? expression : text, why);
		return t->filter ? 0 : -EINVAL;
	}
	return 0;
}

void target_free(struct target *t)
{
	filter_free(t->filter);
	t->filter = NULL;
}

static bool is_connection(const struct flow *f)
{
	return f->f.peer.family != MW_FAMILY_NONE && f->f.state >= MW_ST_CONNECTING && f->f.state != MW_ST_CLOSED;
}

bool target_has(const struct target *t, const struct flow *f, uint64_t now_ns)
{
	if (!is_connection(f))
		return false;
	switch (t->kind) {
	case TARGET_FLOW:
		return f->f.id == t->flow;
	case TARGET_PORT:
		return f->f.local.port == t->port;
	case TARGET_ALL:
		return true;
	case TARGET_FILTER:
		return filter_match(t->filter, f, now_ns);
	}
	return false;
}

static bool is_listener(const struct target *t, const struct flow *f)
{
	return f->f.state == MW_ST_LISTEN && (t->kind == TARGET_ALL || f->f.local.port == t->port);
}

uint32_t target_listeners(const struct target *t, uint64_t *flows)
{
	bool any = t->kind == TARGET_PORT || t->kind == TARGET_ALL;
	uint32_t high = any ? flow_slots_high(&telem.flows) : 0, count = 0;
	struct flow f;

	for (uint32_t i = 0; i < high && count < FLOWS_AT_ONCE; i++)
		if (flow_read(&telem.flows, i, &f) && is_listener(t, &f)) {
			if (flows)
				flows[count] = f.f.id;
			count++;
		}
	return count;
}

uint32_t target_flows(const struct target *t, uint64_t *flows)
{
	uint32_t high = flow_slots_high(&telem.flows), count = 0;
	uint64_t now = loop_now_ns();
	struct flow f;

	if (t->kind == TARGET_FLOW) {
		flows[0] = t->flow;
		return 1;
	}
	for (uint32_t i = 0; i < high && count < FLOWS_AT_ONCE; i++)
		if (flow_read(&telem.flows, i, &f) && target_has(t, &f, now))
			flows[count++] = f.f.id;
	return count;
}
