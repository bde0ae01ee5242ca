// SPDX-License-Identifier: Apache-2.0
/*
 * entry_fuzz.c - libFuzzer target: any text as a registry entry, as it lies in a directory or comes from etcd. What is taken keeps to its
 * limits, and becomes nftables text whose names have no letter that means something there.
 * Trust: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/rules.h"
#include "registry/entry.h"
#include "registry/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool good)
{
	if (!good)
		abort();
}

static void write_rules(const struct entry *e)
{
	static char text[1 << 20];
	struct rules_member member = { e, 1 };
	struct rules r = { .name = e->app, .members = &member, .count = 1 };
	FILE *out = fmemopen(text, sizeof(text), "w");
	int err = rules_write_table(out, &r);

	fclose(out);
	require(err == 0 && text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-/:;@[]{} \t\n")] == 0);
}

static void take(const char *text, size_t n)
{
	static struct entry e;
	char why[ENTRY_WHY_BYTES] = "", key[ENTRY_KEY_BYTES];

	if (entry_parse(&e, text, n, why) < 0) {
		require(why[0] != 0);
		return;
	}
	entry_key(key, &e);
	require(e.port_count <= ENTRY_PORTS_MAX && (e.has4 || e.has6) && e.cpu >= 0 && e.cpu <= 1 && e.ins <= ENTRY_INS_MAX &&
		key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-/")] == 0);
	write_rules(&e);
}

static const char good[] =
	"{\"v\":1,\"app\":\"web\",\"ins\":3,\"host\":\"a\",\"address\":\"10.0.0.2\",\"address6\":\"fd6d::2\",\"state\":\"up\",\"heartbeat\":1.5,"
	"\"load\":{\"cpu\":0.25,\"connections\":7,\"rate\":2.5},\"ports\":[{\"proto\":\"tcp\",\"port\":80,\"host\":\"\",\"host_port\":8080},"
	"{\"proto\":\"udp\",\"port\":53,\"host\":\"192.0.2.1\",\"host_port\":53}]}";

/* A good one, with the bytes behind the first three in place of some of its own. */
static void take_changed(const uint8_t *data, size_t n)
{
	size_t at = ((size_t)data[0] << 8 | data[1]) % sizeof(good), skip = data[2] % 32, more = n - 3;
	size_t rest = at + skip < sizeof(good) - 1 ? sizeof(good) - 1 - at - skip : 0;
	char *text = malloc(at + more + rest + 1);

	memcpy(text, good, at);
	memcpy(text + at, data + 3, more);
	memcpy(text + at + more, good + sizeof(good) - 1 - rest, rest);
	take(text, at + more + rest);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct wire_kv kv;
	json_t *j;

	take((const char *)data, n);
	if (n >= 3)
		take_changed(data, n);
	j = json_loadb((const char *)data, n, 0, NULL);
	if (wire_kv(&kv, j))
		take(kv.text, kv.bytes);
	json_decref(j);
	return 0;
}
