// SPDX-License-Identifier: Apache-2.0
/*
 * top_keys.c - see top_view.h: keys, questions, orders.
 * Trust: the user. Nothing that reaches a connection happens without a second key.
 */
#include <curses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/top_view.h"

#define KEY_ESC 27
#define KEY_CTRL(c) ((c) & 0x1f)
#define BLOCK_SECONDS "600"
#define BLOCK_SECONDS_MAX 31536000ul

const char *const top_help_lines[] = { /* at most 80 characters, for a terminal of 24 lines */
	"A row is a connection; after g those of a peer, after g again of a /24 or /64.",
	"SILENT    since the last byte either way    UNREAD  by the application",
	"RATE      bytes a second, lately            RTT     milliseconds",
	"PROGRESS  bytes of each of the last refreshes, the newest right: a dot for none,",
	"          then a step for each factor of 8. AGE and SILENT of a group are the",
	"          longest of its connections, the rest are sums.",
	"",
	"Arrows, Page Up, Page Down, End    move; Home: the mark stays at the top",
	"A S B U M R N    sort by age, silence, bytes, unread, memory, rate, connections",
	"< >              sort by another column",
	"I                the other way round",
	"g                group: none, peer, prefix",
	"/                filter: peer = 192.0.2.0/24 and unread > 16k; mw(1) has more;",
	"                 an empty line: all",
	"Enter, i         all fields of a connection; a group's connections",
	"c, r             close or reset the connection, or a group's that are shown",
	"b                block the peer or the prefix for some time",
	"q                leave this page, or the program",
	NULL
};

