/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c: the exact nftables text, the choice of addresses, and what a hostile name can do (nothing).
 * Trust: believes the text below, which net_test.c shows to work on a kernel.
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

#include "broker/plan.h"

static struct plan_port make_port(int proto, int family, const char *addr, uint16_t host_port, uint16_t ins_port)
{
	struct plan_port p = { .proto = proto, .family = family, .host_port = host_port, .ins_port = ins_port };

	if (addr)
		assert_int_equal(inet_pton(family, addr, p.addr), 1);
	return p;
}

static char *text_of(const struct plan *plan, int want)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	assert_int_equal(plan_write(out, plan), want);
	fclose(out);
	return text;
}

static const char golden_first[] =
	"create table inet mw-web {\n"
	"	flags owner\n"
	"}\n"
	"table inet mw-web {\n"
	"	flags owner\n"
	"	chain spoof {\n"
	"		type filter hook prerouting priority -300; policy accept;\n"
	"		meta iifname \"mw-0005\" ip saddr != 10.237.0.22 drop\n"
	"		meta iifname \"mw-0005\" ip6 saddr != { ::, fd6d:7763:6f6d:5::2, fe80::/10 } drop\n"
	"	}\n"
	"	chain postrouting {\n"
	"		type nat hook postrouting priority 100; policy accept;\n"
	"		ip saddr 10.237.0.22 masquerade\n"
	"		ip6 saddr fd6d:7763:6f6d:5::2 masquerade\n"
	"	}\n"
	"	chain publish {\n"
	"		ip daddr 127.0.0.0/8 return\n"
	"		ip6 daddr ::1 return\n"
	"		ip6 daddr fe80::/10 return\n"
	"	}\n"
	"	chain prerouting {\n"
	"		type nat hook prerouting priority -100; policy accept;\n"
	"		fib daddr type local jump publish\n"
	"	}\n"
	"	chain output {\n"
	"		type nat hook output priority -100; policy accept;\n"
	"		fib daddr type local jump publish\n"
	"	}\n"
	"	chain forward {\n"
	"		type filter hook forward priority 0; policy accept;\n"
	"		meta oifname \"mw-0005\" ct state established,related accept\n"
	"		meta oifname \"mw-0005\" ct status dnat accept\n"
	"		meta oifname \"mw-0005\" drop\n"
	"		meta iifname \"mw-0005\" accept\n"
	"	}\n"
	"}\n";

static void test_first(void **state)
{
	struct plan_ins one = { .open = true };
	struct plan plan = { .name = "web", .ins = &one, .ins_count = 1, .first = true, .has_v6 = true };
	char *text;

	(void)state;
	plan_slot(&one.addrs, 5);
	text = text_of(&plan, 0);
	assert_string_equal(text, golden_first);
	free(text);
}

static void test_reach(void **state)
{
	struct plan_addrs addrs, other;
	struct plan_port ports[] = { make_port(IPPROTO_TCP, AF_UNSPEC, NULL, 8080, 80), make_port(IPPROTO_UDP, AF_INET, "127.0.0.1", 53, 53) };
	struct plan_ins one = { .open = true };
	struct plan plan = { .name = "web", .ins = &one, .ins_count = 1, .ports = ports, .port_count = 2, .first = true, .reach = true };
	struct plan_prefix used = { .family = AF_INET, .bits = 30, .addr = { 10, 237, 7, 0 } };
	char *text, block[128];

	(void)state;
	plan_slot(&one.addrs, 5);
	text = text_of(&plan, 0);
	assert_non_null(strstr(text, "ct status dnat accept\n\t\tmeta oifname \"mw-0005\" tcp dport 80 accept\n\t\tmeta oifname \"mw-0005\" drop\n"));
	assert_null(strstr(text, "53 accept"));
	free(text);
	assert_int_equal(plan_pick_block(&addrs, 7, NULL, 0), 0);
	assert_string_equal(addrs.ins4, "10.237.7.2");
	assert_int_equal(plan_pick_block(&other, 7, &used, 1), 0);
	assert_string_equal(other.ins4, "10.237.7.6");
	used.bits = 24;
	assert_int_equal(plan_pick_block(&other, 7, &used, 1), -EADDRNOTAVAIL);
	assert_in_range(plan_block("a.example"), 0, PLAN_BLOCKS - 1);
	plan_block_text(block, sizeof(block), 7);
	assert_string_equal(block, "10.237.7.0/24 and fd6d:7763:6f6d:1c0::/58");
}

