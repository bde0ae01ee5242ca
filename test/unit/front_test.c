/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frontend's pure parts: shares, the exact nftables text, the steps from one table to the next, who is healthy, when INSs are started.
 * Trust: believes the text below, which test/net/frontend_test.py shows to work on a kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "front/member.h"
#include "front/rules.h"
#include "front/scale.h"
#include "front/steps.h"

/* --- shares --- */

static void count(unsigned got[SPREAD_MAX], const uint8_t slots[SPREAD_SLOTS])
{
	memset(got, 0, SPREAD_MAX * sizeof(got[0]));
	for (int s = 0; s < SPREAD_SLOTS; s++)
		got[slots[s]]++;
}

static void test_shares(void **state)
{
	static const unsigned even[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, odd[3] = { 100, 40, 20 }, far[3] = { 1000, 1, 0 };
	uint8_t slots[SPREAD_SLOTS];
	unsigned got[SPREAD_MAX];

	(void)state;
	for (size_t n = 1; n <= 8; n++) {
		spread_slots(slots, even, NULL, n, false);
		count(got, slots);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(got[i], SPREAD_SLOTS / n);
		for (size_t s = 0; s + n <= SPREAD_SLOTS; s += n) /* mixed: each n slots in a row have all */
			for (size_t i = 1; i < n; i++)
				assert_int_not_equal(slots[s], slots[s + i]);
	}
	spread_slots(slots, odd, NULL, 3, false);
	count(got, slots);
	assert_true(got[0] == 525 && got[1] == 210 && got[2] == 105);
	spread_slots(slots, far, NULL, 3, false);
	count(got, slots);
	assert_true(got[0] == 839 && got[1] == 1 && got[2] == 0);
}

/* All weights there are add up, whatever they are. */
static void test_any_weights(void **state)
{
	uint8_t slots[SPREAD_SLOTS];
	unsigned weights[SPREAD_MAX], got[SPREAD_MAX];
	uint32_t seed = 1;

	(void)state;
	for (int turn = 0; turn < 500; turn++) {
		size_t n = 1 + (size_t)turn % SPREAD_MAX;

		for (size_t i = 0; i < n; i++) {
			seed = seed * 1664525u + 1013904223u;
			weights[i] = turn % 3 ? seed >> 22 : seed >> 31;
		}
		weights[n - 1] += 1;
		spread_slots(slots, weights, NULL, n, false);
		count(got, slots);
		for (size_t i = 0; i < SPREAD_MAX; i++)
			assert_true(i < n && weights[i] ? got[i] > 0 : got[i] == 0);
	}
}

static void test_hash(void **state)
{
	static const uint32_t ids[4] = { 11, 22, 33, 44 }, without[3] = { 11, 33, 44 };
	static const uint8_t now_is[3] = { 0, 2, 3 };
	uint8_t before[SPREAD_SLOTS], after[SPREAD_SLOTS];
	unsigned got[SPREAD_MAX];

	(void)state;
	spread_slots(before, NULL, ids, 4, true);
	spread_slots(after, NULL, without, 3, true);
	count(got, before);
	for (int i = 0; i < 4; i++)
		assert_in_range(got[i], 140, 280);
	for (int s = 0; s < SPREAD_SLOTS; s++)
		if (before[s] != 1)
			assert_int_equal(now_is[after[s]], before[s]);
}

static void test_weigh(void **state)
{
	struct spread_load l[3] = { { .cpu = 0.1 }, { .cpu = 0.75 }, { .cpu = 1 } }, few[3] = { { 0, 10, 0, 0 }, { 0, 4, 3, 0 }, { 0, 4, 3, 0 } };

	(void)state;
	spread_weigh(BALANCE_LOAD, l, 3);
	assert_true(l[0].weight == 100 && l[1].weight == 50 && l[2].weight == 10);
	l[1].cpu = 0.72;
	spread_weigh(BALANCE_LOAD, l, 3);
	assert_int_equal(l[1].weight, 50); /* a small change changes nothing */
	l[1].cpu = 0.6;
	spread_weigh(BALANCE_LOAD, l, 3);
	assert_int_equal(l[1].weight, 80);
	spread_weigh(BALANCE_RR, l, 3);
	assert_true(l[0].weight == 1 && l[2].weight == 1);
	spread_weigh(BALANCE_LEAST, few, 3);
	assert_true(few[0].weight == 0 && few[1].weight == 500 && few[2].weight == 500);
}

/* --- rules --- */

static struct entry make_entry(const char *host, unsigned ins, const char *addr4, const char *addr6)
{
	struct entry e = { .app = "web", .ins = ins, .state = ENTRY_UP, .port_count = 1,
			   .ports = { { .proto = IPPROTO_TCP, .host_port = 8080, .port = 80 } } };

	strcpy(e.host, host);
	e.has4 = addr4 && inet_pton(AF_INET, addr4, e.addr4) == 1;
	e.has6 = addr6 && inet_pton(AF_INET6, addr6, e.addr6) == 1;
	return e;
}

static char *table_of(const struct rules *r, int want)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	assert_int_equal(rules_write_table(out, r), want);
	fclose(out);
	return text;
}

