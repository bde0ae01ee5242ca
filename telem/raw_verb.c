// SPDX-License-Identifier: Apache-2.0
/*
 * raw_verb.c - see raw_verb.h.
 * Trust: as in the header.
 */
#include <arpa/inet.h>
#include <string.h>

#include "telem/raw_verb.h"

static uint64_t integer(const json_t *q, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(q, key));
}

static int digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

static bool read_value(const char *text, struct verb_msg *m, uint8_t value[VERB_VALUE_MAX])
{
	size_t n = strlen(text);

	if (n % 2 || n / 2 > VERB_VALUE_MAX)
		return false;
	for (size_t i = 0; i < n; i += 2) {
		int high = digit(text[i]), low = digit(text[i + 1]);

		if (high < 0 || low < 0)
			return false;
		value[i / 2] = (uint8_t)(high << 4 | low);
	}
	m->bytes = (uint32_t)(n / 2);
	return true;
}

static bool read_addr(const char *text, struct mw_addr *a)
{
	a->family = strchr(text, ':') ? MW_FAMILY_IP6 : MW_FAMILY_IP4;
	return inet_pton(a->family == MW_FAMILY_IP6 ? AF_INET6 : AF_INET, text, a->addr) == 1;
}

const char *raw_verb_read(const json_t *q, struct verb_msg *m, uint8_t value[VERB_VALUE_MAX])
{
	const char *addr = json_string_value(json_object_get(q, "addr")), *text = json_string_value(json_object_get(q, "value"));
	const json_t *prefix = json_object_get(q, "prefix");
	uint64_t id = integer(q, "id");

	memset(m, 0, sizeof(*m));
	m->verb = (uint32_t)integer(q, "verb");
	m->slot = json_is_true(json_object_get(q, "all")) ? VERB_ALL : (uint32_t)id;
	m->gen = (uint32_t)(id >> 32);
	m->verdict = integer(q, "verdict");
	m->level = (int32_t)integer(q, "level");
	m->name = (int32_t)integer(q, "name");
	m->flags = (uint32_t)integer(q, "flags");
	m->number = integer(q, "number");
	m->bytes = (uint32_t)integer(q, "bytes");
	if (addr && !read_addr(addr, &m->addr))
		return "addr: not an address";
	m->prefix = prefix ? (uint32_t)json_integer_value(prefix) : m->addr.family == MW_FAMILY_IP6 ? 128 : 32;
	if (text && !read_value(text, m, value))
		return "value: not hexadecimal, or too long";
	if (m->bytes > VERB_VALUE_MAX)
		return "bytes: too many";
	return NULL;
}

void raw_verb_tell(json_t *o, const struct verb_msg *m, const uint8_t *value)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * VERB_VALUE_MAX];
	size_t n = m->verb == VERB_GET && m->status == 0 && m->bytes <= VERB_VALUE_MAX ? m->bytes : 0;

	json_object_set_new(o, "number", json_integer((json_int_t)m->number));
	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[value[i] >> 4];
		text[2 * i + 1] = digits[value[i] & 15];
	}
	if (n)
		json_object_set_new(o, "value", json_stringn(text, 2 * n));
}
