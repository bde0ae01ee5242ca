// SPDX-License-Identifier: Apache-2.0
/*
 * top_rows.c - see top_rows.h.
 * Trust: as in the header.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/clean.h"
#include "ctl/top_rows.h"
#include "lib/addr.h"

#define NOT_A_SORT TOP_SORTS

/* Ranks: 0 always; the rest as long as there is room. Width 0 in a view: not offered there. */
static const struct {
	const char *title;
	int width;
	int rank;
	bool left;
	bool each, grouped; /* where it is offered */
	enum top_sort sort; /* what sorts by it */
} columns[COL_NUM] = {
	[COL_APP] = { "APP", 11, 1, true, true, true, NOT_A_SORT },
	[COL_INS] = { "INS", 3, 1, false, true, true, NOT_A_SORT },
	[COL_PEER] = { "PEER", 21, 0, true, true, true, NOT_A_SORT },
	[COL_CONNS] = { "CONNS", 5, 0, false, false, true, TOP_COUNT },
	[COL_STATE] = { "STAT", 4, 3, true, true, false, NOT_A_SORT },
	[COL_AGE] = { "AGE", 5, 0, false, true, true, TOP_AGE },
	[COL_SILENCE] = { "SILENT", 6, 0, false, true, true, TOP_SILENCE },
	[COL_BYTES] = { "BYTES", 5, 0, false, true, true, TOP_BYTES },
	[COL_UNREAD] = { "UNREAD", 6, 0, false, true, true, TOP_UNREAD },
	[COL_MEMORY] = { "MEM", 5, 2, false, true, true, TOP_MEMORY },
	[COL_RATE] = { "RATE", 5, 0, false, true, true, TOP_RATE },
	[COL_PROGRESS] = { "PROGRESS", 8, 0, true, true, true, NOT_A_SORT },
	[COL_SUSPECT] = { "SUSPECT", 11, 5, true, true, false, NOT_A_SORT },
	[COL_RX] = { "RX", 5, 6, false, true, true, NOT_A_SORT },
	[COL_TX] = { "TX", 5, 6, false, true, true, NOT_A_SORT },
	[COL_HEAD] = { "HEAD", 8, 5, true, true, false, NOT_A_SORT },
	[COL_RTT] = { "RTT", 5, 7, false, true, false, NOT_A_SORT },
	[COL_LOCAL] = { "LOCAL", 21, 8, true, true, false, NOT_A_SORT },
	[COL_PID] = { "PID", 7, 9, false, true, false, NOT_A_SORT },
	[COL_COMMAND] = { "COMMAND", 15, 10, true, true, false, NOT_A_SORT },
};
#define RANK_LAST 10

static const char *const sort_names[TOP_SORTS] = { "age", "silence", "bytes", "unread", "memory", "rate", "connections" };
static const char *const group_names[TOP_GROUPS] = { "none", "peer", "prefix" };

const char *top_sort_name(enum top_sort s)
{
	return sort_names[s];
}

const char *top_group_name(enum top_group g)
{
	return group_names[g];
}

bool top_sort_offered(const struct top_model *m, enum top_sort s)
{
	return s != TOP_MEMORY || m->memory;
}

bool top_sort_of(const struct top_model *m, const char *name, enum top_sort *s)
{
	for (int i = 0; i < TOP_SORTS; i++) {
		if (strcmp(sort_names[i], name) != 0 || !top_sort_offered(m, (enum top_sort)i))
			continue;
		*s = (enum top_sort)i;
		return true;
	}
	return false;
}

bool top_group_of(const char *name, enum top_group *g)
{
	for (int i = 0; i < TOP_GROUPS; i++) {
		if (strcmp(group_names[i], name) != 0)
			continue;
		*g = (enum top_group)i;
		return true;
	}
	return false;
}

/* --- values --- */

const char *top_count(uint64_t n, char text[TOP_NUMBER_BYTES])
{
	static const char units[] = "kMGTPE";
	double v = (double)n / 1024;
	int u = 0;

	if (n < 100000) {
		snprintf(text, TOP_NUMBER_BYTES, "%u", (unsigned int)n);
		return text;
	}
	for (; v >= 1023.5 && units[u + 1]; u++)
		v /= 1024;
	snprintf(text, TOP_NUMBER_BYTES, v < 99.95 ? "%.1f%c" : "%.0f%c", v, units[u]);
	return text;
}

