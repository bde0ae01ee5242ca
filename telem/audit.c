// SPDX-License-Identifier: Apache-2.0
/*
 * audit.c - the audit log: a JSON object a line for every change of a verdict: who, when, what, to whom, why, and the result.
 * Trust: texts are an operator's; jansson escapes them.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "telem/metric.h"
#include "telem/policy.h"

#define SETTLED_NS 1000000000ull /* without a failure: a page that is not full may take a short line */

static uint64_t missing, failed_ns; /* lines since it could be written */

static void failed(const struct verdict *v, const char *why)
{
	metric_lost(LOST_AUDIT, 1);
	failed_ns = loop_steady_ns();
	if (!missing++)
		fprintf(stderr, "mw: %s: the audit log cannot be written: %s; verdicts go on, this one is %llu: %s\n", telem.app, why,
			(unsigned long long)v->id, v->what);
}

static void written(void)
{
	if (!missing || loop_steady_ns() - failed_ns < SETTLED_NS)
		return;
	fprintf(stderr, "mw: %s: the audit log is written again; %llu lines are missing\n", telem.app, (unsigned long long)missing);
	missing = 0;
}

/* A line of which `part` bytes had room is taken back, unless others have written behind it. */
static void take_back(ssize_t part)
{
	off_t end = lseek(TELEM_AUDIT_FD, 0, SEEK_CUR);
	struct stat st;

	if (end >= part && fstat(TELEM_AUDIT_FD, &st) == 0 && st.st_size == end && ftruncate(TELEM_AUDIT_FD, end - part) == 0)
		lseek(TELEM_AUDIT_FD, 0, SEEK_END);
}

static json_t *line(const struct verdict *v, const char *event)
{
	json_t *o = json_pack("{s:f,s:s,s:I,s:s,s:s,s:s,s:s,s:s,s:i,s:i}", "time", (double)loop_now_ns() / 1e9, "app", telem.app, "verdict",
			      (json_int_t)v->id, "event", event, "what", v->what, "target", v->target, "who", v->who, "why", v->why, "hit",
			      (int)v->hits, "missed", (int)v->missed);

	json_object_set_new(o, "result", json_string(v->status == VERDICT_FAILED ? verdict_error(v->error) : verdict_status_name(v->status)));
	if (v->expires_ns)
		json_object_set_new(o, "expires", json_real((double)v->expires_ns / 1e9));
	return o;
}

void audit(const struct verdict *v, const char *event)
{
	json_t *o = line(v, event);
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(16)) : NULL;
	size_t n = text ? strlen(text) : 0;
	struct iovec iov[] = { { text, n }, { (void *)(uintptr_t)"\n", 1 } };
	ssize_t took = text ? writev(TELEM_AUDIT_FD, iov, 2) : -1;

	metric_verdict(v->verb, v->status);
	if (took == (ssize_t)n + 1)
		written();
	else
		failed(v, strerror(took < 0 ? errno : ENOSPC));
	if (took > 0 && took <= (ssize_t)n)
		take_back(took);
	free(text);
	json_decref(o);
}
