/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry's parsers: entries, and etcd's JSON.
 * Trust: none needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "registry/entry.h"
#include "registry/wire.h"

static const char good[] =
	"{\"v\":1, \"app\":\"web\", \"ins\":3, \"host\":\"a.example\", \"address\":\"10.237.0.2\", \"address6\":\"fd6d::2\", \"state\":\"up\","
	" \"heartbeat\":1.5, \"load\":{\"cpu\":0.25,\"connections\":7,\"rate\":2.5}, \"ports\":[{\"proto\":\"tcp\",\"port\":80,\"host\":\"\","
	"\"host_port\":8080},{\"proto\":\"udp\",\"port\":53,\"host\":\"192.0.2.1\",\"host_port\":53}], \"slots\":100, \"keeper_pid\":1}";

static void test_good(void **state)
{
	char why[ENTRY_WHY_BYTES], key[ENTRY_KEY_BYTES];
	struct entry e;

	(void)state;
	assert_int_equal(entry_parse(&e, good, strlen(good), why), 0);
	entry_key(key, &e);
	assert_string_equal(key, "a.example/web/3");
	assert_true(e.has4 && e.has6 && e.addr4[0] == 10 && e.addr4[3] == 2 && e.addr6[15] == 2);
	assert_true(e.state == ENTRY_UP && e.heartbeat > 1.4 && e.cpu > 0.24 && e.cpu < 0.26 && e.port_count == 2);
	assert_true(e.ports[0].proto == IPPROTO_TCP && e.ports[0].family == AF_UNSPEC && e.ports[0].port == 80 && e.ports[0].host_port == 8080);
	assert_true(e.ports[1].proto == IPPROTO_UDP && e.ports[1].family == AF_INET && e.ports[1].addr[0] == 192);
}

static void test_ports(void **state)
{
	static const char ports[] = "{\"v\":1,\"app\":\"w\",\"ins\":0,\"host\":\"a\",\"address\":\"10.0.0.1\",\"state\":\"up\",\"ports\":["
		"{\"proto\":\"tcp\",\"port\":1,\"host\":\"[::1]\",\"host_port\":2},{\"proto\":\"tcp\",\"port\":1,\"host\":\"::\",\"host_port\":0},"
		"{\"proto\":\"tcp\",\"port\":1,\"host\":\"127.0.0.9\",\"host_port\":2},{\"proto\":\"tcp\",\"port\":1,\"host_port\":2}]}";
	char why[ENTRY_WHY_BYTES];
	struct entry e;

	(void)state;
	assert_int_equal(entry_parse(&e, ports, strlen(ports), why), 0);
	assert_true(entry_port_is_loopback(&e.ports[0]) && entry_port_is_loopback(&e.ports[2]) && !entry_port_is_loopback(&e.ports[3]));
	assert_true(e.ports[1].family == AF_INET6 && !e.ports[1].host_port && !entry_port_is_loopback(&e.ports[1]));
}

/* The good one with one thing replaced by another. */
static void refused(const char *what, const char *by, const char *want)
{
	const char *at = strstr(good, what);
	char text[2048], why[ENTRY_WHY_BYTES] = "";
	struct entry e;

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, by, at + strlen(what));
	assert_int_equal(entry_parse(&e, text, strlen(text), why), -EINVAL);
	assert_string_equal(why, want);
}

