/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target.h - whom a verb is for: all, an id, :PORT, an address or prefix of peers, or an expression over a flow's fields.
 * Used inside telem/.
 * Trust: the text is anybody's.
 */
#ifndef MW_TELEM_TARGET_H
#define MW_TELEM_TARGET_H

#include "telem/filter.h"

struct target {
	enum { TARGET_FLOW, TARGET_PORT, TARGET_ALL, TARGET_FILTER } kind;
	uint64_t flow;
	uint32_t port;
	struct filter *filter;
};

/* 0, or -EINVAL with `why`. target_free undoes. */
int target_parse(struct target *t, const char *text, char why[FILTER_WHY_BYTES]);
void target_free(struct target *t);

/* Ids of the flows that are chosen, FLOWS_AT_ONCE at most: their number. By TARGET_FLOW that one, whatever it is. */
#define FLOWS_AT_ONCE 65536u /* one for each slot */
uint32_t target_flows(const struct target *t, uint64_t *flows);
/* Of a TARGET_PORT or TARGET_ALL: its listeners. flows may be NULL. */
uint32_t target_listeners(const struct target *t, uint64_t *flows);

/* Connections alone: no listener, no socket without a peer. */
bool target_has(const struct target *t, const struct flow *f, uint64_t now_ns);

#endif