static char *maps_of(const struct rules *r, bool flush)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	assert_int_equal(rules_write_maps(out, r, flush), 0);
	fclose(out);
	return text;
}

static const char golden[] =
	"table inet mwf-web {\n"
	"	map gbebb5ae6 {\n"
	"		typeof numgen inc mod 840 : verdict\n"
	"	}\n"
	"	map g7cc9df08 {\n"
	"		typeof numgen inc mod 840 : verdict\n"
	"	}\n"
	"	map gfddf6f9e {\n"
	"		typeof numgen inc mod 840 : verdict\n"
	"	}\n"
	"	chain ins-a.example-0 {\n"
	"		meta nfproto ipv4 tcp dport 8080 dnat ip to 10.237.0.2:80\n"
	"		meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd6d::2]:80\n"
	"	}\n"
	"	chain ins-b-7 {\n"
	"		ip daddr 192.0.2.1 udp dport 53 dnat ip to 10.237.0.6:5353\n"
	"		meta nfproto ipv4 tcp dport 8080 dnat ip to 10.237.0.6:80\n"
	"	}\n"
	"	chain publish {\n"
	"		ip daddr 127.0.0.0/8 return\n"
	"		ip6 daddr ::1 return\n"
	"		ip6 daddr fe80::/10 return\n"
	"		ip daddr 192.0.2.1 udp dport 53 numgen inc mod 840 vmap @gbebb5ae6\n"
	"		meta nfproto ipv4 tcp dport 8080 numgen inc mod 840 vmap @g7cc9df08\n"
	"		meta nfproto ipv6 tcp dport 8080 numgen inc mod 840 vmap @gfddf6f9e\n"
	"	}\n"
	"	chain prerouting {\n"
	"		type nat hook prerouting priority -110; policy accept;\n"
	"		fib daddr type local jump publish\n"
	"	}\n"
	"	chain output {\n"
	"		type nat hook output priority -110; policy accept;\n"
	"		fib daddr type local jump publish\n"
	"	}\n"
	"}\n";

static void test_rules(void **state)
{
	struct entry a = make_entry("a.example", 0, "10.237.0.2", "fd6d::2"), b = make_entry("b", 7, "10.237.0.6", NULL);
	struct rules_member members[] = { { &a, 1 }, { &b, 1 } };
	struct rules_taken taken = { IPPROTO_TCP, 8080 };
	struct rules r = { .name = "web", .balance = BALANCE_RR, .members = members, .count = 2 };
	char *text;

	(void)state;
	b.ports[1] = (struct entry_port){ .proto = IPPROTO_UDP, .family = AF_INET, .addr = { 192, 0, 2, 1 }, .host_port = 53, .port = 5353 };
	b.ports[2] = (struct entry_port){ .proto = IPPROTO_TCP, .family = AF_INET, .addr = { 127, 0, 0, 1 }, .host_port = 22, .port = 22 };
	b.port_count = 3;
	text = table_of(&r, 0);
	assert_string_equal(text, golden);
	free(text);
	text = maps_of(&r, true);
	assert_non_null(strstr(text, "flush map inet mwf-web g7cc9df08\n"));
	assert_non_null(strstr(text, "add element inet mwf-web g7cc9df08 { 0 : goto ins-a.example-0, 1 : goto ins-b-7, 2 : goto ins-a.example-0,"));
	assert_non_null(strstr(text, "add element inet mwf-web gbebb5ae6 { 0 : goto ins-b-7, 1 : goto ins-b-7,"));
	free(text);
	r.balance = BALANCE_HASH;
	r.taken = &taken;
	r.taken_count = 1;
	text = table_of(&r, 0);
	assert_non_null(strstr(text, "udp dport 53 jhash ip saddr mod 840 seed 0x6d77 vmap @gbebb5ae6\n"));
	assert_null(strstr(text, "8080"));
	free(text);
}

