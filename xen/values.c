// SPDX-License-Identifier: Apache-2.0
/*
 * values.c - see values.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/values.h"

#define COUNT_MAX 100000000 /* of connections: more than a machine has */

bool values_number(const char *text, int base, uint64_t most, uint64_t *out)
{
	const char *digits = base == 16 ? "0123456789abcdef" : "0123456789";
	size_t n = strspn(text, digits);
	uint64_t v;

	if (n < 1 || n > 20 || text[n])
		return false;
	errno = 0;
	v = strtoull(text, NULL, base);
	if (errno || v > most)
		return false;
	*out = v;
	return true;
}

/* Up to the i-th of its separators. */
static bool field(const char *text, char separator, size_t i, char *out, size_t room)
{
	char all[2] = { separator, 0 };
	size_t n;

	for (; i && *text; i--) {
		text += strcspn(text, all);
		text += *text == separator;
	}
	n = strcspn(text, all);
	if (i || !n)
		return false;
	snprintf(out, room, "%.*s", (int)n, text);
	return true;
}

bool values_word(const char *text, size_t i, char *out, size_t room)
{
	return field(text, ' ', i, out, room);
}

bool values_load(const char *text, struct values_load *out)
{
	static const uint64_t most[3] = { 1000, COUNT_MAX, COUNT_MAX };
	uint64_t v[3];
	char word[24];

	for (size_t i = 0; i < 3; i++)
		if (!field(text, ':', i, word, sizeof(word)) || !values_number(word, 16, most[i], &v[i]))
			return false;
	if (field(text, ':', 3, word, sizeof(word)))
		return false;
	*out = (struct values_load){ (double)v[0] / 1000, (double)v[1], (double)v[2] };
	return true;
}

bool values_listens(const char *text, uint16_t port)
{
	char word[8];
	uint64_t v;

	for (size_t i = 0; values_word(text, i, word, sizeof(word)); i++)
		if (values_number(word, 16, 65535, &v) && v == port)
			return true;
	return false;
}
