// SPDX-License-Identifier: Apache-2.0
#undef fprintf /* may be said() by then, by meson.build */
#include "test/fuzz/said.h"

#include <ctype.h>
#include <stdarg.h>

#include "test/fuzz/input.h"

int said(FILE *to, const char *format, ...)
{
	char line[4096];
	va_list ap;
	int n;

	must(to == stderr);
	va_start(ap, format);
	n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	for (int i = 0; i < n && i < (int)sizeof(line) - 1; i++)
		must(isprint((unsigned char)line[i]) || line[i] == '\n');
	return n;
}
