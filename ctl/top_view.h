/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_view.h - what the screen of `mw top` shows besides the model, and what a key does to it. Used by ctl/top_view.c,
 * which draws, and ctl/top_keys.c.
 * Trust: as in top_rows.h.
 */
#ifndef MW_CTL_TOP_VIEW_H
#define MW_CTL_TOP_VIEW_H

#include "ctl/top.h"

enum top_page { PAGE_LIST, PAGE_FIELDS, PAGE_HELP };
enum top_asking { ASK_NOTHING, ASK_FILTER, ASK_SURE, ASK_SECONDS };

/* Whom an order is about: as it was when its key was pressed. */
struct top_order {
	const char *verb;   /* "close", "reset", "block" */
	char app[33];       /* empty: all that have connections of the prefix in the table */
	bool one;           /* a connection, of that INS: */
	uint32_t ins;
	struct prefix from;
	char target[192];   /* as telemetry takes it */
	char text[128];     /* for a reader */
};

struct top_view {
	struct top *t;
	enum top_page page;
	enum top_asking asking;
	bool done;
	size_t at, first;   /* the marked row; the first on the screen */
	int top;            /* lines above the message's, below which are the heading's and the table */
	int rows;           /* of the table, on the screen */
	bool chosen;        /* the mark stays with what it marks: */
	char app[33];
	uint32_t ins;       /* of a connection */
	uint64_t id;
	struct prefix from;
	int scroll, page_lines; /* of the other pages: the first line shown; how many there are */
	struct flow flow;   /* whose fields are shown */
	char flow_app[33];
	bool ended;         /* it has */
	char edit[FILTER_TEXT_MAX + 1];
	struct top_order order;
	char message[TOP_WHY_BYTES + 200];
	bool bad;           /* the message is of something that failed */
};

extern const char *const top_help_lines[]; /* NULL at the end */

/* top_keys.c */
void top_key(struct top_view *v, int key);
/* After a refresh: the mark is with its row again. */
void top_mark(struct top_view *v);
/* What is asked, with what was typed so far. */
void top_question(const struct top_view *v, char text[TOP_LINE_BYTES]);

#endif
