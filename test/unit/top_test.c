// SPDX-License-Identifier: Apache-2.0
/*
 * top_test.c - `mw top` without a terminal: what moved, order, groups, columns, text.
 * Trust: none.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/top_rows.h"

#define SECOND 1000000000ull
#define START  (1700000000 * SECOND)

static struct flow one(uint32_t slot, const char *peer, uint64_t opened_ns, uint64_t rx, uint64_t tx)
{
	struct flow f = { 0 };

	f.f.id = 1ull << 32 | slot;
	f.f.state = MW_ST_ESTABLISHED;
	f.f.opened_ns = opened_ns;
	f.f.rx_bytes = rx;
	f.f.tx_bytes = tx;
	f.f.peer.port = (uint16_t)(4000 + slot);
	f.f.peer.family = strchr(peer, ':') ? MW_FAMILY_IP6 : MW_FAMILY_IP4;
	inet_pton(strchr(peer, ':') ? AF_INET6 : AF_INET, peer, f.f.peer.addr);
	f.f.local.family = MW_FAMILY_IP4;
	f.f.local.port = 80;
	return f;
}

static const char *command(uint32_t pid, char text[32])
{
	snprintf(text, 32, pid == 666 ? "\033[2Jevil\007\xff" : "nginx");
	return text;
}

struct bench {
	struct top_model m;
	struct top_source s;
};

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	top_init(&b->m);
	*state = b;
	return top_source_init(&b->s, "web", 0, 64);
}

static int end(void **state)
{
	struct bench *b = *state;

	top_fini(&b->m);
	top_source_fini(&b->s);
	free(b);
	return 0;
}

static void refresh(struct bench *b, uint64_t now, const struct flow *f, size_t n)
{
	top_begin(&b->m, now, false);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(top_add(&b->m, &b->s, (uint32_t)f[i].f.id, &f[i]), 0);
	top_added(&b->m, &b->s);
	assert_int_equal(top_arrange(&b->m, TOP_EACH, TOP_AGE, false), 0);
}

/* Before a second look a rate is the life's; then what moved since. One that is new moved all it has. */
static void rates(void **state)
{
	struct bench *b = *state;
	struct flow f[2] = { one(1, "192.0.2.1", START - 10 * SECOND, 1000, 500) };

	refresh(b, START, f, 1);
	assert_int_equal(b->m.order[0]->rate, 150);
	assert_int_equal(b->m.order[0]->looks, 0);
	f[0].f.rx_bytes += 4000;
	f[1] = one(2, "192.0.2.2", START + SECOND, 100, 0);
	refresh(b, START + 2 * SECOND, f, 2);
	assert_int_equal(b->m.order[0]->rate, 2000);
	assert_int_equal(b->m.order[0]->history[TOP_HISTORY - 1], 4000);
	assert_int_equal(b->m.order[0]->looks, 1);
	assert_int_equal(b->m.order[1]->rate, 50);
	assert_int_equal(b->m.order[1]->history[TOP_HISTORY - 1], 100);
	assert_int_equal(b->m.totals.rx_rate, 2050);
	refresh(b, START + 4 * SECOND, f, 2);
	assert_int_equal(b->m.order[0]->rate, 0);
	assert_int_equal(b->m.order[0]->history[TOP_HISTORY - 2], 4000);
	assert_int_equal(b->m.order[0]->history[TOP_HISTORY - 1], 0);
}

/* A slot's next connection has nothing of the one before. */
static void reused(void **state)
{
	struct bench *b = *state;
	struct flow f = one(1, "192.0.2.1", START - SECOND, 1 << 20, 0);

	refresh(b, START, &f, 1);
	refresh(b, START + 2 * SECOND, &f, 1);
	f = one(1, "192.0.2.9", START + 3 * SECOND, 10, 0);
	f.f.id = 2ull << 32 | 1;
	refresh(b, START + 4 * SECOND, &f, 1);
	assert_int_equal(b->m.order[0]->looks, 1);
	assert_int_equal(b->m.order[0]->history[TOP_HISTORY - 1], 10);
	f.f.id = 3ull << 32 | 1;
	f.f.opened_ns = START; /* it was there, and was not seen */
	f.f.rx_bytes = 6000;
	refresh(b, START + 6 * SECOND, &f, 1);
	assert_int_equal(b->m.order[0]->looks, 0);
	assert_int_equal(b->m.order[0]->rate, 1000);
}

