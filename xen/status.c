// SPDX-License-Identifier: Apache-2.0
/*
 * status.c - what the keys say.
 * Trust: values are their domains' own words, shown as such (store_read makes them printable).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "xen/keys.h"
#include "xen/tool.h"

static void value_of(struct store *s, int ins, const char *key, char value[STORE_VALUE_MAX])
{
	char path[96];

	snprintf(path, sizeof(path), KEYS_ROOT "/%d/%s", ins, key);
	if (store_read(s, path, value) < 0 || !*value)
		strcpy(value, "-");
}

static void domain_line(struct store *s, const char *what, int id)
{
	char name[STORE_VALUE_MAX];

	store_name(s, (unsigned)id, name);
	printf("%s %d%s%s%s%s", what, id, *name ? " (" : "", name, *name ? ")" : "", store_has_domain(s, (unsigned)id) ? "" : ", gone");
}

static void every_key(struct store *s, int ins)
{
	char path[96], value[STORE_VALUE_MAX], permissions[64];

	for (size_t i = 0; i < keys_ins_count; i++) {
		value_of(s, ins, keys_ins[i].name, value);
		snprintf(path, sizeof(path), KEYS_ROOT "/%d/%s", ins, keys_ins[i].name);
		if (store_permissions(s, path, permissions) < 0)
			strcpy(permissions, "missing");
		printf("    %-20s %-12s %s\n", keys_ins[i].name, permissions, value);
	}
}

static void ins_lines(struct store *s, int ins, bool keys)
{
	static const struct {
		const char *key, *text;
	} shown[] = { { "ins_state", "state" }, { "pvm_state", "the protected side's" }, { "heartbeat", "heartbeat" }, { "ip_addrs", "addresses" },
		{ "listening_ports", "ports" } };
	char value[STORE_VALUE_MAX];

	domain_line(s, "ins", ins);
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		value_of(s, ins, shown[i].key, value);
		printf("%s %s %s", i ? "," : ":", shown[i].text, value);
	}
	printf("\n");
	if (keys)
		every_key(s, ins);
}

int status(struct store *s, struct wish *w)
{
	char netflow[STORE_VALUE_MAX];
	int ids[INS_MAX * 4], n = known(s, ids, INS_MAX * 4);
	int64_t pvm = store_read_id(s, KEYS_PVM "/id");

	if (n < 0)
		return complain("cannot look at the keys: %s", strerror(-n));
	if (pvm < 0)
		return complain("no domain is protected here; `mw xen setup --pvm DOMAIN --ins DOMAIN` prepares it");
	domain_line(s, "pvm", (int)pvm);
	if (store_read(s, KEYS_PVM "/netflow", netflow) == 0 && *netflow)
		printf(": flow stream at %s", netflow);
	printf("\n");
	for (int i = 0; i < n; i++)
		ins_lines(s, ids[i], w->keys);
	return 0;
}
