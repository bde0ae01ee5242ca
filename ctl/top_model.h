/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_model.h - what `mw top` shows, without a terminal: rows, totals, groups, order. Used by ctl/top*.c.
 * Trust: as in telem/flow.h: numbers of flows are anything; they are added up and shown, never used as an index.
 *
 * A refresh is top_begin, top_add for each flow of each application, top_arrange. What a connection moved since the
 * refresh before is in its track, one for each slot; a track belongs to one flow's id and begins anew with another.
 */
#ifndef MW_CTL_TOP_MODEL_H
#define MW_CTL_TOP_MODEL_H

#include "lib/prefix.h"
#include "telem/filter.h"

#define TOP_HISTORY 16 /* refreshes that a spark line shows */

enum top_sort { TOP_AGE, TOP_SILENCE, TOP_BYTES, TOP_UNREAD, TOP_MEMORY, TOP_RATE, TOP_COUNT, TOP_SORTS };
enum top_group { TOP_EACH, TOP_PEER, TOP_PREFIX, TOP_GROUPS };

struct top_track {
	uint64_t id, rx, tx;
	uint64_t rx_rate, tx_rate;     /* bytes a second since the refresh before; at the first look, over its whole life */
	uint32_t history[TOP_HISTORY]; /* bytes both ways in a refresh, the newest last */
	uint32_t looks;                /* of history, how many there are */
	uint32_t pad;
};

/* One INS of an application, as far as the model knows it. */
struct top_source {
	char name[33];            /* the application's */
	uint32_t ins;             /* number */
	uint32_t slots;
	struct top_track *tracks; /* of each slot */
	uint64_t last_ns;         /* the refresh before; 0: this is the first */
};

/* A connection, or a group of them. */
struct top_row {
	const struct top_source *source; /* NULL: connections of several applications */
	bool inss;                /* of several INSs of one */
	uint64_t id;              /* 0: a group */
	uint64_t key;             /* what it is sorted by */
	struct mw_addr peer, local;
	uint32_t bits;            /* of a group: its prefix */
	uint32_t count;           /* connections */
	uint32_t slot, pid, state, head, suspect, rtt_us;
	uint32_t looks;
	uint64_t age_ns, silence_ns; /* of a group: the longest */
	uint64_t rx, tx, unread, memory, rate; /* bytes; bytes a second */
	uint32_t history[TOP_HISTORY];
};

struct top_totals {
	uint64_t sockets, established, listening;
	uint64_t rx_rate, tx_rate, unread, memory;
};

struct top_model {
	const struct filter *filter; /* NULL: all */
	const struct flow_field *memory, *rtt; /* NULL: the table has no such field */
	uint64_t now_ns;
	bool again;              /* tracks stay as they are */
	struct top_totals totals;
	struct top_row *rows, *groups;
	size_t count, room, group_count, group_room;
	size_t connections;      /* also those that the filter leaves out */
	struct top_row **order;  /* what is shown */
	size_t shown, order_room;
};

void top_init(struct top_model *m);
void top_fini(struct top_model *m);

/* 0 or -ENOMEM. */
int top_source_init(struct top_source *s, const char *name, uint32_t ins, uint32_t slots);
void top_source_fini(struct top_source *s);

/* again: not a refresh, but the one before looked at with another filter. */
void top_begin(struct top_model *m, uint64_t now_ns, bool again);
/* slot < s->slots. 0 or -ENOMEM. */
int top_add(struct top_model *m, struct top_source *s, uint32_t slot, const struct flow *f);
/* All of the source's flows were added. */
void top_added(struct top_model *m, struct top_source *s);
/* The largest first; reverse: the smallest. 0 or -ENOMEM. */
int top_arrange(struct top_model *m, enum top_group group, enum top_sort sort, bool reverse);

/* The prefix that a row's connections come from: a connection's own address. */
struct prefix top_prefix(const struct top_row *r);

#endif
