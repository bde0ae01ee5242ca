// SPDX-License-Identifier: Apache-2.0
/*
 * clean.c - see clean.h.
 * Trust: as in the header.
 */
#include <stdint.h>
#include <stdio.h>

#include "ctl/clean.h"

char *clean_text(char *text)
{
	for (char *p = text; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	return text;
}

const char *clean_string(const json_t *string)
{
	const char *s = json_string_value(string);

	return s ? clean_text((char *)(uintptr_t)s) : "";
}

void clean_print(const json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(16) | JSON_ENSURE_ASCII);
	putchar('\n');
}