static void test_no_rules(void **state)
{
	struct rules r = { .name = "web" };
	char *text = table_of(&r, 0);

	(void)state;
	assert_null(strstr(text, "dport"));
	assert_non_null(strstr(text, "chain prerouting"));
	free(text);
	r.name = "x; flush ruleset";
	free(table_of(&r, -EINVAL));
}

static void test_many_ports(void **state)
{
	static struct entry e[8];
	struct rules_member members[8];
	struct rules r = { .name = "web", .members = members, .count = 8 };
	char *text;

	(void)state;
	for (unsigned m = 0; m < 8; m++) {
		e[m] = make_entry("a", m, "10.0.0.1", NULL);
		members[m] = (struct rules_member){ &e[m], 1 };
		for (e[m].port_count = 0; e[m].port_count < ENTRY_PORTS_MAX; e[m].port_count++)
			e[m].ports[e[m].port_count] = (struct entry_port){ .proto = IPPROTO_TCP, .host_port = (uint16_t)(1 + m % 5 * 256 + e[m].port_count), .port = 1 };
	}
	free(table_of(&r, -ENOSPC));
	r.count = 4;
	text = table_of(&r, 0);
	free(text);
}

/* --- steps --- */

static char *step_of(enum steps_step step, const char *plan, const char *maps, const char *old)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	steps_write(out, step, "web", plan, maps, old);
	fclose(out);
	return text;
}

static void test_steps(void **state)
{
	static const char old[] = "table inet mwf-web {\n\tmap g1 {\n\t\ttypeof x : verdict\n\t\telements = { 0 : goto ins-a-0 }\n\t}\n\n"
				  "\tchain ins-a-0 {\n\t\told\n\t}\n\n\tchain ins-a-1 {\n\t\tsame\n\t}\n\n\tchain ins-a-2 {\n\t\tgone\n\t}\n"
				  "\tchain bad; name {\n\t\tx\n\t}\n}\n";
	static const char plan[] = "table inet mwf-web {\n\tmap g1 {\n\t\ttypeof x : verdict\n\t}\n\tmap g2 {\n\t\ttypeof x : verdict\n\t}\n"
				   "\tchain ins-a-0 {\n\t\tnew\n\t}\n\tchain ins-a-1 {\n\t\tsame\n\t}\n\tchain ins-a-3 {\n\t\tcomes\n\t}\n}\n";
	static const char maps[] = "add element inet mwf-web g1 { 0 : goto ins-a-1 }\nadd element inet mwf-web g2 { 0 : goto ins-a-3 }\n";
	static const char *const want[STEPS_COUNT] = {
		"table inet mwf-web {\n\tmap g2 {\n\t\ttypeof x : verdict\n\t}\n\tchain ins-a-3 {\n\t\tcomes\n\t}\n}\n"
		"add element inet mwf-web g2 { 0 : goto ins-a-3 }\n",
		"flush map inet mwf-web g1\nadd element inet mwf-web g1 { 0 : goto ins-a-1 }\nflush chain inet mwf-web ins-a-0\n"
		"table inet mwf-web {\n\tchain ins-a-0 {\n\t\tnew\n\t}\n}\n",
		"delete chain inet mwf-web ins-a-2\n",
	};

	(void)state;
	for (enum steps_step step = STEPS_ADD; step < STEPS_COUNT; step++) {
		char *text = step_of(step, plan, maps, old);

		assert_string_equal(text, want[step]);
		free(text);
		text = step_of(step, "table inet mwf-web {\n}\n", "", "table inet mwf-web {\n}\n");
		assert_string_equal(text, "");
		free(text);
	}
}

/* --- members --- */