static void test_bad(void **state)
{
	static const char *const addresses[] = { "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.1.1", "x", "fd6d::2" };

	(void)state;
	refused("\"v\":1", "\"v\":2", "it is of a version that this mw does not know");
	refused("\"v\":1", "\"v\":\"1\"", "it has no version");
	refused("\"web\"", "\"../x\"", "app is no name");
	refused("\"web\"", "\"x; flush ruleset\"", "app is no name");
	refused("\"web\"", "7", "app is no name");
	refused("a.example", "a\\nb", "host is no name");
	refused("\"ins\":3", "\"ins\":-1", "ins is no number");
	refused("\"ins\":3", "\"ins\":1e2", "ins is no number");
	refused("\"up\"", "\"best\"", "state is unknown");
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		refused("10.237.0.2", addresses[i], "its address is none that an INS has");
	refused("fd6d::2", "::1", "its address is none that an INS has");
	refused("fd6d::2", "::ffff:127.0.0.1", "its address is none that an INS has");
	refused("\"address\":\"10.237.0.2\", \"address6\":\"fd6d::2\",", "", "it has no address");
	refused("1.5", "\"now\"", "heartbeat is no number");
	refused("0.25", "-1", "its load makes no sense");
	refused("\"port\":80", "\"port\":80.5", "one of its ports is no port");
	refused("\"port\":80", "\"port\":65536", "one of its ports is no port");
	refused("\"udp\"", "\"sctp\"", "one of its ports is no port");
	refused("192.0.2.1", "[::1", "one of its ports is no port");
	refused("192.0.2.1", "here", "one of its ports is no port");
	refused("\"ports\":[", "\"ports\":7, \"x\":[", "ports is not a list");
	refused("\"slots\":100", "\"app\":\"web\"", "it is not JSON"); /* twice */
}

static void test_limits(void **state)
{
	static char text[ENTRY_BYTES_MAX + 2];
	char why[ENTRY_WHY_BYTES];
	struct entry e;

	(void)state;
	memset(text, ' ', sizeof(text));
	memcpy(text, good, strlen(good));
	assert_int_equal(entry_parse(&e, text, ENTRY_BYTES_MAX, why), 0);
	assert_int_equal(entry_parse(&e, text, ENTRY_BYTES_MAX + 1, why), -EINVAL);
	assert_string_equal(why, "it is too large");
	memset(text, '[', sizeof(text));
	assert_int_equal(entry_parse(&e, text, ENTRY_BYTES_MAX, why), -EINVAL);
	assert_int_equal(entry_parse(&e, "", 0, why), -EINVAL);
}

static void test_base64(void **state)
{
	static const char *const bad[] = { "=", "A", "AA", "AAA", "A===", "AA=A", "AAAA=", "AA-A", "====", "AAAAA" };
	char data[64] = "", out[64];

	(void)state;
	for (size_t n = 0; n < 40; n++) {
		char *body;
		json_t *j;

		for (size_t i = 0; i < n; i++)
			data[i] = (char)(i * 37 + n);
		body = wire_put("k", data, n, 5);
		j = json_loads(body, 0, NULL);
		assert_int_equal(wire_bytes(json_object_get(j, "value"), out, n), n);
		assert_memory_equal(data, out, n);
		if (n)
			assert_int_equal(wire_bytes(json_object_get(j, "value"), out, n - 1), -1);
		assert_int_equal(wire_bytes(json_object_get(j, "key"), out, 63), 10);
		assert_string_equal(out, "/mwcomms/k");
		assert_int_equal(wire_number(json_object_get(j, "lease")), 5);
		json_decref(j);
		free(body);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *j = json_string(bad[i]);

		assert_int_equal(wire_bytes(j, out, 63), -1);
		json_decref(j);
	}
	assert_int_equal(wire_bytes(NULL, out, 63), -1);
}

static void test_range(void **state)
{
	char *body = wire_watch(1LL << 40);
	json_t *j = json_loads(body, 0, NULL), *r = json_object_get(j, "create_request");
	char out[64];

	(void)state;
	assert_int_equal(wire_bytes(json_object_get(r, "key"), out, 63), 9);
	assert_string_equal(out, "/mwcomms/");
	assert_int_equal(wire_bytes(json_object_get(r, "range_end"), out, 63), 9);
	assert_string_equal(out, "/mwcomms0");
	assert_true(wire_number(json_object_get(r, "start_revision")) == 1LL << 40);
	json_decref(j);
	free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good), cmocka_unit_test(test_ports), cmocka_unit_test(test_bad), cmocka_unit_test(test_limits),
					    cmocka_unit_test(test_base64), cmocka_unit_test(test_range) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
