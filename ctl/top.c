// SPDX-License-Identifier: Apache-2.0
/*
 * top.c - `mw top`: connections live on a screen, or as tables where there is none.
 * Trust: as in telem/flow.h.
 */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/top.h"

#define DELAY_S     2
#define DELAY_S_MIN 0.1
#define DELAY_S_MAX 3600
#define COUNT_MAX   1000000000u

static void help(void)
{
	printf("Usage: mw top [OPTIONS] [NAME]\n\n"
	       "Shows the connections of the application NAME, or of all, while they live. Keys: h.\n\n"
	       "  -d, --delay SECONDS    between refreshes; default %d\n"
	       "  -s, --sort KEY         age, silence (default), bytes, unread, memory, rate, connections\n"
	       "  -r, --reverse          the smallest first\n"
	       "  -g, --group WHAT       none (default), peer, prefix (/24, /64)\n"
	       "  -f, --filter FILTER    such as 'peer = 192.0.2.0/24 and unread > 16k'; mw(1) has all\n"
	       "  -n, --count N          no screen: N tables\n"
	       "      --once             no screen: one table; also when there is no terminal\n"
	       "  -h, --help             this text\n",
	       DELAY_S);
}

/* --- without a screen --- */

static int width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize w;

	if (columns && atoi(columns) > 0)
		return atoi(columns) < TOP_WIDE ? atoi(columns) : TOP_WIDE;
	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col)
		return w.ws_col < TOP_WIDE ? w.ws_col : TOP_WIDE;
	return TOP_WIDE;
}

static void print_line(char *text)
{
	size_t n = strlen(text);

	while (n && text[n - 1] == ' ')
		n--;
	printf("%.*s\n", (int)n, text);
}

static void print_table(struct top *t)
{
	char text[TOP_LINE_BYTES];
	struct top_layout l;

	for (int i = 0; i < top_headers(t); i++) {
		top_header(t, i, text);
		print_line(text);
	}
	top_measure(&t->look, t->model.order, t->model.shown);
	top_layout(&l, &t->model, &t->look, width());
	top_heading(&l, &t->look, text, NULL);
	putchar('\n');
	print_line(text);
	for (size_t i = 0; i < t->model.shown; i++) {
		top_row_text(&l, &t->look, t->model.order[i], text);
		print_line(text);
	}
}

static int tables(struct top *t, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		int r;

		if (i) {
			putchar('\n');
			poll(NULL, 0, (int)(t->delay_s * 1000));
		}
		r = top_refresh(t);
		if (r < 0) {
			fprintf(stderr, "mw: cannot look at the connections: %s\n", strerror(-r));
			return EXIT_PROBLEM;
		}
		print_table(t);
		if (fflush(stdout) == EOF)
			return EXIT_PROBLEM;
	}
	return EXIT_OK;
}

/* --- what was asked for --- */

static int set_delay(struct top *t, const char *text)
{
	char *end;

	t->delay_s = strtod(text, &end);
	if (end != text && !*end && t->delay_s >= DELAY_S_MIN && t->delay_s <= DELAY_S_MAX)
		return 0;
	return usage_error("top", "--delay takes %.1f to %d seconds, not '%s'", DELAY_S_MIN, DELAY_S_MAX, text);
}

static int set_count(unsigned long *count, const char *text)
{
	char *end;

	*count = strtoul(text, &end, 10);
	if (text[0] >= '1' && text[0] <= '9' && !*end && *count <= COUNT_MAX)
		return 0;
	return usage_error("top", "--count takes a number from 1 to %u, not '%s'", COUNT_MAX, text);
}

static int set_filter(struct top *t, const char *text)
{
	char why[FILTER_WHY_BYTES];
	const char *wrong = top_set_filter(t, text, why);

	return wrong ? usage_error("top", "--filter: %s", wrong) : 0;
}

/* 0, an EXIT_ code, or -1: help was asked for. */
static int options(struct top *t, int argc, char **argv, unsigned long *count)
{
	static const struct option longs[] = { { "delay", 1, NULL, 'd' }, { "sort", 1, NULL, 's' }, { "reverse", 0, NULL, 'r' },
					       { "group", 1, NULL, 'g' }, { "filter", 1, NULL, 'f' }, { "count", 1, NULL, 'n' },
					       { "once", 0, NULL, '1' }, { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int c, r = 0;

	while (r == 0 && (c = usage_option("top", argc, argv, ":d:s:rg:f:n:h", longs)) != -1) {
		switch (c) {
		case 'd':
			r = set_delay(t, optarg);
			break;
		case 's':
			if (!top_sort_of(&t->model, optarg, &t->look.sort))
				r = usage_error("top", "--sort: nothing is sorted by '%s'", optarg);
			break;
		case 'r':
			t->look.reverse = true;
			break;
		case 'g':
			if (!top_group_of(optarg, &t->look.group))
				r = usage_error("top", "--group takes none, peer or prefix, not '%s'", optarg);
			break;
		case 'f':
			r = set_filter(t, optarg);
			break;
		case 'n':
			r = set_count(count, optarg);
			break;
		case '1':
			*count = 1;
			break;
		case 'h':
			return -1;
		default:
			r = EXIT_USAGE;
			break;
		}
	}
	if (r == 0 && argc - optind > 1)
		r = usage_error("top", "takes one name, not '%s' too", argv[optind + 1]);
	return r;
}

static int look(struct app *a, void *arg)
{
	(void)a, (void)arg;
	return 0;
}

int cmd_top(int argc, char **argv)
{
	static struct top t = { .delay_s = DELAY_S, .look = { .sort = TOP_SILENCE, .command = comm_of } };
	unsigned long count = 0;
	int r, problem;

	setlocale(LC_CTYPE, ""); /* numbers are the same everywhere */
	top_init(&t.model);
	r = options(&t, argc, argv, &count);
	if (r < 0)
		help();
	if (r)
		return r < 0 ? EXIT_OK : r;
	t.name = argv[optind];
	t.look.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	t.look.apps = !t.name;
	problem = ask_each(t.name, look, NULL); /* what cannot be shown is said while nothing is on the screen */
	if (t.name && problem)
		return problem;
	if (!count && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && top_view_usable()))
		count = 1;
	r = count ? tables(&t, count) : top_view(&t);
	top_forget(&t);
	top_fini(&t.model);
	filter_free(t.filter);
	return r ? r : problem;
}
