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
#include <sys/uio.h>
#include <unistd.h>

#include "telem/metric.h"
#include "telem/policy.h"

static bool said;

static void failed(const struct verdict *v, const char *why)
{
	metric_lost(LOST_AUDIT, 1);
	if (!said)
		fprintf(stderr, "mw: %s: the audit log cannot be written: %s; verdicts go on, this one is %llu: %s\n", telem.app, why,
			(unsigned long long)v->id, v->what);
	said = true;
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
	ssize_t written = text ? writev(TELEM_AUDIT_FD, iov, 2) : -1;

	metric_verdict(v->verb, v->status);
	if (written == (ssize_t)n + 1)
		said = false;
	else
		failed(v, written < 0 ? strerror(errno) : "no space");
	free(text);
	json_decref(o);
}
