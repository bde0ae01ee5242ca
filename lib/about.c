// SPDX-License-Identifier: Apache-2.0
/*
 * about.c - see about.h.
 * Trust: as in the header.
 */
#include <stdio.h>
#include <string.h>

#include "lib/about.h"
#include "lib/std.h"

int about(const char *program, const char *help, int argc, char **argv)
{
	if (argc != 2)
		return ABOUT_NOT_ASKED;
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		fputs(help, stdout);
	else if (!strcmp(argv[1], "--version"))
		printf("%s %s\n", program, MW_RELEASE);
	else
		return ABOUT_NOT_ASKED;
	return std_flushed(program, 0);
}
