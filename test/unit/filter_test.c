// SPDX-License-Identifier: Apache-2.0
/*
 * filter_test.c - expressions over a flow's fields: what they match, and what is wrong with those that are none.
 * Trust: none.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "telem/filter.h"
#include "telem/suspect.h"

#define NOW 1000000000000ull /* ns */

static struct flow one(void)
{
	struct flow f = { .unread = 3000, .unsent = 0 };

	f.f.id = 0x500000007ull;
	f.f.state = MW_ST_ESTABLISHED;
	f.f.type = 1;
	f.f.head = MW_HEAD_PARTIAL;
	f.f.opened_ns = NOW - 10000000000ull;
	f.f.last_rx_ns = NOW - 1500000000ull;
	f.f.rx_silence_ns = 2500000000ull;
	f.f.rx_bytes = 20 << 10;
	f.f.peer.family = MW_FAMILY_IP4;
	f.f.peer.port = 4711;
	inet_pton(AF_INET, "192.0.2.77", f.f.peer.addr);
	f.f.local.family = MW_FAMILY_IP6;
	f.f.local.port = 443;
	inet_pton(AF_INET6, "2001:db8::1", f.f.local.addr);
	for (int i = 0; i < (int)MW_OPT_NUM; i++)
		f.f.option[i].app = f.f.option[i].operator = MW_OPT_UNSET;
	f.f.option[MW_OPT_LINGER].app = 7;
	return f;
}

static void matches(void **state)
{
	static const struct {
		const char *text;
		bool is;
	} cases[] = {
		{ "", true }, { "  ", true }, { "unread > 2k", true }, { "unread>3k", false }, { "unread = 3000", true },
		{ "unread != 3000", false }, { "unread >= 3000 and unread <= 3000", true }, { "unread < 1.5M", true },
		{ "id = 21474836487", true }, { "peer = 192.0.2.77", true }, { "peer = 192.0.2.0/24", true },
		{ "peer = 192.0.3.0/24", false }, { "peer != 192.0.3.0/24", true }, { "peer = ::ffff:192.0.2.77", true },
		{ "peer = 0.0.0.0/0", true }, { "peer = ::/0", false }, { "local = 2001:db8::/32", true }, { "local=2001:db8::2", false },
		{ "peer_port = 4711 and local_port == 443", true }, { "state = established", true }, { "state != listen", true },
		{ "head = partial", true }, { "proto = tcp", true }, { "opened > 9s", true }, { "opened > 11", false },
		{ "opened < 1m", true }, { "opened > 9000ms", true }, { "last_rx >= 1.5s", true }, { "rx_silence > 2s", true },
		{ "rx_silence > 3s", false }, { "first_tx = none", true }, { "first_tx != none", false }, { "opened = none", false },
		{ "first_tx > 0", false }, { "first_tx < 1d", false }, { "not first_tx > 0", true }, { "first_tx != 5", true },
		{ "app_linger = 7", true }, { "op_linger = none", true }, { "op_linger < 9", false }, { "app_linger = none", false },
		{ "unread > 5k or head = partial", true }, { "unread > 5k && head = partial", false },
		{ "unread > 5k or head = partial and state = listen", false }, { "(unread > 5k or head = partial) and state = established", true },
		{ "!(unread > 5k) and ! head = complete", true }, { "not not unread = 3000", true }, { "unread = 3000 || id = 1 || id = 2", true },
		{ "end = none", true }, { "rx_bytes = 20k", true }, { "error = 0", true }, { "error > -1", true },
		{ "app = nginx and app != apache", true }, { "app = ngin", false }, { "command = nothing", false },
		{ "suspect = head", true }, { "suspect = zero-window and suspect != silent", true }, { "suspect = silent", false },
		{ "suspect = none", false }, { "rtt > 1ms and rtt < 3ms", true }, { "last_sent = 1.5", true }, { "cong = bbr", true },
		{ "kernel_state = fin_wait_1", true }, { "timer = persist", true }, { "rmem > 1k", true }, { "zero_window_since = none", true },
	}, unknown[] = { { "rtt > 0", false }, { "rtt = none", true }, { "cong = bbr", false }, { "cong != bbr", true }, { "rmem < 1", false } };
	struct flow f = one();
	char why[FILTER_WHY_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		struct filter *p = filter_parse(unknown[i].text, why);

		assert_non_null(p);
		if (filter_match(p, &f, NOW) != unknown[i].is)
			fail_msg("without a sample, %s: not %d", unknown[i].text, unknown[i].is);
		filter_free(p);
	}
	strcpy(f.app, "nginx");
	f.suspect = SUSPECT_HEAD | SUSPECT_ZERO_WINDOW;
	f.s = (struct sample){ .id = f.f.id, .rtt_us = 2000, .last_sent_ms = 1500, .kernel_state = 4, .timer = 4, .rmem = 2000, .cong = "bbr" };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct filter *p = filter_parse(cases[i].text, why);

		if (!p)
			fail_msg("%s: %s", cases[i].text, why);
		if (filter_match(p, &f, NOW) != cases[i].is)
			fail_msg("%s: not %d", cases[i].text, cases[i].is);
		filter_free(p);
	}
}

