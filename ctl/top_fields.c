// SPDX-License-Identifier: Apache-2.0
/*
 * top_fields.c - all fields of one flow, for a reader: names, values, units and help are the table's.
 * Trust: as in top_rows.h. Values come by way of JSON, so that a new type of field needs nothing here.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/clean.h"
#include "ctl/top_rows.h"

#define VALUE_BYTES 128

/* When, and how long ago. */
static void time_text(double s, uint64_t now_ns, char text[VALUE_BYTES])
{
	time_t t = (time_t)s;
	char clock[16] = "?", ago[TOP_NUMBER_BYTES];
	double age = (double)now_ns / 1e9 - s;
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	snprintf(text, VALUE_BYTES, "%s (%s ago)", clock, top_span(age > 0 ? (uint64_t)(age * 1e9) : 0, ago));
}

static void value_text(const struct flow_field *d, const json_t *v, uint64_t now_ns, char text[VALUE_BYTES])
{
	const char *unit = *d->unit ? " " : "";

	if (json_is_string(v) && *json_string_value(v))
		snprintf(text, VALUE_BYTES, "%.100s", json_string_value(v));
	else if (json_is_integer(v))
		snprintf(text, VALUE_BYTES, "%lld%s%s", (long long)json_integer_value(v), unit, d->unit);
	else if (json_is_real(v) && d->type == FLOW_TIME)
		time_text(json_real_value(v), now_ns, text);
	else if (json_is_real(v))
		snprintf(text, VALUE_BYTES, "%.6g%s%s", json_real_value(v), unit, d->unit);
	else
		snprintf(text, VALUE_BYTES, "-");
	clean_text(text);
}

static json_t *values_of(const struct flow *f)
{
	char line[FLOW_LINE_BYTES];
	json_t *o;

	flow_line("flow", f, line);
	o = json_loads(line, 0, NULL);
	return o ? o : json_loads(line, JSON_DECODE_INT_AS_REAL, NULL); /* a number is above 2^63: an INS that lies */
}

void top_fields(const struct flow *f, uint64_t now_ns,
		void (*line)(const char *name, const char *value, const char *help, void *arg), void *arg)
{
	json_t *o = values_of(f);
	char value[VALUE_BYTES];

	for (size_t i = 0; i < flow_field_count; i++) {
		value_text(&flow_fields[i], json_object_get(o, flow_fields[i].name), now_ns, value);
		line(flow_fields[i].name, value, flow_fields[i].help, arg);
	}
	json_decref(o);
}
