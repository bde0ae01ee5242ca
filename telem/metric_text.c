// SPDX-License-Identifier: Apache-2.0
/*
 * metric_text.c - see metric_text.h.
 * Trust: as in the header.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "telem/metric_text.h"

#define SECOND 1000000000ull

/* --- what a client accepts --- */

/* The value of q=, 0 to 1000; 1000 when there is none. */
static unsigned int quality(const char *params, const char *end)
{
	for (const char *p = params; p < end; p++) {
		if (*p != ';')
			continue;
		do
			p++;
		while (p < end && (*p == ' ' || *p == '\t'));
		if (end - p >= 2 && (*p == 'q' || *p == 'Q') && p[1] == '=') {
			double q = strtod(p + 2, NULL);

			return q > 0 && q <= 1 ? (unsigned int)(q * 1000) : q > 1 ? 1000 : 0;
		}
		p--;
	}
	return 1000;
}

/* The length of the type's name, before blanks and parameters. */
static size_t name_bytes(const char *type, const char *end)
{
	size_t n = 0;

	while (type + n < end && !strchr("; \t", type[n]))
		n++;
	return n;
}

static bool is(const char *type, size_t n, const char *name)
{
	return n == strlen(name) && !strncasecmp(type, name, n);
}

bool metric_text_wants_open(const char *accept)
{
	unsigned int open = 0, text = 0;

	while (accept && *accept) {
		const char *end = accept + strcspn(accept, ",");
		size_t n;
		unsigned int q;

		accept += strspn(accept, " \t");
		if (accept > end)
			accept = end;
		n = name_bytes(accept, end);
		q = quality(accept + n, end);
		if (is(accept, n, "application/openmetrics-text") && q > open)
			open = q;
		else if ((is(accept, n, "text/plain") || is(accept, n, "text/*")) && q > text)
			text = q;
		accept = *end ? end + 1 : end;
	}
	return open > 0 && open >= text;
}

/* --- text --- */

static void escaped(FILE *out, const char *text, bool quotes)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '\\' || (*text == '"' && quotes))
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
	}
}

/* Always with a point, as OpenMetrics wants a bucket's bound; no more digits than needed. */
static void seconds(FILE *out, uint64_t ns)
{
	char digits[10];
	int n = 9;

	snprintf(digits, sizeof(digits), "%09llu", (unsigned long long)(ns % SECOND));
	while (n > 1 && digits[n - 1] == '0')
		n--;
	fprintf(out, "%llu.%.*s", (unsigned long long)(ns / SECOND), n, digits);
}

static const char *type_name(const struct metric_text *t, enum metric_type type)
{
	switch (type) {
	case METRIC_COUNTER:
		return "counter";
	case METRIC_HISTOGRAM:
		return "histogram";
	case METRIC_INFO:
		return t->open ? "info" : "gauge";
	case METRIC_GAUGE:
		break;
	}
	return "gauge";
}

const char *metric_text_suffix(enum metric_type type)
{
	return type == METRIC_COUNTER ? "_total" : type == METRIC_INFO ? "_info" : "";
}

void metric_text_head(struct metric_text *t, const char *name, enum metric_type type, const char *unit, const char *help)
{
	const char *more = t->open ? "" : metric_text_suffix(type);

	fprintf(t->out, "# HELP %s%s ", name, more);
	escaped(t->out, help, t->open);
	fprintf(t->out, "\n# TYPE %s%s %s\n", name, more, type_name(t, type));
	if (t->open && *unit)
		fprintf(t->out, "# UNIT %s %s\n", name, unit);
}

/* All of a sample but its value. */
static void begin(struct metric_text *t, const char *name, const char *more, const char *labels)
{
	fprintf(t->out, "%s%s{app=\"", name, more);
	escaped(t->out, t->app, true);
	fprintf(t->out, "\",ins=\"%u\"%s%s} ", t->ins, *labels ? "," : "", labels);
}

void metric_text_value(struct metric_text *t, const char *name, enum metric_type type, const char *unit, const char *labels, uint64_t value)
{
	begin(t, name, metric_text_suffix(type), labels);
	if (!strcmp(unit, "seconds"))
		seconds(t->out, value);
	else
		fprintf(t->out, "%llu", (unsigned long long)value);
	fputc('\n', t->out);
}

static void bound(struct metric_text *t, const char *name, uint32_t i, uint64_t count)
{
	fprintf(t->out, "%s_bucket{app=\"", name);
	escaped(t->out, t->app, true);
	fprintf(t->out, "\",ins=\"%u\",le=\"", t->ins);
	if (i < MW_BOUNDS)
		seconds(t->out, tele_bound_ns[i]);
	else
		fputs("+Inf", t->out);
	fprintf(t->out, "\"} %llu\n", (unsigned long long)count);
}

void metric_text_times(struct metric_text *t, const char *name, const struct mw_times *times)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i <= MW_BOUNDS; i++) {
		count += times->bucket[i];
		bound(t, name, i, count);
	}
	begin(t, name, "_sum", "");
	seconds(t->out, times->sum_ns);
	fputc('\n', t->out);
	begin(t, name, "_count", "");
	fprintf(t->out, "%llu\n", (unsigned long long)count);
}

void metric_text_end(struct metric_text *t)
{
	if (t->open)
		fputs("# EOF\n", t->out);
}