/* Numbers that no honest INS writes: clocks and counts that go back, and more than there can be. */
static void nonsense(void **state)
{
	struct bench *b = *state;
	struct flow f[2] = { one(1, "192.0.2.1", START + 100 * SECOND, UINT64_MAX, UINT64_MAX),
			     one(2, "192.0.2.1", 1, UINT64_MAX, 5) };

	f[0].unread = f[1].unread = UINT64_MAX;
	f[0].f.state = f[1].f.head = UINT32_MAX;
	f[1].f.peer.family = 77;
	refresh(b, START, f, 2);
	f[0].f.rx_bytes = 0;
	refresh(b, START - SECOND, f, 2);
	refresh(b, START, f, 2);
	assert_true(b->m.order[1]->age_ns == 0 && b->m.totals.unread == UINT64_MAX);
	for (int g = 0; g < TOP_GROUPS; g++) {
		struct top_look look = { .group = (enum top_group)g, .command = command, .apps = true };
		char text[TOP_LINE_BYTES];
		struct top_layout l;

		assert_int_equal(top_arrange(&b->m, look.group, TOP_BYTES, false), 0);
		top_layout(&l, &b->m, &look, TOP_WIDE);
		for (size_t i = 0; i < b->m.shown; i++)
			top_row_text(&l, &look, b->m.order[i], text);
	}
}

static void order(void **state)
{
	struct bench *b = *state;
	struct flow f[4] = { one(1, "192.0.2.1", START - 10 * SECOND, 100, 0), one(2, "192.0.2.2", START - 30 * SECOND, 300, 0),
			     one(3, "192.0.2.3", START - 20 * SECOND, 200, 50), one(4, "0.0.0.0", START - 90 * SECOND, 0, 0) };
	static const struct {
		enum top_sort sort;
		uint32_t slots[3];
	} cases[] = { { TOP_AGE, { 2, 3, 1 } }, { TOP_SILENCE, { 3, 1, 2 } }, { TOP_BYTES, { 2, 3, 1 } }, { TOP_UNREAD, { 1, 2, 3 } },
		      { TOP_COUNT, { 1, 2, 3 } } };

	f[1].f.last_rx_ns = START - SECOND;
	f[0].unread = 9;
	f[3].f.peer.family = MW_FAMILY_NONE;
	f[3].f.state = MW_ST_LISTEN;
	refresh(b, START, f, 4);
	assert_int_equal(b->m.totals.sockets, 4);
	assert_int_equal(b->m.totals.listening, 1);
	assert_int_equal(b->m.shown, 3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(top_arrange(&b->m, TOP_EACH, cases[i].sort, false), 0);
		for (size_t j = 0; j < 3; j++)
			assert_int_equal(b->m.order[j]->slot, cases[i].slots[j]);
	}
	top_arrange(&b->m, TOP_EACH, TOP_AGE, true);
	assert_int_equal(b->m.order[0]->slot, 1);
}

static void filtered(void **state)
{
	struct bench *b = *state;
	struct flow f[2] = { one(1, "192.0.2.1", START - 10 * SECOND, 100, 0), one(2, "198.51.100.2", START - 30 * SECOND, 300, 0) };
	char why[FILTER_WHY_BYTES];
	struct filter *p = filter_parse("peer = 192.0.2.0/24", why);

	refresh(b, START, f, 2);
	f[1].f.rx_bytes += 64;
	b->m.filter = p;
	refresh(b, START + 2 * SECOND, f, 2);
	assert_int_equal(b->m.shown, 1);
	assert_int_equal(b->m.connections, 2);
	b->m.filter = NULL; /* what was left out has its progress all the same; looking again adds none */
	top_begin(&b->m, START + 2 * SECOND, true);
	f[1].f.rx_bytes += 1000;
	for (int i = 0; i < 2; i++)
		top_add(&b->m, &b->s, (uint32_t)f[i].f.id, &f[i]);
	top_added(&b->m, &b->s);
	top_arrange(&b->m, TOP_EACH, TOP_AGE, false);
	assert_int_equal(b->m.shown, 2);
	assert_int_equal(b->m.order[0]->history[TOP_HISTORY - 1], 64);
	assert_int_equal(b->m.order[0]->rate, 32);
	filter_free(p);
}

static const char *group_text(const struct top_row *r)
{
	static char text[PREFIX_TEXT_BYTES];

	return top_peer(r, text);
}

