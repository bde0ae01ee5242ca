// SPDX-License-Identifier: Apache-2.0
/*
 * verb.c - what an operator has decided, carried out here, where it takes effect at once.
 * Trust: records come from telemetry, which parses what clients send: each is checked, and names a socket by its generation,
 * so that one which has ended is never mistaken for its successor.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ins/app.h"
#include "ins/block.h"
#include "ins/data.h"
#include "ins/gate.h"
#include "ins/journal.h"
#include "ins/observe.h"
#include "ins/operator.h"
#include "ins/poll.h"
#include "ins/slots.h"
#include "ins/verb.h"
#include "link/broker.h"
#include "link/telem.h"

#define AT_ONCE   64 /* then connections have their turn */
#define WHOLE_INS 16 /* what looks at every socket counts as so many */

#define LATE_SWEEP 0x10000u /* deed.sub of DEED_LATE: a sweep's answer, above those of app.c */

MW_ASSERT(sizeof(struct verb_msg) + VERB_VALUE_MAX == MW_VERB_BYTES, "a request has room for each verb");

static uint8_t door_record[MW_VERB_BYTES]; /* of a request, whose own stays as it is in the journal; then the answer */

/* The value of the verb that the journal, or the door's request, holds. */
static uint8_t *value(void)
{
	return ins.door ? door_record + sizeof(struct verb_msg) : journal->job.u.verb.value;
}

void verb_acted(struct isock *s, uint32_t verb, uint64_t verdict)
{
	struct mw_flow *f = flow_of(s);

	f->verdict = verdict;
	f->verb = verb;
	f->verdicts++;
	observe(s, MW_EV_VERB, f->id);
}

/* The peer gets what the stack has taken so far, and FIN; or a reset. The application sees a reset either way. */
int verb_end(struct isock *s, const struct verb_msg *m)
{
	if (s->type != MW_TYPE_STREAM || s->state < MW_ST_CONNECTING || s->tcp < 0)
		return s->state == MW_ST_CLOSED ? -ESTALE : -EOPNOTSUPP;
	verb_acted(s, m->verb, m->verdict);
	if (m->verb == VERB_CLOSE) {
		ins.stack->shutdown_send(s->tcp);
	} else {
		flow_of(s)->error = ECONNRESET;
		flow_of(s)->end = MW_END_VERB;
		slots_abort(s);
	}
	data_fail(s, ECONNRESET, MW_END_VERB);
	return 0;
}

static int end(struct isock *s, struct verb_msg *m)
{
	return s ? verb_end(s, m) : -EINVAL;
}

static int set(struct isock *s, struct verb_msg *m)
{
	return s ? operator_set(s, m, value()) : operator_set_all(m, value());
}

static int get(struct isock *s, struct verb_msg *m)
{
	memset(value(), 0, VERB_VALUE_MAX);
	return operator_get(s, m, value());
}

static int block(struct isock *s, struct verb_msg *m)
{
	(void)s;
	return m->verb == VERB_BLOCK ? block_add(m) : block_remove(m);
}

static int cap(struct isock *s, struct verb_msg *m)
{
	(void)s;
	return block_cap(m);
}

static int backlog(struct isock *s, struct verb_msg *m)
{
	return s ? operator_backlog(s, m) : operator_backlog_all(m);
}

static int gate(struct isock *s, struct verb_msg *m)
{
	return s ? gate_tell(s, m, value()) : gate_change(m, value());
}

static const struct {
	int (*carry_out)(struct isock *s, struct verb_msg *m); /* s NULL: all, or none is named */
	bool socket;   /* names one, or all */
	uint32_t flags;
} verbs[VERB_NUM] = {
	[VERB_CLOSE]   = { end, true, 0 },
	[VERB_RESET]   = { end, true, 0 },
	[VERB_SET]     = { set, true, VERB_UNDO },
	[VERB_GET]     = { get, true, 0 },
	[VERB_BLOCK]   = { block, false, 0 },
	[VERB_UNBLOCK] = { block, false, 0 },
	[VERB_CAP]     = { cap, false, VERB_UNDO },
	[VERB_GATE]    = { gate, true, VERB_UNDO },
	[VERB_BACKLOG] = { backlog, true, VERB_UNDO },
};

