/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metric_text.h - metrics as text: Prometheus 0.0.4 and OpenMetrics 1.0.0, and which of the two a client wants. Used inside telem/.
 * Trust: the Accept header is anybody's; names and labels are our own, and values of labels are escaped.
 *
 * The two differ in a counter's family name (OpenMetrics leaves _total to its sample), in units, which only OpenMetrics tells, in the
 * type "info", and in the last line. The samples themselves are the same.
 */
#ifndef MW_TELEM_METRIC_TEXT_H
#define MW_TELEM_METRIC_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "chan/tele.h"

enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM, METRIC_INFO };

struct metric_text {
	FILE *out;
	bool open;          /* OpenMetrics */
	bool alone;         /* this INS's, not those of all */
	const char *app;    /* label of every sample */
	uint32_t ins;       /* and this */
};

#define METRIC_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define METRIC_OPEN_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* True when OpenMetrics is wanted at least as much as plain text; accept may be NULL. */
bool metric_text_wants_open(const char *accept);

/* What plain text puts behind a family's name: "_total", "_info" or "". */
const char *metric_text_suffix(enum metric_type type);

/* HELP, TYPE and UNIT of a family; name is without _total, _info. */
void metric_text_head(struct metric_text *t, const char *name, enum metric_type type, const char *unit, const char *help);

/*
 * One sample. labels: of our own making, as in `proto="tcp",state="open"`, or "". A value in nanoseconds where unit is "seconds", and is
 * shown in seconds, exactly.
 */
void metric_text_value(struct metric_text *t, const char *name, enum metric_type type, const char *unit, const char *labels, uint64_t value);
void metric_text_times(struct metric_text *t, const char *name, const struct mw_times *times);

/* What comes last. */
void metric_text_end(struct metric_text *t);

#endif