static void say(struct top_view *v, bool bad, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(struct top_view *v, bool bad, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(v->message, sizeof(v->message), format, ap);
	va_end(ap);
	v->bad = bad;
}

/* --- the mark --- */

static const struct top_row *marked(const struct top_view *v)
{
	return v->at < v->t->model.shown ? v->t->model.order[v->at] : NULL;
}

static bool same_from(const struct prefix *a, const struct prefix *b)
{
	return a->bits == b->bits && a->addr.family == b->addr.family && !memcmp(a->addr.addr, b->addr.addr, sizeof(a->addr.addr));
}

static bool is_chosen(const struct top_view *v, const struct top_row *r)
{
	struct prefix from;

	if (r->id != v->id)
		return false;
	if (r->id)
		return r->source && r->source->ins == v->ins && !strcmp(r->source->name, v->app);
	from = top_prefix(r);
	return same_from(&from, &v->from);
}

static void choose(struct top_view *v)
{
	const struct top_row *r = marked(v);

	if (!r)
		return;
	v->chosen = true;
	v->id = r->id;
	v->from = top_prefix(r);
	v->ins = r->source ? r->source->ins : 0;
	snprintf(v->app, sizeof(v->app), "%s", r->source ? r->source->name : "");
}

void top_mark(struct top_view *v)
{
	const struct top_model *m = &v->t->model;

	if (!v->chosen)
		v->at = 0;
	for (size_t i = 0; v->chosen && i < m->shown; i++) {
		if (!is_chosen(v, m->order[i]))
			continue;
		v->at = i;
		return;
	}
	if (v->at >= m->shown)
		v->at = m->shown ? m->shown - 1 : 0;
	if (v->chosen)
		choose(v); /* it has ended: what is in its place */
}

static void to_top(struct top_view *v)
{
	v->chosen = false;
	v->at = v->first = 0;
}

static void move_to(struct top_view *v, long to)
{
	long last = (long)v->t->model.shown - 1;

	if (to > last)
		to = last;
	v->at = to > 0 ? (size_t)to : 0;
	choose(v);
}

/* --- orders --- */

/* What became of an order in all INSs that it concerns. */
struct tally {
	unsigned int asked, failed;
	long long hit, missed;
	char why[TOP_WHY_BYTES];
};

static bool concerns(const struct top_view *v, const struct top_app *a)
{
	const struct top_model *m = &v->t->model;
	const struct top_order *o = &v->order;
	bool block = !strcmp(o->verb, "block"), here = !strcmp(o->app, a->app.name);

	if (o->one)
		return here && o->ins == a->source.ins;
	if (*o->app && (block || !here))
		return here; /* by which INS a peer comes next, nobody knows */
	for (size_t i = 0; i < m->count; i++) {
		const struct top_source *s = m->rows[i].source;

		if ((s == &a->source || (block && !strcmp(s->name, a->app.name))) && prefix_has(&o->from, &m->rows[i].peer))
			return true;
	}
	return false;
}

static void order_one(const struct top_order *o, const struct top_app *a, unsigned long seconds, struct tally *n)
{
	json_t *q = json_pack("{s:s,s:s,s:s,s:s}", "do", "order", "verb", o->verb, "target", o->target, "why", "mw top"), *answer;

	if (seconds)
		json_object_set_new(q, "ttl", json_integer((json_int_t)seconds));
	n->asked++;
	answer = top_act(a->app.name, a->source.ins, q, n->why);
	if (!answer)
		n->failed++;
	n->hit += json_integer_value(json_object_get(answer, "hit"));
	n->missed += json_integer_value(json_object_get(answer, "missed"));
	json_decref(answer);
}

static void give_order(struct top_view *v, unsigned long seconds)
{
	const struct top_order *o = &v->order;
	struct tally n = { 0 };

	for (size_t i = 0; i < v->t->app_count; i++)
		if (concerns(v, v->t->apps[i]))
			order_one(o, v->t->apps[i], seconds, &n);
	if (n.failed)
		say(v, true, "%s %s: %s", o->verb, o->text, n.why);
	else if (n.asked)
		say(v, false, "%s %s: done, %lld hit%s", o->verb, o->text, n.hit, n.missed ? ", some had ended" : "");
	else
		say(v, true, "%s %s: it has ended", o->verb, o->text);
}

/* A connection's id, an address or prefix to block, or what a group has in the table. False: there is no room for that. */
static bool set_target(const struct top_view *v, struct top_order *o, uint64_t id, bool block)
{
	const char *filter = v->t->filter_text;
	char from[PREFIX_TEXT_BYTES];
	int n;

	prefix_text(&o->from, from);
	if (block)
		n = snprintf(o->target, sizeof(o->target), "%s", from);
	else if (id)
		n = snprintf(o->target, sizeof(o->target), "%llu", (unsigned long long)id);
	else
		n = snprintf(o->target, sizeof(o->target), "peer = %s%s%s%s", from, *filter ? " and (" : "", filter, *filter ? ")" : "");
	return n < (int)sizeof(o->target);
}

/* Of the marked row, or of the connection whose fields are shown. */
static void ask_order(struct top_view *v, const char *verb)
{
	struct top_row shown = { .id = v->flow.f.id, .peer = v->flow.f.peer };
	const struct top_row *r = v->page == PAGE_FIELDS ? &shown : marked(v);
	struct top_order *o = &v->order;
	bool block = !strcmp(verb, "block");
	char peer[PREFIX_TEXT_BYTES];

	if (!r)
		return;
	memset(o, 0, sizeof(*o));
	o->verb = verb;
	o->from = top_prefix(r);
	snprintf(o->app, sizeof(o->app), "%s", r == &shown ? v->flow_app : r->source ? r->source->name : "");
	o->one = r->id && !block;
	o->ins = r == &shown ? v->flow.ins : r->source ? r->source->ins : 0;
	if (block)
		snprintf(o->text, sizeof(o->text), "%s", prefix_text(&o->from, peer));
	else if (r->id)
		snprintf(o->text, sizeof(o->text), "%s of %s", top_peer(r, peer), o->app);
	else
		snprintf(o->text, sizeof(o->text), "%u connection%s from %s", r->count, r->count == 1 ? "" : "s", top_peer(r, peer));
	if (!set_target(v, o, r->id, block)) {
		say(v, true, "the filter is too long for an order");
		return;
	}
	v->asking = block ? ASK_SECONDS : ASK_SURE;
	snprintf(v->edit, sizeof(v->edit), "%s", block ? BLOCK_SECONDS : "");
}

/* --- questions --- */

void top_question(const struct top_view *v, char text[TOP_LINE_BYTES])
{
	const struct top_order *o = &v->order;

	if (v->asking == ASK_FILTER)
		snprintf(text, TOP_LINE_BYTES, "filter: %.2000s", v->edit);
	else if (v->asking == ASK_SECONDS)
		snprintf(text, TOP_LINE_BYTES, "%s %s (Enter: do it, Esc: no) seconds: %.20s", o->verb, o->text, v->edit);
	else
		snprintf(text, TOP_LINE_BYTES, "%s %s? y: do it; any other key: no", o->verb, o->text);
}

static void answer_filter(struct top_view *v)
{
	char why[FILTER_WHY_BYTES];
	const char *wrong = top_set_filter(v->t, v->edit, why);

	if (wrong) {
		say(v, true, "%s", wrong);
		return; /* to be mended */
	}
	v->asking = ASK_NOTHING;
	to_top(v);
	top_filter_again(v->t);
}

static void answer_seconds(struct top_view *v)
{
	char *end;
	unsigned long n = strtoul(v->edit, &end, 10);

	if (v->edit[0] < '0' || v->edit[0] > '9' || *end || n < 1 || n > BLOCK_SECONDS_MAX) {
		say(v, true, "1 to %lu seconds", BLOCK_SECONDS_MAX);
		return;
	}
	v->asking = ASK_NOTHING;
	give_order(v, n);
}

/* A key while a line is typed. */
static void edit_key(struct top_view *v, int key)
{
	size_t n = strlen(v->edit);

	if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		v->message[0] = 0;
		if (v->asking == ASK_FILTER)
			answer_filter(v);
		else
			answer_seconds(v);
	} else if (key == KEY_ESC) {
		v->asking = ASK_NOTHING;
		say(v, false, "nothing done");
	} else if (key == KEY_BACKSPACE || key == 127 || key == '\b') {
		v->edit[n ? n - 1 : 0] = 0;
	} else if (key == KEY_CTRL('u')) {
		v->edit[0] = 0;
	} else if (key >= ' ' && key <= '~' && n + 1 < sizeof(v->edit)) {
		v->edit[n] = (char)key;
		v->edit[n + 1] = 0;
	}
}