static const char golden_ports[] =
	"	chain publish {\n"
	"		ip daddr 127.0.0.0/8 return\n"
	"		ip6 daddr ::1 return\n"
	"		ip6 daddr fe80::/10 return\n"
	"		meta nfproto ipv4 tcp dport 8080 dnat ip to 10.237.0.22:80\n"
	"		meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd6d:7763:6f6d:5::2]:80\n"
	"		ip daddr 192.0.2.1 tcp dport 443 dnat ip to 10.237.0.22:8443\n"
	"		ip6 daddr 2001:db8::1 udp dport 53 dnat ip6 to [fd6d:7763:6f6d:5::2]:5353\n"
	"		meta nfproto ipv4 tcp dport 25 dnat ip to 10.237.0.22:25\n"
	"		meta nfproto ipv6 tcp dport 26 dnat ip6 to [fd6d:7763:6f6d:5::2]:26\n"
	"	}\n";

static void test_ports(void **state)
{
	struct plan_ins one = { .open = true };
	const struct plan_port ports[] = {
		make_port(IPPROTO_TCP, AF_UNSPEC, NULL, 8080, 80),
		make_port(IPPROTO_TCP, AF_INET, "192.0.2.1", 443, 8443),
		make_port(IPPROTO_UDP, AF_INET6, "2001:db8::1", 53, 5353),
		make_port(IPPROTO_TCP, AF_INET, "0.0.0.0", 25, 25),
		make_port(IPPROTO_TCP, AF_INET6, "::", 26, 26),
		make_port(IPPROTO_TCP, AF_INET, "127.0.0.1", 27, 27),	/* listeners serve these two */
		make_port(IPPROTO_TCP, AF_INET6, "::1", 28, 28),
	};
	const unsigned guard[] = { 2, 7 };
	struct plan plan = { .name = "web", .ins = &one, .ins_count = 1, .ports = ports, .port_count = 7, .has_v6 = true,
			     .guard4 = guard, .guard4_count = 2, .guard6 = guard, .guard6_count = 1 };
	char *text;

	(void)state;
	plan_slot(&one.addrs, 5);
	text = text_of(&plan, 0);
	assert_ptr_equal(strstr(text, "flush table inet mw-web\ntable inet mw-web {\n"), text);
	assert_non_null(strstr(text, golden_ports));
	assert_non_null(strstr(text, "\t\tmeta nfproto ipv4 meta iif { 2, 7 } meta oifname != \"mw-*\" drop\n"
				     "\t\tmeta nfproto ipv6 meta iif { 2 } meta oifname != \"mw-*\" drop\n\t}\n"));
	free(text);
	plan.has_v6 = false;
	text = text_of(&plan, 0);
	assert_null(strstr(text, "nfproto ipv6 tcp dport 8080"));
	free(text);
}