static int carry_out(struct verb_msg *m)
{
	struct isock *s = NULL;

	if (m->verb >= VERB_NUM || !verbs[m->verb].carry_out || m->flags & ~verbs[m->verb].flags)
		return -EINVAL;
	if (verbs[m->verb].socket && (m->slot != VERB_ALL || m->gen)) {
		s = slots_find(m->slot, m->gen);
		if (!s)
			return journal->job.found ? 0 : -ESTALE;
		if (journal->job.again && m->verdict && flow_of(s)->verdict == m->verdict && flow_of(s)->end != MW_END_NONE)
			return 0;
		journal->job.found = 1;
	}
	return verbs[m->verb].carry_out(s, m);
}

/* A worker that died over it may have done it. */
static int carried_out(struct verb_msg *m)
{
	int r = carry_out(m);

	return journal->job.again && r == -ENOENT && (m->flags & VERB_UNDO || m->verb == VERB_UNBLOCK) ? 0 : r;
}

/* The value's length: of a GET it is the room for it. */
static bool verb_ok(const struct verb_msg *m, size_t n)
{
	return n >= sizeof(*m) && m->bytes <= VERB_VALUE_MAX && n - sizeof(*m) == (verb_has_value(m->verb) ? m->bytes : 0);
}

static bool is_answered_with_value(const struct verb_msg *m)
{
	return m->status == 0 && (m->verb == VERB_GET || (m->verb == VERB_GATE && m->slot != VERB_ALL));
}

static int cost(const struct verb_msg *m)
{
	return m->verb == VERB_BLOCK || m->verb == VERB_CAP || (m->verb < VERB_NUM && verbs[m->verb].socket && m->slot == VERB_ALL) ?
		       WHOLE_INS : 1;
}

static bool answer(const struct verb_msg *m, size_t value_bytes)
{
	struct iovec iov[] = { { (void *)(uintptr_t)m, sizeof(*m) }, { value(), value_bytes } };

	return deed_send(INS_VERBS_FD, iov, 2, NULL, 0, MSG_DONTWAIT) >= 0;
}

/* door_record, with a value of so many bytes, as the answer. */
static void fill(const struct verb_msg *m, size_t value_bytes, struct answer *a)
{
	memcpy(door_record, m, sizeof(*m));
	memset(value() + value_bytes, 0, VERB_VALUE_MAX - value_bytes);
	*a = (struct answer){ door_record, sizeof(door_record), 0 };
}

void verb_answer(struct verb_msg *m, uint32_t sweep)
{
	struct answer a;

	m->status = 0;
	if (!ins.door) {
		answer(m, 0);
		return;
	}
	fill(m, 0, &a);
	journal->deed.sub = LATE_SWEEP + sweep;
	deed_begin(DEED_LATE, NULL);
	app_reply_verb((uint32_t)m->seq, &a);
}

uint32_t verb_answered(void)
{
	const struct deed *d = &journal->deed;

	return d->kind == DEED_LATE && deed_done() && d->sub >= LATE_SWEEP ? d->sub - LATE_SWEEP + 1 : 0;
}

int verb_asked(const uint8_t *record, uint32_t seq, struct answer *a)
{
	struct verb_msg m;

	memcpy(door_record, record, sizeof(door_record));
	memcpy(&m, record, sizeof(m));
	if (m.bytes > VERB_VALUE_MAX)
		return -EINVAL;
	m.seq = seq;
	m.status = carried_out(&m);
	if (m.status == VERB_LATER)
		return VERB_LATER;
	fill(&m, is_answered_with_value(&m) ? m.bytes : 0, a);
	return 0;
}

/* The record in the journal, of n bytes: carries it out, and answers. What it cost; 0: nobody takes the answer. */
static int serve(ssize_t n)
{
	struct verb_msg m = journal->job.u.verb.msg;
	bool taken = true;

	if (n < 0 || !verb_ok(&m, (size_t)n)) {
		job_end();
		return 1;
	}
	m.status = carried_out(&m);
	deed_begin(DEED_REPLY, NULL);
	if (m.status != VERB_LATER)
		taken = answer(&m, is_answered_with_value(&m) ? m.bytes : 0);
	job_end();
	deed_end();
	return taken ? cost(&m) : 0;
}

static int serve_one(void)
{
	ssize_t n = job_take(JOB_VERB, INS_VERBS_FD);

	return n == 0 || (n < 0 && n != -EMSGSIZE) ? 0 : serve(n);
}

void verb_again(void)
{
	serve(job_bytes());
}

void verb_event(void)
{
	for (int spent = 0, each = 1; spent < AT_ONCE && each; spent += each)
		each = serve_one();
}

int verb_init(void)
{
	return poll_add(INS_VERBS_FD, EV_VERB, 0, 0, 0, EPOLLIN);
}