static void sure_key(struct top_view *v, int key)
{
	v->asking = ASK_NOTHING;
	if (key == 'y' || key == 'Y')
		give_order(v, 0);
	else
		say(v, false, "nothing done");
}

/* --- the table --- */

static void sort_by(struct top_view *v, enum top_sort s)
{
	if (!top_sort_offered(&v->t->model, s)) {
		say(v, true, "nobody says how much memory a connection takes");
		return;
	}
	v->t->look.sort = s;
	to_top(v);
	top_arrange_again(v->t);
}

static void sort_next(struct top_view *v, int step)
{
	int s = (int)v->t->look.sort;

	do
		s = (s + step + TOP_SORTS) % TOP_SORTS;
	while (!top_sort_offered(&v->t->model, (enum top_sort)s));
	sort_by(v, (enum top_sort)s);
}

static void group_by(struct top_view *v, enum top_group g)
{
	v->t->look.group = g;
	v->t->look.peer_chars = 0;
	to_top(v);
	top_arrange_again(v->t);
}

/* A group becomes its connections. */
static void enter_group(struct top_view *v, const struct top_row *r)
{
	char text[FILTER_TEXT_MAX + 1], peer[PREFIX_TEXT_BYTES], why[FILTER_WHY_BYTES];
	struct prefix from = top_prefix(r);
	bool more = *v->t->filter_text;
	const char *wrong;

	prefix_text(&from, peer);
	if ((size_t)snprintf(text, sizeof(text), "peer = %s%s%s%s", peer, more ? " and (" : "", v->t->filter_text, more ? ")" : "") >=
	    sizeof(text)) {
		say(v, true, "the filter is too long");
		return;
	}
	wrong = top_set_filter(v->t, text, why);
	if (wrong) {
		say(v, true, "%s", wrong);
		return;
	}
	top_filter_again(v->t);
	group_by(v, TOP_EACH);
}

static void turn_to(struct top_view *v, enum top_page p)
{
	v->page = p;
	v->scroll = 0;
}

