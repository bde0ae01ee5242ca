/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_rows.h - rows, heading, totals and fields of `mw top` as text. Used by ctl/top*.c.
 * Trust: what others chose (names of commands, answers) is text that clean_text made harmless to a terminal.
 *
 * Columns have ranks: as many as fit are shown, in their order. What is left over goes to the peer's address, then to the
 * spark line.
 */
#ifndef MW_CTL_TOP_ROWS_H
#define MW_CTL_TOP_ROWS_H

#include "ctl/top_model.h"

#define TOP_LINE_BYTES 2048 /* a line as text */
#define TOP_WIDE 512        /* every column at its full width */

enum top_column {
	COL_APP, COL_INS, COL_PEER, COL_CONNS, COL_STATE, COL_AGE, COL_SILENCE, COL_BYTES, COL_UNREAD, COL_MEMORY, COL_RATE, COL_PROGRESS,
	COL_SUSPECT, COL_RX, COL_TX, COL_HEAD, COL_RTT, COL_LOCAL, COL_PID, COL_COMMAND, COL_NUM
};

/* What is shown, and how. */
struct top_look {
	enum top_group group;
	enum top_sort sort;
	bool reverse, utf8;
	bool apps;          /* of several applications */
	bool inss;          /* an application has several INSs */
	int peer_chars;     /* the longest peer so far */
	const char *(*command)(uint32_t pid, char text[32]);
};

struct top_layout {
	int width[COL_NUM]; /* 0: not shown */
};

/* The largest width that any of these rows needs for its peer goes into look->peer_chars. */
void top_measure(struct top_look *look, struct top_row *const *rows, size_t n);
void top_layout(struct top_layout *l, const struct top_model *m, const struct top_look *look, int width);
/* `mark`, if not NULL, gets where the column that it is sorted by begins and ends. */
void top_heading(const struct top_layout *l, const struct top_look *look, char text[TOP_LINE_BYTES], int mark[2]);
void top_row_text(const struct top_layout *l, const struct top_look *look, const struct top_row *r, char text[TOP_LINE_BYTES]);

const char *top_sort_name(enum top_sort s);   /* "silence" */
const char *top_group_name(enum top_group g); /* "peer" */
/* False: there is none of that name, or the table has no such field. */
bool top_sort_of(const struct top_model *m, const char *name, enum top_sort *s);
bool top_group_of(const char *name, enum top_group *g);
bool top_sort_offered(const struct top_model *m, enum top_sort s);

/* At most 5 characters: "1023", "97.7k", "1.2G"; "59.9s", "59m59", "23h59", "99d". Return text. */
#define TOP_NUMBER_BYTES 24
const char *top_count(uint64_t n, char text[TOP_NUMBER_BYTES]);
const char *top_span(uint64_t ns, char text[TOP_NUMBER_BYTES]);

/* TOP_HISTORY refreshes, as many as there are and fit, right-aligned in `width` characters; a step is a factor of 8. */
void top_spark(const uint32_t history[TOP_HISTORY], uint32_t looks, int width, bool utf8, char *text, size_t bytes);

/* Calls `line` with each field of the table: name, value and unit, help. Values are clean. */
void top_fields(const struct flow *f, uint64_t now_ns,
		void (*line)(const char *name, const char *value, const char *help, void *arg), void *arg);
/* The row's peer: "192.0.2.7:4711", or of a group "192.0.2.0/24". */
const char *top_peer(const struct top_row *r, char text[PREFIX_TEXT_BYTES]);

#endif
