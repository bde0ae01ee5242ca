/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top.h - shared inside ctl/top*.c: what `mw top` was asked for, the applications it looks at, its orders, its screen.
 * Trust: as in ctl.h.
 */
#ifndef MW_CTL_TOP_H
#define MW_CTL_TOP_H

#include <sys/types.h>

#include "ctl/ctl.h"
#include "ctl/top_rows.h"

#define TOP_APPS_MAX 512
#define TOP_WHY_BYTES 200

/* An INS of an application. */
struct top_app {
	struct app app;
	struct top_source source;
	pid_t ins_pid;
	char state[12];    /* "up", "drain"; empty: not known */
	double load;       /* in processors */
	uint64_t cpu_ms;   /* of the INS, at the refresh before */
	uint64_t closed;   /* flows, then */
	uint64_t sockets;  /* then */
	size_t connections; /* now */
};

struct top {
	const char *name;        /* of one application; NULL: all */
	struct top_model model;
	struct top_look look;
	struct filter *filter;
	char filter_text[FILTER_TEXT_MAX + 1];
	double delay_s;
	struct top_app *apps[TOP_APPS_MAX]; /* those of an application one behind the other, by number */
	size_t app_count;
	uint64_t last_ns;        /* the refresh before; 0: none yet */
	double load;             /* of all INS, in processors */
	double opened, closed;   /* sockets a second; < 0: not known yet */
};

/* top_collect.c: a refresh. 0 or -errno. */
int top_refresh(struct top *t);
int top_filter_again(struct top *t);  /* another filter, the same refresh */
int top_arrange_again(struct top *t); /* other order or groups, the same flows */
void top_forget(struct top *t);
/* The flow of a row, if it is there still. */
bool top_flow(struct top *t, const char *app, uint32_t ins, uint64_t id, struct flow *f);
/* Three lines, and one for the INSs where an application has several; `line` counts from 0. Returns text. */
int top_headers(const struct top *t);
const char *top_header(const struct top *t, int line, char text[TOP_LINE_BYTES]);
/* NULL: it is taken; otherwise what is wrong with it. */
const char *top_set_filter(struct top *t, const char *text, char why[FILTER_WHY_BYTES]);

/* top_act.c: one request to the telemetry of that INS; takes it. The answer, the caller's; NULL: why not, clean. */
json_t *top_act(const char *app, uint32_t ins, json_t *request, char why[TOP_WHY_BYTES]);

/* top_view.c: false when the terminal cannot place a cursor. */
bool top_view_usable(void);
int top_view(struct top *t); /* EXIT_ */

#endif