static void enter(struct top_view *v)
{
	const struct top_row *r = marked(v);

	if (!r)
		return;
	if (!r->id) {
		enter_group(v, r);
		return;
	}
	choose(v);
	v->ended = !top_flow(v->t, v->app, v->ins, v->id, &v->flow);
	snprintf(v->flow_app, sizeof(v->flow_app), "%s", v->app);
	if (v->ended)
		say(v, true, "it has ended");
	else
		turn_to(v, PAGE_FIELDS);
}

static void ask_filter(struct top_view *v)
{
	v->asking = ASK_FILTER;
	snprintf(v->edit, sizeof(v->edit), "%s", v->t->filter_text);
}

static bool move_key(struct top_view *v, int key)
{
	long rows = v->rows > 1 ? v->rows - 1 : 1;

	if (key == KEY_UP || key == 'k')
		move_to(v, (long)v->at - 1);
	else if (key == KEY_DOWN || key == 'j')
		move_to(v, (long)v->at + 1);
	else if (key == KEY_PPAGE)
		move_to(v, (long)v->at - rows);
	else if (key == KEY_NPAGE)
		move_to(v, (long)v->at + rows);
	else if (key == KEY_END)
		move_to(v, (long)v->t->model.shown);
	else if (key == KEY_HOME)
		to_top(v);
	else
		return false;
	return true;
}

static bool sort_key(struct top_view *v, int key)
{
	static const char keys[] = "ASBUMRN"; /* in the order of enum top_sort */
	const char *p = key > 0 && key < 128 ? strchr(keys, key) : NULL;

	if (p)
		sort_by(v, (enum top_sort)(p - keys));
	else if (key == '<' || key == '>')
		sort_next(v, key == '<' ? -1 : 1);
	else
		return false;
	return true;
}

static bool order_key(struct top_view *v, int key)
{
	const char *verb = key == 'c' ? "close" : key == 'r' ? "reset" : key == 'b' ? "block" : NULL;

	if (verb)
		ask_order(v, verb);
	return verb;
}

static void list_key(struct top_view *v, int key)
{
	if (move_key(v, key) || sort_key(v, key) || order_key(v, key))
		return;
	switch (key) {
	case 'q':
	case KEY_F(10):
		v->done = true;
		break;
	case 'I':
		v->t->look.reverse = !v->t->look.reverse;
		to_top(v);
		top_arrange_again(v->t);
		break;
	case 'g':
		group_by(v, (enum top_group)((v->t->look.group + 1) % TOP_GROUPS));
		break;
	case '/':
	case '\\':
	case KEY_F(4):
		ask_filter(v);
		break;
	case '\n':
	case '\r':
	case KEY_ENTER:
	case 'i':
		enter(v);
		break;
	case 'h':
	case '?':
	case KEY_F(1):
		turn_to(v, PAGE_HELP);
		break;
	default:
		break;
	}
}

/* --- the other pages --- */

static void page_key(struct top_view *v, int key)
{
	int most = v->page_lines > v->rows ? v->page_lines - v->rows : 0;

	if (key == KEY_UP || key == 'k')
		v->scroll--;
	else if (key == KEY_DOWN || key == 'j')
		v->scroll++;
	else if (key == KEY_PPAGE)
		v->scroll -= v->rows;
	else if (key == KEY_NPAGE || key == ' ')
		v->scroll += v->rows;
	else if (key == KEY_HOME)
		v->scroll = 0;
	else if (key == KEY_END)
		v->scroll = most;
	else if (v->page == PAGE_FIELDS && order_key(v, key))
		return;
	else if (key == 'q' || key == KEY_ESC || key == 'i' || key == '\n' || key == '\r' || key == 'h' || key == '?' || key == KEY_F(10))
		turn_to(v, PAGE_LIST);
	if (v->scroll > most)
		v->scroll = most;
	if (v->scroll < 0)
		v->scroll = 0;
}

void top_key(struct top_view *v, int key)
{
	if (v->asking == ASK_FILTER || v->asking == ASK_SECONDS) {
		edit_key(v, key);
		return;
	}
	v->message[0] = 0;
	if (v->asking == ASK_SURE)
		sure_key(v, key);
	else if (v->page == PAGE_LIST)
		list_key(v, key);
	else
		page_key(v, key);
}
