// SPDX-License-Identifier: Apache-2.0
/*
 * addr_test.c - endpoints to and from sockaddr and text.
 * Trust: none; lengths are what an application may pass, right or wrong.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/addr.h"

static struct mw_addr parse(int af, const char *ip, uint16_t port)
{
	struct mw_addr a = { .family = af == AF_INET ? MW_FAMILY_IP4 : MW_FAMILY_IP6, .port = port };

	assert_int_equal(inet_pton(af, ip, a.addr), 1);
	return a;
}

/* The bytes in memory of exactly that length, so that ASan sees a read past them. */
static int from_exact(struct mw_addr *a, const void *sa, socklen_t len)
{
	void *exact = malloc(len ? len : 1);
	int r;

	memcpy(exact, sa, len);
	r = addr_from_sockaddr(a, exact, len);
	free(exact);
	return r;
}

static void ip4(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(8080) };
	struct sockaddr_storage ss;
	struct mw_addr a, before;

	(void)state;
	in.sin_addr.s_addr = htonl(0xc0000201);
	memset(&a, 0x5a, sizeof(a));
	before = a;
	for (socklen_t len = 0; len < sizeof(in); len++)
		assert_int_equal(from_exact(&a, &in, len), -EINVAL);
	assert_int_equal(addr_from_sockaddr(&a, NULL, sizeof(in)), -EINVAL);
	assert_memory_equal(&a, &before, sizeof(a));
	assert_int_equal(from_exact(&a, &in, sizeof(in)), 0);
	before = parse(AF_INET, "192.0.2.1", 8080);
	assert_memory_equal(&a, &before, sizeof(a));
	memset(&ss, 0x5a, sizeof(ss));
	memcpy(&ss, &in, sizeof(in));
	assert_int_equal(addr_from_sockaddr(&a, (struct sockaddr *)&ss, sizeof(ss)), 0); /* longer is fine */
	assert_memory_equal(&a, &before, sizeof(a));
	assert_int_equal(addr_to_sockaddr(&a, &ss), sizeof(in));
	assert_memory_equal(&ss, &in, sizeof(in));
}

static void ip6(void **state)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(443),
		.sin6_flowinfo = htonl(0x12345), .sin6_scope_id = 3 };
	struct sockaddr_storage ss;
	struct mw_addr a, want;

	(void)state;
	inet_pton(AF_INET6, "fe80::1", &in6.sin6_addr);
	for (socklen_t len = 0; len < 24; len++)
		assert_int_equal(from_exact(&a, &in6, len), -EINVAL);
	want = parse(AF_INET6, "fe80::1", 443);
	want.flowinfo = 0x12345;
	assert_int_equal(from_exact(&a, &in6, 24), 0); /* RFC 2133's form, without the scope */
	assert_memory_equal(&a, &want, sizeof(a));
	want.scope_id = 3;
	assert_int_equal(from_exact(&a, &in6, sizeof(in6)), 0);
	assert_memory_equal(&a, &want, sizeof(a));
	memset(&ss, 0x5a, sizeof(ss));
	assert_int_equal(addr_to_sockaddr(&a, &ss), sizeof(in6));
	assert_memory_equal(&ss, &in6, sizeof(in6));
}

static void other_families(void **state)
{
	static const uint8_t zero[sizeof(struct mw_addr)];
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	struct mw_addr a;

	(void)state;
	memset(&a, 0x5a, sizeof(a));
	assert_int_equal(from_exact(&a, &ss, sizeof(sa_family_t)), 0);
	assert_memory_equal(&a, zero, sizeof(a));
	assert_int_equal(addr_to_sockaddr(&a, &ss), 0);
	ss.ss_family = AF_UNIX;
	assert_int_equal(from_exact(&a, &ss, sizeof(ss)), -EAFNOSUPPORT);
	ss.ss_family = 0xffff;
	assert_int_equal(from_exact(&a, &ss, sizeof(ss)), -EAFNOSUPPORT);
}

static void text(void **state)
{
	const struct {
		int af;
		const char *ip, *with_port, *alone;
	} t[] = {
		{ AF_INET, "1.2.3.4", "1.2.3.4:80", "1.2.3.4" },
		{ AF_INET, "255.255.255.255", "255.255.255.255:80", "255.255.255.255" },
		{ AF_INET6, "::1", "[::1]:80", "::1" },
		{ AF_INET6, "::", "[::]:80", "::" },
		{ AF_INET6, "::ffff:9.8.7.6", "9.8.7.6:80", "9.8.7.6" },
		{ AF_INET6, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:80",
			"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	struct mw_addr none = { .family = MW_FAMILY_NONE };
	char buf[ADDR_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mw_addr a = parse(t[i].af, t[i].ip, 80);

		assert_string_equal(addr_text(&a, buf), t[i].with_port);
		assert_string_equal(addr_text_ip(&a, buf), t[i].alone);
	}
	assert_string_equal(addr_text(&none, buf), "-");
	assert_string_equal(addr_text_ip(&none, buf), "-");
}

static void kinds(void **state)
{
	const struct {
		int af;
		const char *ip;
		bool loopback, any;
	} t[] = {
		{ AF_INET, "127.0.0.1", true, false }, { AF_INET, "127.255.1.2", true, false },
		{ AF_INET, "128.0.0.1", false, false }, { AF_INET, "0.0.0.0", false, true },
		{ AF_INET, "0.0.0.1", false, false }, { AF_INET6, "::1", true, false },
		{ AF_INET6, "::", false, true }, { AF_INET6, "::2", false, false },
		{ AF_INET6, "::ffff:127.0.0.1", true, false }, { AF_INET6, "::ffff:1.0.0.1", false, false },
		{ AF_INET6, "7f00::1", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mw_addr a = parse(t[i].af, t[i].ip, 1);

		assert_int_equal(addr_is_loopback(&a), t[i].loopback);
		assert_int_equal(addr_is_any(&a), t[i].any);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ip4),
		cmocka_unit_test(ip6),
		cmocka_unit_test(other_families),
		cmocka_unit_test(text),
		cmocka_unit_test(kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