static void test_member(void **state)
{
	struct member m = { .fd = -1 };
	struct entry e = make_entry("a", 0, "10.0.0.1", NULL);

	(void)state;
	e.heartbeat = 1;
	member_take(&m, &e, 10000);
	assert_string_equal(member_refusal(&m, 10000, 1000), "it was not seen to serve yet");
	member_probed(&m, true);
	assert_null(member_refusal(&m, 12000, 1000));
	assert_string_equal(member_refusal(&m, 12001, 1000), "it has no heartbeat");
	member_take(&m, &e, 12500); /* written again, the same heartbeat: an old entry stays old */
	assert_string_equal(member_refusal(&m, 12501, 1000), "it has no heartbeat");
	e.heartbeat = 0.5; /* its clock was set back */
	member_take(&m, &e, 12500);
	assert_null(member_refusal(&m, 12501, 1000));
	member_probed(&m, false);
	assert_null(member_refusal(&m, 12501, 1000));
	member_probed(&m, false);
	assert_string_equal(member_refusal(&m, 12501, 1000), "it does not serve");
	member_probed(&m, true);
	assert_non_null(member_refusal(&m, 12501, 1000));
	member_probed(&m, true);
	assert_null(member_refusal(&m, 12501, 1000));
	assert_false(member_take(&m, &e, 12500));
	e.addr4[3] = 9; /* elsewhere */
	assert_true(member_take(&m, &e, 12500));
	assert_string_equal(member_refusal(&m, 12501, 1000), "it was not seen to serve yet");
	e.ports[0].proto = IPPROTO_UDP; /* nothing to probe */
	member_take(&m, &e, 12500);
	assert_null(member_refusal(&m, 12501, 1000));
	e.state = ENTRY_DRAIN;
	member_take(&m, &e, 12500);
	assert_string_equal(member_refusal(&m, 12501, 1000), "it is drained");
}

/* --- more and fewer --- */

static void test_scale(void **state)
{
	struct scale s = { .min = 2, .max = 3, .high = 0.75, .low = 0.25, .hold_ms = 1000 };

	(void)state;
	assert_int_equal(scale_decide(&s, 1, 1, 0), SCALE_ADD); /* too few: at once */
	assert_int_equal(scale_decide(&s, 500, 1, 0), SCALE_NOTHING); /* it takes a while */
	assert_int_equal(scale_decide(&s, 2000, 2, 0.8), SCALE_NOTHING);
	assert_int_equal(scale_decide(&s, 2900, 2, 0.8), SCALE_NOTHING);
	assert_int_equal(scale_decide(&s, 3000, 2, 0.8), SCALE_ADD);
	assert_int_equal(scale_decide(&s, 9000, 3, 0.9), SCALE_NOTHING);
	assert_int_equal(scale_decide(&s, 19000, 3, 0.9), SCALE_NOTHING); /* the maximum */
	assert_int_equal(scale_decide(&s, 20000, 3, 0.2), SCALE_NOTHING);
	assert_int_equal(scale_decide(&s, 20900, 3, 0.5), SCALE_NOTHING); /* not for long enough */
	assert_int_equal(scale_decide(&s, 21000, 3, 0.2), SCALE_NOTHING);
	assert_int_equal(scale_decide(&s, 22000, 3, 0.2), SCALE_RETIRE);
	assert_int_equal(scale_decide(&s, 30000, 2, 0), SCALE_NOTHING);
	assert_int_equal(scale_decide(&s, 40000, 2, 0), SCALE_NOTHING); /* the minimum */
	assert_int_equal(scale_decide(&s, 50000, 4, 0.5), SCALE_RETIRE); /* too many */
	s = (struct scale){ .min = 1, .max = 9, .high = 0.6, .low = 0.5, .hold_ms = 1000 };
	scale_decide(&s, 1000, 2, 0.4);
	assert_int_equal(scale_decide(&s, 9000, 2, 0.4), SCALE_NOTHING); /* the one that stays would be too busy */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares), cmocka_unit_test(test_any_weights), cmocka_unit_test(test_hash), cmocka_unit_test(test_weigh),
		cmocka_unit_test(test_rules),  cmocka_unit_test(test_no_rules),	   cmocka_unit_test(test_many_ports),
		cmocka_unit_test(test_steps),  cmocka_unit_test(test_member),	   cmocka_unit_test(test_scale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