static const char golden_several[] =
	"table inet mw-web {\n"
	"	flags owner\n"
	"	chain spoof {\n"
	"		type filter hook prerouting priority -300; policy accept;\n"
	"		meta iifname \"mw-0005\" ip saddr != 10.237.0.22 drop\n"
	"		meta iifname \"mw-0005\" ip6 saddr != { ::, fd6d:7763:6f6d:5::2, fe80::/10 } drop\n"
	"		meta iifname \"mw-0006\" ip saddr != 10.237.0.26 drop\n"
	"		meta iifname \"mw-0006\" ip6 saddr != { ::, fd6d:7763:6f6d:6::2, fe80::/10 } drop\n"
	"		meta iifname \"mw-0009\" ip saddr != 10.237.0.38 drop\n"
	"		meta iifname \"mw-0009\" ip6 saddr != { ::, fd6d:7763:6f6d:9::2, fe80::/10 } drop\n"
	"	}\n"
	"	chain postrouting {\n"
	"		type nat hook postrouting priority 100; policy accept;\n"
	"		ip saddr 10.237.0.22 masquerade\n"
	"		ip6 saddr fd6d:7763:6f6d:5::2 masquerade\n"
	"		ip saddr 10.237.0.26 masquerade\n"
	"		ip6 saddr fd6d:7763:6f6d:6::2 masquerade\n"
	"		ip saddr 10.237.0.38 masquerade\n"
	"		ip6 saddr fd6d:7763:6f6d:9::2 masquerade\n"
	"	}\n"
	"	chain publish {\n"
	"		ip daddr 127.0.0.0/8 return\n"
	"		ip6 daddr ::1 return\n"
	"		ip6 daddr fe80::/10 return\n"
	"		meta nfproto ipv4 tcp dport 8080 dnat ip to numgen inc mod 2 map { 0 : 10.237.0.22 . 80, 1 : 10.237.0.38 . 80 }\n"
	"		meta nfproto ipv6 tcp dport 8080 dnat ip6 to numgen inc mod 2 map { 0 : fd6d:7763:6f6d:5::2 . 80, 1 : fd6d:7763:6f6d:9::2 . 80 }\n"
	"		meta nfproto ipv4 udp dport 53 dnat ip to 10.237.0.26:53\n"
	"		meta nfproto ipv6 udp dport 53 dnat ip6 to [fd6d:7763:6f6d:6::2]:53\n"
	"	}\n";

static const char golden_between[] =
	"		meta iifname { \"mw-0005\", \"mw-0006\", \"mw-0009\" } meta oifname { \"mw-0005\", \"mw-0006\", \"mw-0009\" } accept\n"
	"		meta oifname \"mw-0005\" ct state established,related accept\n";

/* Three INSs, of which the second is drained and has a UDP port of its own. */
static void test_several(void **state)
{
	struct plan_ins several[3] = { { .number = 0, .open = true }, { .number = 1 }, { .number = 4, .open = true } };
	struct plan_port ports[] = { make_port(IPPROTO_TCP, AF_UNSPEC, NULL, 8080, 80), make_port(IPPROTO_UDP, AF_UNSPEC, NULL, 53, 53) };
	struct plan plan = { .name = "web", .ins = several, .ins_count = 3, .ports = ports, .port_count = 2, .has_v6 = true };
	char *text;

	(void)state;
	plan_slot(&several[0].addrs, 5);
	plan_slot(&several[1].addrs, 6);
	plan_slot(&several[2].addrs, 9);
	ports[1].only = 2;
	text = text_of(&plan, 0);
	assert_non_null(strstr(text, golden_several));
	assert_non_null(strstr(text, golden_between));
	free(text);
	several[2].open = false;
	text = text_of(&plan, 0);
	assert_non_null(strstr(text, "tcp dport 8080 dnat ip to 10.237.0.22:80\n"));
	assert_null(strstr(text, "numgen"));
	free(text);
	several[0].open = false;
	text = text_of(&plan, 0);
	assert_null(strstr(text, "tcp dport"));
	assert_non_null(strstr(text, "udp dport 53"));
	free(text);
}

static void test_refused(void **state)
{
	static const char *const names[] = { "", " ", "a b", "a;", "a\n", "a\"", "a}", "a/b", "\xc3\xa9", "a*",
					     "123456789012345678901234567890123" };
	struct plan_ins one = { .open = true };
	struct plan_port port = make_port(IPPROTO_TCP, AF_UNSPEC, NULL, 80, 80);
	struct plan plan = { .ins = &one, .ins_count = 1, .ports = &port };
	char *text;

	(void)state;
	plan_slot(&one.addrs, 5);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_false(plan_name_ok(names[i]));
		plan.name = names[i];
		text = text_of(&plan, -EINVAL);
		assert_string_equal(text, "");
		free(text);
	}
	assert_true(plan_name_ok("12345678901234567890123456789012"));
	plan.name = "web";
	plan.port_count = 1;
	port.proto = IPPROTO_SCTP;
	free(text_of(&plan, -EINVAL));
	port = make_port(IPPROTO_TCP, AF_UNIX, NULL, 80, 80);
	free(text_of(&plan, -EINVAL));
	port = make_port(IPPROTO_TCP, AF_UNSPEC, NULL, 0, 80);
	free(text_of(&plan, -EINVAL));
}

