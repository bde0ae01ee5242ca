// SPDX-License-Identifier: Apache-2.0
/*
 * top_view.c - the screen of `mw top`: waits, draws. See top_view.h.
 * Trust: as in top_rows.h; nothing but printable ASCII and spark lines is drawn.
 *
 * Signals are let in only while it waits. One that ends the program ends the loop; the terminal is put right, and then it
 * is raised again.
 */
#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <time.h>
#include <unistd.h>

#include "ctl/clean.h"
#include "ctl/top_view.h"

#define ESCAPE_MS     50

enum { LOOK_HEADING = 1, LOOK_MARK, LOOK_BAD };

static volatile sig_atomic_t ended_by;
static bool coloured;

static void on_end(int sig)
{
	ended_by = sig;
}

bool top_view_usable(void)
{
	int error;
	const char *cup;

	if (setupterm(NULL, STDOUT_FILENO, &error) != OK)
		return false;
	cup = tigetstr("cup");
	return cup && cup != (const char *)-1;
}

static attr_t look(int pair, attr_t plain)
{
	return coloured ? (attr_t)COLOR_PAIR(pair) : plain;
}

static void colours(void)
{
	const char *no = getenv("NO_COLOR");

	if ((no && *no) || !has_colors() || start_color() == ERR)
		return;
	coloured = true;
	init_pair(LOOK_HEADING, COLOR_BLACK, COLOR_GREEN);
	init_pair(LOOK_MARK, COLOR_BLACK, COLOR_CYAN);
	init_pair(LOOK_BAD, COLOR_RED, COLOR_BLACK);
}

/* --- drawing --- */

/* As much of a line as fits, in that look; a bar reaches to the edge. */
static void put(int y, int x, const char *text, attr_t a, bool bar)
{
	int chars = 0, n = 0;

	if (y < 0 || y >= LINES || x >= COLS)
		return;
	for (; text[n]; n++) {
		bool starts = (text[n] & 0xc0) != 0x80;

		if (starts && chars == COLS - x)
			break;
		chars += starts;
	}
	attrset(a);
	mvaddnstr(y, x, text, n);
	for (; bar && chars < COLS - x; chars++)
		addch(' ');
	attrset(A_NORMAL);
}

static void draw_heading(const struct top_view *v, const struct top_layout *l)
{
	char text[TOP_LINE_BYTES];
	int mark[2];

	top_heading(l, &v->t->look, text, mark);
	put(v->top + 1, 0, text, look(LOOK_HEADING, A_REVERSE), true);
	if (mark[1] > mark[0] && mark[0] < COLS) {
		text[mark[1]] = 0;
		put(v->top + 1, mark[0], text + mark[0], look(LOOK_HEADING, A_REVERSE) | A_BOLD | A_UNDERLINE, false);
	}
}

static void draw_table(struct top_view *v)
{
	struct top_model *m = &v->t->model;
	char text[TOP_LINE_BYTES];
	struct top_layout l;
	size_t rows = v->rows > 0 ? (size_t)v->rows : 0;

	if (v->at < v->first)
		v->first = v->at;
	if (rows && v->at >= v->first + rows)
		v->first = v->at - rows + 1;
	if (v->first + rows > m->shown)
		v->first = m->shown > rows ? m->shown - rows : 0;
	if (m->shown - v->first < rows)
		rows = m->shown - v->first;
	top_measure(&v->t->look, m->order + v->first, rows);
	top_layout(&l, m, &v->t->look, COLS);
	draw_heading(v, &l);
	for (size_t i = 0; i < rows; i++) {
		bool mark = v->first + i == v->at;

		top_row_text(&l, &v->t->look, m->order[v->first + i], text);
		put(v->top + 2 + (int)i, 0, text, mark ? look(LOOK_MARK, A_REVERSE) : A_NORMAL, mark);
	}
}

/* One line of a page, if it is among those on the screen. */
static void page_line(struct top_view *v, const char *text)
{
	int y = v->page_lines++ - v->scroll;

	if (y >= 0 && y < v->rows)
		put(v->top + 2 + y, 0, text, A_NORMAL, false);
}

static void field_line(const char *name, const char *value, const char *help, void *arg)
{
	char text[TOP_LINE_BYTES];

	snprintf(text, sizeof(text), "%-16.30s %-26s %s", name, value, help);
	page_line(arg, text);
}

