/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow.h - flow records read out of an INS's memory, and the table that names their fields. Used by telem/ and ctl/.
 * Trust: the memory is written by others while it is read; a record is taken only when its id did not change meanwhile,
 * and nothing in it is used as an index.
 */
#ifndef MW_TELEM_FLOW_H
#define MW_TELEM_FLOW_H


#include "chan/arena.h"
#include "chan/tele.h"
#include "link/samples.h"

/* What the memory files of one INS look like from here: all for reading. */
struct flow_view {
	struct mw_view arena;
	struct mw_tele_view tele;
	const uint8_t *samples; /* of link/samples.h; NULL: none */
	char app[33];           /* the application's name, for flow.app */
	uint32_t ins;           /* the INS's number among the application's */
};

/* One flow: the record, and what the ring's words say of it now. */
struct flow {
	struct mw_flow f;
	struct sample s; /* s.id is 0 when there is none */
	uint64_t unread; /* bytes received and not yet read by the application */
	uint64_t unsent; /* bytes written by it and not yet taken by the stack */
	uint64_t rx_idle_ns, tx_idle_ns; /* without a byte until now, or until it was closed */
	uint64_t rx_busy_ns;             /* from a request's first byte to its answer's or until now, over all */
	uint64_t rx_rate;                /* of it, bytes a second */
	char app[40];     /* the application's name */
	uint32_t suspect; /* SUSPECT_ of telem/suspect.h, now */
	uint32_t ins;
	bool open;
};

enum flow_type {
	FLOW_COUNT,   /* uint64_t */
	FLOW_NUMBER,  /* uint32_t */
	FLOW_SIGNED,  /* int32_t; MW_OPT_UNSET is null */
	FLOW_TIME,    /* uint64_t nanoseconds since the epoch; 0 is null. Shown in seconds */
	FLOW_SPAN,    /* uint64_t nanoseconds. Shown in seconds */
	FLOW_MSEC, FLOW_USEC, /* uint32_t milliseconds, microseconds. Shown in seconds */
	FLOW_TEXT,    /* NUL-terminated; empty is null */
	FLOW_COMMAND, /* uint32_t: a process's; shown as its command's name */
	FLOW_SUSPECT, /* uint32_t; names with commas, empty for none */
	FLOW_KERNEL, FLOW_TIMER, /* uint32_t: sample.kernel_state, sample.timer */
	FLOW_ADDR, FLOW_PORT, FLOW_STATE, FLOW_END, FLOW_TYPE, FLOW_HEAD,
};

/*
 * Information element of IPFIX. Ours are under IPFIX_PEN: the number that RFC 5612 keeps for examples, since the project has
 * none of its own; who gets one from IANA changes it here. Ours begin at 100 (collectors mistake low ones) and never change.
 */
#define IPFIX_PEN 32473u
struct flow_element {
	uint32_t pen;     /* enterprise; 0: IANA's */
	uint16_t id;      /* 0: not exported */
	uint16_t id6;     /* of an address: its IPv6 element */
};

/* The table that every output is made from. */
struct flow_field {
	const char *name; /* as in JSON; never changes */
	enum flow_type type;
	const char *unit;
	size_t offset;    /* in struct flow */
	const char *help;
	struct flow_element element; /* of a peer that opened the flow; when we did, addresses and ports change sides */
};
extern const struct flow_field flow_fields[];
extern const size_t flow_field_count;

const char *flow_state_name(uint32_t state);
const char *flow_end_name(uint32_t end);
const char *flow_type_name(uint32_t type); /* tcp, udp */
const char *flow_head_name(uint32_t head);
const char *flow_event_name(uint32_t kind); /* "accept" */
const char *flow_timer_name(uint32_t timer); /* "off", "persist": as ss(8) */
#define FLOW_SUSPECT_BYTES 96
const char *flow_suspect_text(uint32_t suspect, char text[FLOW_SUSPECT_BYTES]);

/* The kernel's word goes into it. */
bool flow_sampled(const struct flow_field *d);
/* False for a field of the kernel's while there is no sample: it is null, not 0. */
bool flow_has(const struct flow *f, const struct flow_field *d);

/* Maps for reading what the descriptors are; samples may be -1. v->ins is 0, the caller's to set. 0 or -errno. */
int flow_map(struct flow_view *v, const char *app, int arena, int tele, int samples);
void flow_unmap(struct flow_view *v);

/* The id of the flow in a slot, or 0. */
uint64_t flow_id(const struct flow_view *v, uint32_t slot);

/* The flow in a slot. False when there is none, or it ended while it was being read. */
bool flow_read(const struct flow_view *v, uint32_t slot, struct flow *out);

/* Closed flow number n of the log. False when it is overwritten or not there yet. */
bool flow_read_closed(const struct flow_view *v, uint64_t n, struct flow *out);

/* Connection number i of those that the INS has closed and the kernel has not. False when there is none. */
bool flow_read_linger(const struct flow_view *v, uint32_t i, struct flow *out);
uint32_t flow_lingers_high(const struct flow_view *v);

/* Event number n. False when it is overwritten or not there yet. */
bool flow_event(const struct flow_view *v, uint64_t n, struct mw_event *out);

/* Closed flows and events ever; slots at or above the last were never used. */
uint64_t flow_closed_count(const struct flow_view *v);
uint64_t flow_events(const struct flow_view *v);
uint32_t flow_slots_high(const struct flow_view *v);

/* Since the last byte either way, or since it opened; since it opened, until it closed. Seconds. */
double flow_idle_s(const struct flow *f, uint64_t now_ns);
double flow_age_s(const struct flow *f, uint64_t now_ns);

/* comm.c: a process's command name, "nginx", or "-" when it is gone; looked up again after a second */
const char *comm_of(uint32_t pid, char text[32]);

/* flow_json.c: one line with every field of the table, under its name; its length. Longer than any such line is the room. */
#define FLOW_LINE_BYTES 16384
size_t flow_line(const char *event, const struct flow *f, char line[FLOW_LINE_BYTES]);
/* The same of an event. */
size_t flow_event_line(const char *app, const struct mw_event *e, char line[FLOW_LINE_BYTES]);

#endif
