// SPDX-License-Identifier: Apache-2.0
/*
 * wire.c - see wire.h.
 * Trust: as in the header.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/entry.h"
#include "registry/wire.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* A JSON string in base64 (RFC 4648, 4). */
static json_t *base64(const char *data, size_t n)
{
	const uint8_t *d = (const uint8_t *)data;
	char *out = malloc(n / 3 * 4 + 5), *p = out;
	json_t *j;

	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)d[i] << 16 | (i + 1 < n ? (uint32_t)d[i + 1] << 8 : 0) | (i + 2 < n ? d[i + 2] : 0);

		*p++ = digits[v >> 18];
		*p++ = digits[v >> 12 & 63];
		*p++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < n ? digits[v & 63] : '=';
	}
	j = json_stringn(out, (size_t)(p - out));
	free(out);
	return j;
}

static json_t *key64(const char *key)
{
	char whole[sizeof(WIRE_PREFIX) + ENTRY_KEY_BYTES];

	return base64(whole, (size_t)snprintf(whole, sizeof(whole), "%s%.*s", WIRE_PREFIX, ENTRY_KEY_BYTES - 1, key));
}

static char *dump(json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	return text;
}

static json_t *number(int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)n);
	return json_string(text);
}

/* From the prefix to the first key that does not begin with it. */
static json_t *all_keys(void)
{
	char end[] = WIRE_PREFIX;

	end[sizeof(end) - 2]++;
	return json_pack("{s:o,s:o}", "key", key64(""), "range_end", base64(end, sizeof(end) - 1));
}

char *wire_range(void)
{
	return dump(all_keys());
}

char *wire_ping(void)
{
	return dump(json_pack("{s:o,s:b}", "key", key64(""), "keys_only", 1));
}

char *wire_watch(int64_t from_revision)
{
	json_t *j = all_keys();

	json_object_set_new(j, "start_revision", number(from_revision));
	return dump(json_pack("{s:o}", "create_request", j));
}

char *wire_put(const char *key, const char *text, size_t bytes, int64_t lease)
{
	return dump(json_pack("{s:o,s:o,s:o}", "key", key64(key), "value", base64(text, bytes), "lease", number(lease)));
}

char *wire_delete(const char *key)
{
	return dump(json_pack("{s:o}", "key", key64(key)));
}

char *wire_grant(unsigned int seconds)
{
	return dump(json_pack("{s:o}", "TTL", number(seconds)));
}

char *wire_lease(int64_t lease)
{
	return dump(json_pack("{s:o}", "ID", number(lease)));
}

int64_t wire_number(const json_t *j)
{
	return json_is_string(j) ? strtoll(json_string_value(j), NULL, 10) : json_integer_value(j);
}

static int value_of(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

long wire_bytes(const json_t *j, char *out, size_t max)
{
	const char *text = json_string_value(j);
	size_t n = json_string_length(j), made = 0;

	if (!text || n % 4)
		return -1;
	for (size_t i = 0; i < n; i += 4) {
		int pad = i + 4 == n ? (text[i + 3] == '=') + (text[i + 2] == '=' && text[i + 3] == '=') : 0;
		uint32_t v = 0;

		for (int k = 0; k < 4; k++) {
			int d = k >= 4 - pad ? 0 : value_of(text[i + (size_t)k]);

			if (d < 0)
				return -1;
			v = v << 6 | (uint32_t)d;
		}
		for (int k = 0; k < 3 - pad; k++) {
			if (made == max)
				return -1;
			out[made++] = (char)(v >> (16 - 8 * k));
		}
	}
	out[made] = 0;
	return (long)made;
}

bool wire_kv(struct wire_kv *out, const json_t *kv)
{
	static char key[sizeof(WIRE_PREFIX) - 1 + sizeof(out->key)], text[ENTRY_BYTES_MAX + 1];
	long n = wire_bytes(json_object_get(kv, "key"), key, sizeof(key) - 1);
	const json_t *value = json_object_get(kv, "value");

	if (n < 0 || strlen(key) != (size_t)n || strncmp(key, WIRE_PREFIX, sizeof(WIRE_PREFIX) - 1))
		return false;
	memcpy(out->key, key + sizeof(WIRE_PREFIX) - 1, sizeof(out->key));
	out->has_lease = wire_number(json_object_get(kv, "lease")) != 0;
	n = value ? wire_bytes(value, text, ENTRY_BYTES_MAX) : 0;
	out->too_large = n < 0;
	out->text = text;
	out->bytes = n < 0 ? 0 : (size_t)n;
	return true;
}