static void groups(void **state)
{
	struct bench *b = *state;
	struct flow f[6] = { one(1, "192.0.2.1", START - 10 * SECOND, 100, 1), one(2, "192.0.2.1", START - 30 * SECOND, 300, 2),
			     one(3, "192.0.2.200", START - 20 * SECOND, 200, 3), one(4, "2001:db8::1", START - 20 * SECOND, 5, 0),
			     one(5, "2001:db8::ffff", START - 20 * SECOND, 6, 0), one(6, "::ffff:192.0.2.1", START - SECOND, 1000, 0) };

	refresh(b, START, f, 6);
	top_arrange(&b->m, TOP_PEER, TOP_COUNT, false);
	assert_int_equal(b->m.shown, 4);
	assert_string_equal(group_text(b->m.order[0]), "192.0.2.1");
	assert_int_equal(b->m.order[0]->count, 3);
	assert_int_equal(b->m.order[0]->rx, 1400);
	assert_int_equal(b->m.order[0]->age_ns, 30 * SECOND);
	assert_ptr_equal(b->m.order[0]->source, &b->s);
	top_arrange(&b->m, TOP_PREFIX, TOP_BYTES, false);
	assert_int_equal(b->m.shown, 2);
	assert_string_equal(group_text(b->m.order[0]), "192.0.2.0/24");
	assert_int_equal(b->m.order[0]->count, 4);
	assert_string_equal(group_text(b->m.order[1]), "2001:db8::/64");
	assert_int_equal(b->m.order[1]->count, 2);
}

static void numbers(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} counts[] = { { 0, "0" }, { 99999, "99999" }, { 100000, "97.7k" }, { 1 << 20, "1.0M" }, { 1000000, "977k" },
		       { 1047552, "1023k" }, { 1048064, "1.0M" }, { UINT64_MAX, "16.0E" } },
	  spans[] = { { 0, "0.0s" }, { 59940000000, "59.9s" }, { 60 * SECOND, "1m00" }, { 3599 * SECOND, "59m59" }, { 3600 * SECOND, "1h00" },
		      { 86399 * SECOND, "23h59" }, { 86400 * SECOND, "1d" }, { UINT64_MAX, "9999d" } };
	char text[TOP_NUMBER_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		assert_string_equal(top_count(counts[i].n, text), counts[i].text);
	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++)
		assert_string_equal(top_span(spans[i].n, text), spans[i].text);
	for (uint64_t n = 1; n; n *= 2)
		assert_true(strlen(top_count(n, text)) <= 5 && strlen(top_count(n - 1, text)) <= 5 && strlen(top_span(n, text)) <= 5);
}

static void sparks(void **state)
{
	uint32_t history[TOP_HISTORY] = { [8] = UINT32_MAX, [12] = 0, [13] = 1, [14] = 8, [15] = 1 << 21 };
	char text[80];

	(void)state;
	top_spark(history, 4, 8, false, text, sizeof(text));
	assert_string_equal(text, "    .:-@");
	top_spark(history, 4, 5, true, text, sizeof(text));
	assert_string_equal(text, " .▁▂█");
	top_spark(history, TOP_HISTORY, TOP_HISTORY, true, text, sizeof(text));
	assert_string_equal(text, "........█....▁▂█");
}

/* As it is counted by a terminal; nothing but printable ASCII and the spark line's signs. */
static int chars(const char *text)
{
	int n = 0;

	for (; *text; text++) {
		assert_true((unsigned char)*text >= ' ' && *text != 127);
		n += (*text & 0xc0) != 0x80;
	}
	return n;
}

/* At any width: no line is longer, unless not even what is always shown fits. */
static void widths(void **state)
{
	struct bench *b = *state;
	struct flow f[2] = { one(1, "192.0.2.1", START - 10 * SECOND, 100, 1),
			     one(2, "2001:db8:1111:2222:3333:4444:5555:6666", START - 30 * SECOND, 300, 2) };
	struct flow_field memory = { .name = "mem", .type = FLOW_COUNT, .unit = "", .offset = offsetof(struct flow, unsent), .help = "" };
	char text[TOP_LINE_BYTES], heading[TOP_LINE_BYTES];
	struct top_layout l;

	f[0].f.pid = 666;
	f[0].unsent = 4321;
	refresh(b, START, f, 2);
	for (int i = 0; i < 24; i++) {
		struct top_look look = { .group = (enum top_group)(i % 3), .apps = i / 3 % 2, .utf8 = i / 6 % 2, .command = command,
					 .sort = TOP_SILENCE };

		b->m.memory = i / 12 ? &memory : NULL;
		refresh(b, START, f, 2);
		top_arrange(&b->m, look.group, TOP_AGE, false);
		top_measure(&look, b->m.order, b->m.shown);
		for (int width = 1; width <= TOP_WIDE; width++) {
			top_layout(&l, &b->m, &look, width);
			top_heading(&l, &look, heading, NULL);
			assert_true(chars(heading) <= width || width < 80);
			for (size_t r = 0; r < b->m.shown; r++) {
				top_row_text(&l, &look, b->m.order[r], text);
				assert_int_equal(chars(text), chars(heading));
			}
		}
		assert_int_equal(!!strstr(heading, "MEM"), i / 12);
		assert_int_equal(!!strstr(heading, "APP"), look.apps);
	}
}

