/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metric.h - all metrics, written as text, and counters of mw-telem's own. Used inside telem/.
 * Trust: numbers come from the INS's memory and are shown, never used.
 *
 * No label has a peer's address or anything else that a peer chooses: as many series as there are lines in metric.c's table and words in
 * the enums below, whoever connects.
 */
#ifndef MW_TELEM_METRIC_H
#define MW_TELEM_METRIC_H

#include "telem/metric_text.h"

/* What mw-telem itself loses or refuses. A row of its own in metric.c's lost_names for each. */
enum metric_lost {
	LOST_RING,             /* events overwritten before we read them */
	LOST_CONTROL,          /* events that a client of `control` had no room for */
	LOST_AUDIT,            /* lines of the audit log that could not be written */
	LOST_IPFIX,            /* flow records, once for each collector that did not get them */
	LOST_NETFLOW,          /* messages of MAGICWAND NetFlow that waited for a client when it was dropped */
	LOST_NUM,
};
void metric_lost(enum metric_lost what, uint64_t count);

enum metric_refused {
	REFUSED_CONTROL,       /* clients of `control` over the limit */
	REFUSED_METRICS,       /* of the metrics' own that were too slow */
	REFUSED_NETFLOW,       /* of MAGICWAND NetFlow over the limit, or not allowed */
	REFUSED_NUM,
};
void metric_refused(enum metric_refused what);

/* The INS has answered; a verdict has another status. */
void metric_verb(uint32_t verb, int32_t status);
void metric_verdict(uint32_t verb, uint32_t status);

void metric_init(void);
/* All of them. t->out, t->open are set. */
void metric_write(struct metric_text *t);

#endif
