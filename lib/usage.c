// SPDX-License-Identifier: Apache-2.0
/*
 * usage.c - see usage.h.
 * Trust: as in the header.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/usage.h"

#define LINE_BYTES 400

int usage_error(const char *command, const char *format, ...)
{
	static const char cut[] = "...'";
	const char *space = *command ? " " : "";
	char line[LINE_BYTES];
	va_list ap;

	va_start(ap, format);
	if (vsnprintf(line, sizeof(line), format, ap) >= LINE_BYTES)
		memcpy(line + sizeof(line) - sizeof(cut), cut, sizeof(cut));
	va_end(ap);
	for (char *p = line; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	fprintf(stderr, "mw%s%s: %s; see `mw %s%s--help`\n", space, command, line, command, space);
	return USAGE_STATUS;
}

int usage_option(const char *command, int argc, char **argv, const char *shorts, const struct option *longs)
{
	const char *word;
	int c;

	opterr = 0;
	c = getopt_long(argc, argv, shorts, longs, NULL);
	if (c != '?' && c != ':')
		return c;
	word = argv[optind - 1]; /* of several letters in one word, the one before */
	if (c == ':')
		usage_error(command, "%s needs a value behind it", word);
	else if (!optopt)
		usage_error(command, "unknown option '%s'", word);
	else if (!strncmp(word, "--", 2) && strchr(word, '='))
		usage_error(command, "an option without a value: '%s'", word);
	else
		usage_error(command, "unknown option '-%c'", optopt);
	return '?';
}
