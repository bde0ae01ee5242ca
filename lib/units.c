// SPDX-License-Identifier: Apache-2.0
/*
 * units.c - see units.h.
 * Trust: as in the header.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/units.h"

#define MOST 1e15

struct unit {
	const char *name;
	double factor;
};

static double number(const char *text, const struct unit *units, size_t count)
{
	char *end;
	double v = strtod(text, &end);

	if (end != text + strspn(text, "0123456789."))
		return -1; /* a sign, a blank, hexadecimal, "inf" */
	for (size_t i = 0; i < count; i++)
		if (end != text && !strcmp(end, units[i].name) && v >= 0 && v * units[i].factor <= MOST)
			return v * units[i].factor;
	return -1;
}

double units_span(const char *text)
{
	static const struct unit units[] = { { "", 1 }, { "s", 1 }, { "ms", 0.001 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 } };

	return number(text, units, sizeof(units) / sizeof(units[0]));
}

double units_size(const char *text)
{
	static const struct unit units[] = { { "", 1 }, { "k", 1 << 10 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 } };

	return number(text, units, sizeof(units) / sizeof(units[0]));
}

bool units_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || n == 0 || n > 65535)
		return false;
	*port = (uint16_t)n;
	return true;
}
