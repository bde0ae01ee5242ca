/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow.h - flow records read out of an arena, and the table that names their fields. Used by ctl/.
 * Trust: the arena is written by others while it is read; a record is taken only when its generation did not
 * change meanwhile, and nothing in it is used as an index.
 */
#ifndef MW_TELEM_FLOW_H
#define MW_TELEM_FLOW_H

#include "chan/arena.h"

/* One flow: the record, and what the ring's words say of it now. */
struct flow {
	struct mw_flow f;
	uint64_t unread; /* bytes received and not yet read by the application */
	uint64_t unsent; /* bytes written by it and not yet taken by the stack */
	bool open;
};

enum flow_type { FLOW_COUNT, FLOW_TIME, FLOW_ADDR, FLOW_PORT, FLOW_STATE, FLOW_END, FLOW_ERROR, FLOW_PID, FLOW_TYPE };

/* The table that every output is made from. */
struct flow_field {
	const char *name; /* as in JSON; never changes */
	enum flow_type type;
	const char *unit;
	size_t offset;    /* in struct flow */
	const char *help;
};
extern const struct flow_field flow_fields[];
extern const size_t flow_field_count;

const char *flow_state_name(uint32_t state);
const char *flow_end_name(uint32_t end);
const char *flow_type_name(uint32_t type); /* tcp, udp */

/* The flow in a slot. False when there is none, or it ended while it was being read. */
bool flow_read(const struct mw_view *v, uint32_t slot, struct flow *out);

/* Closed flow number n of the log. False when it is overwritten or not there yet. */
bool flow_read_closed(const struct mw_view *v, uint64_t n, struct flow *out);

/* Closed flows ever. */
uint64_t flow_closed_count(const struct mw_view *v);
uint32_t flow_slots_high(const struct mw_view *v);

#endif