static void draw_fields(struct top_view *v)
{
	struct timespec now;
	char text[TOP_LINE_BYTES], comm[32], id[40] = "";

	if (!v->ended) {
		struct flow f;

		v->ended = !top_flow(v->t, v->flow_app, v->flow.ins, v->flow.f.id, &f);
		if (!v->ended)
			v->flow = f;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	if (v->t->look.inss)
		snprintf(id, sizeof(id), ", %u/%llu", v->flow.ins, (unsigned long long)v->flow.f.id);
	snprintf(text, sizeof(text), "A connection of %s (%s)%s%s", v->flow_app, comm_of(v->flow.f.pid, comm), id,
		 v->ended ? ": it has ended; these were its last values" : "");
	put(v->top + 1, 0, clean_text(text), look(LOOK_HEADING, A_REVERSE), true);
	v->page_lines = 0;
	top_fields(&v->flow, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, field_line, v);
}

static void draw_help(struct top_view *v)
{
	put(v->top + 1, 0, "Keys", look(LOOK_HEADING, A_REVERSE), true);
	v->page_lines = 0;
	for (int i = 0; top_help_lines[i]; i++)
		page_line(v, top_help_lines[i]);
}

/* A question's end is what matters, when it does not fit. */
static void draw_question(const struct top_view *v)
{
	char text[TOP_LINE_BYTES];
	int n, from;

	top_question(v, text);
	n = (int)strlen(text);
	from = n >= COLS ? n - COLS + 1 : 0;
	put(v->top, 0, text + from, A_BOLD, true);
	if (*v->message) /* what is wrong with it */
		put(LINES - 1, 0, v->message, look(LOOK_BAD, A_BOLD), true);
	move(v->top < LINES ? v->top : LINES - 1, n - from < COLS ? n - from : COLS - 1);
}

static void draw(struct top_view *v)
{
	char text[TOP_LINE_BYTES];

	v->top = top_headers(v->t);
	v->rows = LINES - v->top - 3;
	erase();
	for (int i = 0; i < v->top; i++)
		put(i, 0, top_header(v->t, i, text), i == 2 ? A_NORMAL : A_BOLD, false);
	if (v->page == PAGE_LIST)
		draw_table(v);
	else if (v->page == PAGE_FIELDS)
		draw_fields(v);
	else
		draw_help(v);
	put(LINES - 1, 0,
	    v->page == PAGE_LIST ? "h Help / Filter g Group <> Sort Enter Inspect c Close r Reset b Block q Quit" :
	    v->page == PAGE_FIELDS ? "arrows, Page Up, Page Down  c Close r Reset b Block  q Back" : "arrows, Page Up, Page Down  q Back",
	    look(LOOK_MARK, A_REVERSE), true);
	curs_set(v->asking != ASK_NOTHING);
	if (v->asking != ASK_NOTHING)
		draw_question(v);
	else
		put(v->top, 0, v->message, v->bad ? look(LOOK_BAD, A_BOLD) | A_BOLD : A_BOLD, false);
	refresh();
}

/* --- waiting --- */

static uint64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* Until a key, a signal, or the next refresh is due. False: the terminal is gone. */
static bool wait_for(uint64_t due_ms, const sigset_t *during)
{
	uint64_t now = monotonic_ms(), left = due_ms > now ? due_ms - now : 0;
	struct timespec limit = { .tv_sec = (time_t)(left / 1000), .tv_nsec = (long)(left % 1000) * 1000000 };
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	int r = ppoll(&p, 1, &limit, during);

	return r < 0 ? errno == EINTR : !(p.revents & (POLLHUP | POLLERR | POLLNVAL));
}

static void loop(struct top_view *v, const sigset_t *during)
{
	uint64_t period = (uint64_t)(v->t->delay_s * 1000), due = 0;
	int key;

	while (!v->done && !ended_by) {
		if (monotonic_ms() >= due) {
			if (top_refresh(v->t) < 0)
				return;
			top_mark(v);
			due = monotonic_ms() + period;
		}
		draw(v);
		if (!wait_for(due, during))
			return;
		while (!v->done && (key = getch()) != ERR)
			if (key != KEY_RESIZE)
				top_key(v, key);
	}
}

static void catch_signals(sigset_t *before)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction act = { .sa_handler = on_end };
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGWINCH);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		sigaddset(&held, ends[i]);
		sigaction(ends[i], &act, NULL);
	}
	sigprocmask(SIG_BLOCK, &held, before);
}

int top_view(struct top *t)
{
	struct top_view v = { .t = t };
	sigset_t before;
	SCREEN *screen;

	catch_signals(&before);
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return EXIT_PROBLEM;
	cbreak();
	noecho();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	set_escdelay(ESCAPE_MS);
	colours();
	loop(&v, &before);
	endwin();
	delscreen(screen);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (ended_by && ended_by != SIGINT) {
		signal(ended_by, SIG_DFL);
		raise(ended_by);
	}
	return EXIT_OK;
}