static void refuses(void **state)
{
	static const char *const texts[] = {
		"unread", "unread >", "> 5", "unread > x", "unread > 5q", "unread > 5s", "opened > 5k", "opened > ten", "nothing = 1",
		"peer = 300.1.1.1", "peer = 192.0.2.1/24", "peer < 192.0.2.1", "peer = 192.0.2.0/33", "state = running", "state < closed",
		"first_tx < none", "unread = 1 unread = 2", "unread = 1 and", "(unread = 1", "unread = 1)", "not", "()", "and", "unread = = 1",
		"unread = 1e30", "unread = -", "peer = 1", "unread ! 1", "suspect = bad", "suspect > head", "app < nginx", "kernel_state = closing_time", "rtt > 5k", "unread = 99999999999999999999",
	};
	char why[FILTER_WHY_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (filter_parse(texts[i], why))
			fail_msg("%s: is taken", texts[i]);
		assert_true(why[0] != 0);
	}
}

/* What it says of a text in UTF-8 is UTF-8: control's answers are JSON. */
static void says(void **state)
{
	char why[FILTER_WHY_BYTES];

	(void)state;
	assert_null(filter_parse("x\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9", why)); /* 21 bytes */
	assert_string_equal(why, "at 'x\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9': no such field; mw-flows(5) lists them");
	assert_null(filter_parse("unread >", why));
	assert_string_equal(why, "at 'the end': a value is missing");
}

/* Which of them need the kernel's word of now. */
static void sampled(void **state)
{
	static const struct {
		const char *text;
		bool is;
	} cases[] = { { "", false }, { "unread > 1 and peer = 192.0.2.1", false }, { "rtt > 1", true }, { "not (unread = 1 or tx_rate < 1k)", true },
		      { "suspect = unsent", true }, { "sampled = none", true }, { "rx_rate < 1 and asked > 1s and app_linger = 1", false } };
	char why[FILTER_WHY_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct filter *p = filter_parse(cases[i].text, why);

		assert_non_null(p);
		if (filter_sampled(p) != cases[i].is)
			fail_msg("%s: not %d", cases[i].text, cases[i].is);
		filter_free(p);
	}
}

/* Memory and depth are bounded, whatever the text. */
static void bounded(void **state)
{
	char why[FILTER_WHY_BYTES], text[FILTER_TEXT_MAX + 100] = "";
	struct filter *p;

	(void)state;
	for (size_t i = 0; i < 40; i++)
		text[i] = '(';
	assert_null(filter_parse(text, why));
	for (size_t i = 0; i + 2 < FILTER_TEXT_MAX; i++)
		text[i] = '!';
	text[FILTER_TEXT_MAX - 2] = 0;
	assert_null(filter_parse(text, why));
	memset(text, 0, sizeof(text));
	for (int i = 0; i < 63; i++)
		strcat(text, i ? " or id=1" : "id=1");
	p = filter_parse(text, why);
	assert_non_null(p);
	filter_free(p);
	strcat(text, " or id=1 or id=1");
	assert_null(filter_parse(text, why));
	memset(text, ' ', sizeof(text) - 1);
	assert_null(filter_parse(text, why));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(matches), cmocka_unit_test(refuses), cmocka_unit_test(says), cmocka_unit_test(sampled),
					    cmocka_unit_test(bounded) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