const char *top_span(uint64_t ns, char text[TOP_NUMBER_BYTES])
{
	uint64_t tenths = ns / 100000000u, s = tenths / 10, d = s / 86400;

	if (s < 60)
		snprintf(text, TOP_NUMBER_BYTES, "%u.%us", (unsigned int)s, (unsigned int)(tenths % 10));
	else if (s < 3600)
		snprintf(text, TOP_NUMBER_BYTES, "%um%02u", (unsigned int)s / 60, (unsigned int)s % 60);
	else if (s < 86400)
		snprintf(text, TOP_NUMBER_BYTES, "%uh%02u", (unsigned int)s / 3600, (unsigned int)s / 60 % 60);
	else
		snprintf(text, TOP_NUMBER_BYTES, "%ud", d < 9999 ? (unsigned int)d : 9999);
	return text;
}

/* 0 to 8: nothing, 1 to 7 bytes, to 63, and so on; 8: 2 MiB and more. */
static int level(uint32_t bytes)
{
	int n = 0;

	for (; bytes && n < 8; bytes >>= 3)
		n++;
	return n;
}

void top_spark(const uint32_t history[TOP_HISTORY], uint32_t looks, int width, bool utf8, char *text, size_t bytes)
{
	static const char *const fine[] = { ".", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const plain[] = { ".", ":", "-", "=", "+", "*", "%", "#", "@" };
	size_t at = 0;

	for (int i = TOP_HISTORY - width; i < TOP_HISTORY; i++) {
		const char *c = " ";

		if (i >= TOP_HISTORY - (int)looks)
			c = (utf8 ? fine : plain)[level(history[i])];
		if (at + strlen(c) + 1 > bytes)
			break;
		memcpy(text + at, c, strlen(c));
		at += strlen(c);
	}
	text[at] = 0;
}

const char *top_peer(const struct top_row *r, char text[PREFIX_TEXT_BYTES])
{
	struct prefix p = top_prefix(r);
	char plain[ADDR_TEXT_BYTES];

	if (r->id)
		snprintf(text, PREFIX_TEXT_BYTES, "%s", addr_text(&r->peer, plain));
	else if (p.bits == (p.addr.family == MW_FAMILY_IP4 ? 32 : 128))
		snprintf(text, PREFIX_TEXT_BYTES, "%s", addr_text_ip(&p.addr, plain));
	else
		prefix_text(&p, text);
	return text;
}

static const char *state_text(uint32_t state)
{
	static const char *const names[MW_ST_NUM] = { "free", "open", "list", "conn", "estb", "clsg", "clsd", "held" };

	return state < MW_ST_NUM ? names[state] : "?";
}

/* A cell's text; NULL: that is a number of nothing. */
static const char *cell(enum top_column c, const struct top_look *look, const struct top_row *r, int width, char text[160])
{
	switch (c) {
	case COL_APP:
		return r->source ? r->source->name : "(several)";
	case COL_INS:
		snprintf(text, 160, "%u", r->source ? r->source->ins : 0);
		return r->inss || !r->source ? "*" : text;
	case COL_PEER:
		return top_peer(r, text);
	case COL_CONNS:
		return top_count(r->count, text);
	case COL_STATE:
		return state_text(r->state);
	case COL_AGE:
		return top_span(r->age_ns, text);
	case COL_SILENCE:
		return top_span(r->silence_ns, text);
	case COL_BYTES:
		return top_count(r->rx + r->tx < r->rx ? UINT64_MAX : r->rx + r->tx, text);
	case COL_UNREAD:
		return top_count(r->unread, text);
	case COL_MEMORY:
		return top_count(r->memory, text);
	case COL_RATE:
		return top_count(r->rate, text);
	case COL_PROGRESS:
		top_spark(r->history, r->looks, width, look->utf8, text, 160);
		return text;
	case COL_SUSPECT:
		return flow_suspect_text(r->suspect, text);
	case COL_RX:
		return top_count(r->rx, text);
	case COL_TX:
		return top_count(r->tx, text);
	case COL_HEAD:
		return flow_head_name(r->head);
	case COL_RTT: /* ms */
		snprintf(text, 160, r->rtt_us < 100000 ? "%.1f" : "%.0f", (double)r->rtt_us / 1000);
		return r->rtt_us ? text : "-";
	case COL_LOCAL:
		return addr_text(&r->local, text);
	case COL_PID:
		snprintf(text, 160, "%u", r->pid);
		return r->pid ? text : "-";
	case COL_COMMAND:
		return clean_text((char *)(mw_uintptr)look->command(r->pid, text));
	case COL_NUM:
		break;
	}
	return "";
}

/* --- lines --- */

static bool offered(enum top_column c, const struct top_model *m, const struct top_look *look)
{
	if ((c == COL_APP && !look->apps) || (c == COL_INS && !look->inss))
		return false;
	if ((c == COL_MEMORY && !m->memory) || (c == COL_RTT && !m->rtt))
		return false;
	return look->group == TOP_EACH ? columns[c].each : columns[c].grouped;
}

/* Gives a column up to `most` characters of what is left. */
static void widen(int *width, int most, int *left)
{
	int more = most - *width < *left ? most - *width : *left;

	if (more <= 0)
		return;
	*width += more;
	*left -= more;
}

void top_measure(struct top_look *look, struct top_row *const *rows, size_t n)
{
	char text[PREFIX_TEXT_BYTES];

	for (size_t i = 0; i < n; i++) {
		int chars = (int)strlen(top_peer(rows[i], text));

		if (chars > look->peer_chars)
			look->peer_chars = chars;
	}
}

void top_layout(struct top_layout *l, const struct top_model *m, const struct top_look *look, int width)
{
	int left = width + 1; /* the last one needs no blank behind it */

	memset(l, 0, sizeof(*l));
	for (int rank = 0; rank <= RANK_LAST; rank++) {
		for (int c = 0; c < COL_NUM; c++) {
			int wants = columns[c].width + 1;

			if (columns[c].rank != rank || !offered((enum top_column)c, m, look) || (wants > left && rank > 0))
				continue;
			l->width[c] = columns[c].width;
			left -= wants;
		}
		if (rank == 1)
			widen(&l->width[COL_PEER], look->peer_chars, &left);
		if (rank == 4)
			widen(&l->width[COL_PROGRESS], TOP_HISTORY, &left);
	}
	if (l->width[COL_LOCAL])
		widen(&l->width[COL_LOCAL], 47, &left);
}

/* Appends a cell of exactly `width` characters, and a blank before it unless it is the first. Returns the new end. */
static size_t put(char text[TOP_LINE_BYTES], size_t at, const char *s, int width, bool left)
{
	int chars = 0, n = (int)strlen(s);

	if (at + (size_t)n + (size_t)width + 2 > TOP_LINE_BYTES)
		return at;
	if (at)
		text[at++] = ' ';
	for (const char *p = s; *p; p++)
		chars += (*p & 0xc0) != 0x80; /* one for each character of UTF-8 */
	if (chars > width) { /* ASCII: only spark lines are not, and fit */
		n = width;
		memcpy(text + at, s, (size_t)n);
		text[at + (size_t)n - 1] = '+';
		text[at + (size_t)n] = 0;
		return at + (size_t)n;
	}
	return at + (size_t)sprintf(text + at, "%*s%s%*s", left ? 0 : width - chars, "", s, left ? width - chars : 0, "");
}

void top_heading(const struct top_layout *l, const struct top_look *look, char text[TOP_LINE_BYTES], int mark[2])
{
	size_t at = 0, from;

	text[0] = 0;
	if (mark)
		mark[0] = mark[1] = 0;
	for (int c = 0; c < COL_NUM; c++) {
		if (!l->width[c])
			continue;
		from = at ? at + 1 : 0;
		at = put(text, at, columns[c].title, l->width[c], columns[c].left);
		if (mark && columns[c].sort == look->sort) {
			mark[0] = (int)from;
			mark[1] = (int)at;
		}
	}
}

void top_row_text(const struct top_layout *l, const struct top_look *look, const struct top_row *r, char text[TOP_LINE_BYTES])
{
	char value[160];
	size_t at = 0;

	text[0] = 0;
	for (int c = 0; c < COL_NUM; c++)
		if (l->width[c])
			at = put(text, at, cell((enum top_column)c, look, r, l->width[c], value), l->width[c], columns[c].left);
}
