// SPDX-License-Identifier: Apache-2.0
/*
 * usage.c - see usage.h.
 * Trust: as in the header.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/usage.h"

#define FIRST_BYTES 160 /* of a line that is too long */
#define LAST_BYTES  240

int usage_error(const char *command, const char *format, ...)
{
	const char *space = *command ? " " : "";
	char *line;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&line, format, ap);
	va_end(ap);
	if (n < 0)
		return USAGE_STATUS;
	for (char *p = line; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	if (n > FIRST_BYTES + LAST_BYTES) { /* an argument is, of which the middle tells least */
		memcpy(line + FIRST_BYTES, "...", 3);
		memmove(line + FIRST_BYTES + 3, line + n - LAST_BYTES, LAST_BYTES + 1);
	}
	fprintf(stderr, "mw%s%s: %s; see `mw %s%s--help`\n", space, command, line, command, space);
	free(line);
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