static void test_slots(void **state)
{
	struct plan_addrs a;

	(void)state;
	plan_slot(&a, 0x3fff);
	assert_string_equal(a.host_if, "mw-3fff");
	assert_string_equal(a.host4, "10.237.255.253");
	assert_string_equal(a.ins4, "10.237.255.254");
	assert_string_equal(a.host6, "fd6d:7763:6f6d:3fff::1");
	assert_string_equal(a.ins6, "fd6d:7763:6f6d:3fff::2");
	plan_slot(&a, 0x4001);
	assert_string_equal(a.ins4, "172.29.0.6");
	plan_slot(&a, 0xffff);
	assert_string_equal(a.ins4, "198.18.255.254");
}

static struct plan_prefix prefix(int family, const char *addr, unsigned bits)
{
	struct plan_prefix p = { .family = (uint8_t)family, .bits = (uint8_t)bits };

	assert_int_equal(inet_pton(family, addr, p.addr), 1);
	return p;
}

static void test_pick(void **state)
{
	struct plan_addrs first, a;
	struct plan_prefix used[5];

	(void)state;
	assert_int_equal(plan_pick(&first, "web", NULL, 0), 0);
	assert_true(first.slot < 0x4000);
	assert_int_equal(plan_pick(&a, "web", NULL, 0), 0);
	assert_int_equal(a.slot, first.slot);
	assert_int_equal(plan_pick(&a, "db", NULL, 0), 0);
	assert_int_not_equal(a.slot, first.slot);

	used[0] = prefix(AF_INET, first.ins4, 32);
	assert_int_equal(plan_pick(&a, "web", used, 1), 0);
	assert_int_equal(a.slot, (first.slot + 1) % 0x4000);
	used[1] = prefix(AF_INET6, a.ins6, 128);
	assert_int_equal(plan_pick(&a, "web", used, 2), 0);
	assert_int_equal(a.slot, (first.slot + 2) % 0x4000);
	used[2] = prefix(AF_INET, "10.0.0.0", 8);
	assert_int_equal(plan_pick(&a, "web", used, 3), 0);
	assert_memory_equal(a.ins4, "172.29.", 7);
	used[3] = prefix(AF_INET, "172.16.0.0", 12);
	used[4] = prefix(AF_INET, "192.168.0.0", 17);	/* half of the third pool */
	assert_int_equal(plan_pick(&a, "web", used, 5), 0);
	assert_memory_equal(a.ins4, "192.168.", 8);
	used[0] = prefix(AF_INET6, "fd6d:7763:6f6d::", 48);
	assert_int_equal(plan_pick(&a, "web", used, 5), -EADDRNOTAVAIL);
}

static void test_port_text(void **state)
{
	char text[64];
	struct plan_port p = make_port(IPPROTO_TCP, AF_INET6, "2001:db8::1", 80, 80);

	(void)state;
	plan_port_text(text, sizeof(text), &p);
	assert_string_equal(text, "[2001:db8::1]:80");
	p = make_port(IPPROTO_TCP, AF_INET, "192.0.2.1", 80, 80);
	plan_port_text(text, sizeof(text), &p);
	assert_string_equal(text, "192.0.2.1:80");
	p = make_port(IPPROTO_TCP, AF_INET, "0.0.0.0", 80, 80);
	plan_port_text(text, sizeof(text), &p);
	assert_string_equal(text, "80");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first), cmocka_unit_test(test_reach), cmocka_unit_test(test_ports), cmocka_unit_test(test_several), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_slots), cmocka_unit_test(test_pick), cmocka_unit_test(test_port_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