static void row(void **state)
{
	struct bench *b = *state;
	struct flow f = one(1, "192.0.2.1", START - 75 * SECOND, 100000, 1);
	struct top_look look = { .command = command, .sort = TOP_SILENCE };
	char text[TOP_LINE_BYTES];
	struct top_layout l;
	int mark[2];

	f.f.pid = 666;
	f.f.last_rx_ns = START - 3 * SECOND;
	b->m.memory = b->m.rtt = NULL;
	refresh(b, START, &f, 1);
	top_layout(&l, &b->m, &look, 80);
	top_heading(&l, &look, text, mark);
	assert_string_equal(text, "PEER                  STAT   AGE SILENT BYTES UNREAD  RATE PROGRESS        ");
	assert_int_equal(mark[0], 33);
	assert_int_equal(mark[1], 39);
	top_row_text(&l, &look, b->m.order[0], text);
	assert_string_equal(text, "192.0.2.1:4001        estb  1m15   3.0s 97.7k      0  1333                 ");
	top_layout(&l, &b->m, &look, TOP_WIDE);
	top_row_text(&l, &look, b->m.order[0], text);
	assert_non_null(strstr(text, "?[2Jevil??"));
}

struct seen {
	int count;
	char all[32768];
};

static void field(const char *name, const char *value, const char *help, void *arg)
{
	struct seen *s = arg;

	assert_true(chars(value) > 0 && *help);
	s->count++;
	snprintf(s->all + strlen(s->all), sizeof(s->all) - strlen(s->all), "%s=%s\n", name, value);
}

static void fields(void **state)
{
	struct flow f = one(1, "192.0.2.1", START - 75 * SECOND, 100000, 1);
	static struct seen s;

	(void)state;
	f.unread = 77;
	f.f.rx_silence_ns = 2500000000;
	for (int i = 0; i < (int)MW_OPT_NUM; i++)
		f.f.option[i].app = f.f.option[i].operator = MW_OPT_UNSET;
	top_fields(&f, START, field, &s);
	assert_int_equal(s.count, flow_field_count);
	for (size_t i = 0; i < flow_field_count; i++)
		assert_non_null(strstr(s.all, flow_fields[i].name));
	assert_non_null(strstr(s.all, "\npeer=192.0.2.1\n"));
	assert_non_null(strstr(s.all, "\nunread=77 bytes\n"));
	assert_non_null(strstr(s.all, "\nrx_silence=2.5 s\n"));
	assert_non_null(strstr(s.all, "(1m15 ago)\n"));
	assert_non_null(strstr(s.all, "\napp_linger=-\n"));
	assert_non_null(strstr(s.all, "\nstate=established\n"));
}

static void names(void **state)
{
	struct bench *b = *state;
	enum top_sort s;
	enum top_group g;

	b->m.memory = NULL;
	assert_true(top_sort_of(&b->m, "rate", &s) && s == TOP_RATE);
	assert_false(top_sort_of(&b->m, "memory", &s));
	assert_false(top_sort_of(&b->m, "", &s));
	b->m.memory = &flow_fields[0];
	assert_true(top_sort_of(&b->m, "memory", &s) && s == TOP_MEMORY);
	assert_true(top_group_of("prefix", &g) && g == TOP_PREFIX);
	assert_false(top_group_of("nobody", &g));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rates, begin, end), cmocka_unit_test_setup_teardown(reused, begin, end),
		cmocka_unit_test_setup_teardown(nonsense, begin, end), cmocka_unit_test_setup_teardown(order, begin, end),
		cmocka_unit_test_setup_teardown(filtered, begin, end), cmocka_unit_test_setup_teardown(groups, begin, end),
		cmocka_unit_test(numbers), cmocka_unit_test(sparks), cmocka_unit_test_setup_teardown(widths, begin, end),
		cmocka_unit_test_setup_teardown(row, begin, end), cmocka_unit_test(fields),
		cmocka_unit_test_setup_teardown(names, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
