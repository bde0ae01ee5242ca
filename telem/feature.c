// SPDX-License-Identifier: Apache-2.0
/*
 * feature.c - what clients of the MAGICWAND stream read and write: the table of features, and how each becomes a verb.
 * Trust: every field of a request is anybody's; a socket is looked up by slot and generation, here and in the INS. What the INS
 * answers is as long as it says, and copied.
 *
 * Where the stream's words have no counterpart in Linux:
 *   buffers           Linux doubles what is set, for its own records; the stream has what was set
 *   delayed ACK       a signed change of ticks. There are two states: 0, at once (TCP_QUICKACK), and 1, delayed
 *   newreno           what Linux calls reno is NewReno (RFC 6582); it is read as reno
 *   defer accept      Linux rounds the seconds up to a retransmission's
 *   error             writing it clears it
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "lib/addr.h"
#include "lib/prefix.h"
#include "telem/netflow.h"
#include "telem/options.h"
#include "telem/owner.h"
#include "telem/policy.h"

#define VALUE_BYTES 16 /* of the longest */

enum kind { OPEN, OWNER, ERROR, BLOCK, INT, HALF, TIME, CONGESTION, DELACK };

struct feature {
	uint16_t name, other_name; /* as some clients call it */
	enum kind kind;
	int level, option;
	bool whole;                /* without a socket: of the whole stack */
};

static const struct feature features[] = {
	{ MWNF_OPEN, 0, OPEN, 0, 0, false },
	{ MWNF_OWNER, 0, OWNER, 0, 0, false },
	{ MWNF_NONBLOCK, 0, INT, VERB_LEVEL, VERB_NONBLOCK, false },
	{ MWNF_REUSEADDR, 0, INT, SOL_SOCKET, SO_REUSEADDR, false },
	{ MWNF_REUSEPORT, 0, INT, SOL_SOCKET, SO_REUSEPORT, false },
	{ MWNF_KEEPALIVE, 0, INT, SOL_SOCKET, SO_KEEPALIVE, false },
	{ MWNF_DEFER_ACCEPT, 0, INT, IPPROTO_TCP, TCP_DEFER_ACCEPT, false },
	{ MWNF_NODELAY, 0, INT, IPPROTO_TCP, TCP_NODELAY, false },
	{ MWNF_SNDBUF, 0, HALF, SOL_SOCKET, SO_SNDBUF, false },
	{ MWNF_RCVBUF, 0, HALF, SOL_SOCKET, SO_RCVBUF, false },
	{ MWNF_SNDTIMEO, 0, TIME, SOL_SOCKET, SO_SNDTIMEO, false },
	{ MWNF_RCVTIMEO, 0, TIME, SOL_SOCKET, SO_RCVTIMEO, false },
	{ MWNF_SNDLOWAT, 0, INT, SOL_SOCKET, SO_SNDLOWAT, false },
	{ MWNF_RCVLOWAT, 0, INT, SOL_SOCKET, SO_RCVLOWAT, false },
	{ MWNF_ERROR, 0, ERROR, SOL_SOCKET, SO_ERROR, false },
	{ MWNF_CONGESTION, MWNF_CONGESTION_2, CONGESTION, IPPROTO_TCP, TCP_CONGESTION, true },
	{ MWNF_DELACK, MWNF_DELACK_2, DELACK, IPPROTO_TCP, TCP_QUICKACK, true },
	{ MWNF_BLOCK, 0, BLOCK, 0, 0, true },
};

/* A request under way. */
struct asking {
	const struct feature *f;
	bool write;
	feature_done *fn;
	void *arg;
	const char *who;
	struct mw_addr addr; /* BLOCK */
	uint32_t verb;       /* of a write */
	bool found;
};

static void finish(struct asking *a, int32_t status, uint64_t value, uint64_t micros)
{
	a->fn(a->arg, status, status ? 0 : value, status ? 0 : micros);
	free(a);
}

/* --- values --- */

static int put_int(uint64_t v, uint8_t *value)
{
	int n = (int)v;

	if (v > INT32_MAX)
		return -EINVAL;
	memcpy(value, &n, sizeof(n));
	return sizeof(n);
}

static int put_time(const struct mwnf_request *q, uint8_t *value)
{
	struct timeval t = { .tv_sec = (time_t)q->value, .tv_usec = (suseconds_t)q->micros };

	if (q->value > INT64_MAX || q->micros >= 1000000)
		return -EDOM; /* as Linux says */
	memcpy(value, &t, sizeof(t));
	return sizeof(t);
}

static int put_congestion(uint64_t v, uint8_t *value)
{
	const char *name = v == MWNF_RENO || v == MWNF_NEWRENO ? "reno" : v == MWNF_CUBIC ? "cubic" : NULL;

	if (!name)
		return -EINVAL;
	memcpy(value, name, strlen(name));
	return (int)strlen(name);
}

/* Bytes of the option's value, or -errno. */
static int encode(const struct feature *f, const struct mwnf_request *q, uint8_t value[VERDICT_VALUE])
{
	switch (f->kind) {
	case TIME:
		return put_time(q, value);
	case CONGESTION:
		return put_congestion(q->value, value);
	case DELACK:
		return put_int((int64_t)q->value < 0, value);
	default:
		return put_int(q->value, value);
	}
}

static uint32_t room(const struct feature *f)
{
	return f->kind == TIME ? sizeof(struct timeval) : f->kind == CONGESTION ? VALUE_BYTES : sizeof(int);
}

static void answer_congestion(struct asking *a, const char name[VALUE_BYTES])
{
	if (!strncmp(name, "reno", VALUE_BYTES))
		finish(a, 0, MWNF_RENO, 0);
	else if (!strncmp(name, "cubic", VALUE_BYTES))
		finish(a, 0, MWNF_CUBIC, 0);
	else
		finish(a, -ERANGE, 0, 0); /* the stream has no number for it */
}

/* The option's value, as the INS gave it; what is missing is zero. */
static void answer_value(struct asking *a, const uint8_t *value, uint32_t bytes)
{
	struct { uint8_t bytes[VALUE_BYTES]; } v = { { 0 } };
	struct timeval t;
	int n;

	memcpy(v.bytes, value, bytes < VALUE_BYTES ? bytes : VALUE_BYTES);
	memcpy(&t, v.bytes, sizeof(t));
	memcpy(&n, v.bytes, sizeof(n));
	if (a->f->kind == TIME)
		finish(a, 0, (uint64_t)t.tv_sec, (uint64_t)t.tv_usec);
	else if (a->f->kind == CONGESTION)
		answer_congestion(a, (const char *)v.bytes);
	else
		finish(a, 0, a->f->kind == HALF ? (uint64_t)(n / 2) : a->f->kind == DELACK ? !n : (uint64_t)n, 0);
}

/* --- to the INS and back --- */

static int32_t stream_status(int32_t status)
{
	return status == -ESTALE ? -EBADF : status;
}

static void read_done(void *arg, const struct verb_msg *m, const uint8_t *value)
{
	struct asking *a = arg;

	if (m->status || a->write) /* a write: SO_ERROR was cleared */
		finish(a, stream_status(m->status), 0, 0);
	else
		answer_value(a, value, m->bytes);
}

/* What the INS refused has its errno; what was refused here has none. */
static void carried_out(void *arg, const struct verdict *v, const char *why, const uint64_t *flows, uint32_t count)
{
	struct asking *a = arg;

	(void)flows;
	(void)count;
	if (!why)
		finish(a, 0, 0, 0);
	else if (v && v->error)
		finish(a, stream_status(-v->error), 0, 0);
	else
		finish(a, a->verb == VERB_UNBLOCK ? -ENOENT : -ENOSPC, 0, 0);
}

/* Whatever mitigates goes by here: a verdict, which is listed, audited, and can be undone. */
static void carry_out(struct order *o, struct asking *a)
{
	a->verb = o->v.verb;
	snprintf(o->v.who, sizeof(o->v.who), "netflow %.39s", a->who);
	if (!o->v.what[0])
		snprintf(o->v.what, sizeof(o->v.what), "%s", verb_name(o->v.verb));
	policy_order(o, carried_out, a);
}

static void name_target(struct order *o, const struct verb_msg *m)
{
	snprintf(o->v.target, sizeof(o->v.target), "%llu", (unsigned long long)m->gen << 32 | m->slot);
}

static void read_option(struct asking *a, struct verb_msg *m)
{
	m->verb = VERB_GET;
	m->bytes = room(a->f);
	if (verbs_ask(m, NULL, read_done, a) < 0)
		finish(a, -ENOMEM, 0, 0);
}

/* As `mw set` would have been told. */
static void describe(const struct asking *a, struct verdict *v, const struct mwnf_request *q)
{
	const char *name = "option";
	int n;

	memcpy(&n, v->value, sizeof(n));
	for (uint32_t i = 0; i < option_count; i++)
		if (options[i].level == v->level && options[i].number == v->name)
			name = options[i].name;
	if (a->f->kind == TIME)
		snprintf(v->what, sizeof(v->what), "%s=%llu.%06llu", name, (unsigned long long)q->value, (unsigned long long)q->micros);
	else if (a->f->kind == CONGESTION)
		snprintf(v->what, sizeof(v->what), "%s=%.16s", name, (const char *)v->value);
	else
		snprintf(v->what, sizeof(v->what), "%s=%d", name, n);
}

static void write_option(struct asking *a, const struct verb_msg *m, const struct mwnf_request *q)
{
	struct order o = { .v = { .verb = VERB_SET, .level = m->level, .name = m->name } };
	int n = encode(a->f, q, o.v.value);

	if (n < 0 || (a->f->kind == DELACK && !q->value)) {
		finish(a, n < 0 ? n : 0, 0, 0);
		return;
	}
	o.v.bytes = (uint32_t)n;
	describe(a, &o.v, q);
	if (m->slot == VERB_ALL)
		snprintf(o.v.target, sizeof(o.v.target), "all");
	else
		name_target(&o, m);
	carry_out(&o, a);
}

static void option(struct asking *a, struct verb_msg *m, const struct mwnf_request *q)
{
	m->level = a->f->level;
	m->name = a->f->option;
	if (q->write && a->f->kind != ERROR)
		write_option(a, m, q);
	else
		read_option(a, m);
}

/* --- blocked addresses --- */

static bool look_for_block(const struct verdict *v, void *arg)
{
	struct asking *a = arg;
	struct prefix p = { v->addr, v->prefix };

	a->found |= v->verb == VERB_BLOCK && (v->status == VERDICT_HOLDS || v->status == VERDICT_RUNNING) && prefix_has(&p, &a->addr);
	return !a->found;
}

static void block(struct asking *a, const struct mwnf_request *q)
{
	struct order o = { .v = { .verb = q->value ? VERB_BLOCK : VERB_UNBLOCK, .addr = q->addr } };
	struct prefix p;

	addr_unmap(&o.v.addr);
	o.v.prefix = o.v.addr.family == MW_FAMILY_IP6 ? 128 : 32;
	a->addr = o.v.addr;
	p = (struct prefix){ o.v.addr, o.v.prefix };
	if (q->addr.family == MW_FAMILY_NONE || (q->write && q->value > 1)) {
		finish(a, -EINVAL, 0, 0);
		return;
	}
	if (!q->write) {
		policy_each(look_for_block, a);
		finish(a, 0, a->found, 0);
		return;
	}
	prefix_text(&p, o.v.target);
	carry_out(&o, a);
}

/* --- sockets and their owners --- */

static void owner_read(void *arg, int32_t status)
{
	finish(arg, status == -ESRCH ? 0 : status, status == 0, 0);
}

static void owner_written(void *arg, int32_t status)
{
	finish(arg, status, 0, 0);
}

static void owner(struct asking *a, const struct flow *f)
{
	if (a->write)
		owner_asks(OWNER_INTERRUPT, f->f.pid, owner_written, a);
	else
		owner_asks(OWNER_RUNNING, f->f.pid, owner_read, a);
}

static void open_or_close(struct asking *a, const struct verb_msg *m, const struct flow *f)
{
	struct order o = { .v = { .verb = VERB_CLOSE } };

	if (!a->write) {
		finish(a, 0, f->f.state != MW_ST_CLOSED, 0);
		return;
	}
	name_target(&o, m);
	carry_out(&o, a);
}

/* The flow that is meant. False: there is none; *was: there may have been. */
static bool find(const struct mwnf_request *q, struct flow *f, bool *was)
{
	uint64_t id = q->by_socket ? mwnf_flow(NETFLOW_INS, q->socket) : 0;

	*was = false;
	if (!id || (uint32_t)id >= flow_slots_high(&telem.flows))
		return false;
	if (!flow_read(&telem.flows, (uint32_t)id, f)) {
		*was = true;
		return false;
	}
	*was = f->f.id >= id;
	return f->f.id == id;
}

static void of_socket(struct asking *a, const struct mwnf_request *q)
{
	struct verb_msg m = { 0 };
	struct flow f;
	bool was;

	if (a->f->whole && !q->by_socket && !q->by_address) {
		m.slot = VERB_ALL;
		option(a, &m, q);
		return;
	}
	if (!find(q, &f, &was)) {
		finish(a, was && a->f->kind == OPEN && !q->write ? 0 : -EBADF, 0, 0);
		return;
	}
	m.slot = (uint32_t)f.f.id;
	m.gen = (uint32_t)(f.f.id >> 32);
	if (a->f->kind == OPEN)
		open_or_close(a, &m, &f);
	else if (a->f->kind == OWNER)
		owner(a, &f);
	else
		option(a, &m, q);
}

static const struct feature *named(uint16_t name)
{
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (features[i].name == name || (name && features[i].other_name == name))
			return &features[i];
	return NULL;
}

void feature_ask(const struct mwnf_request *q, const char *who, feature_done *fn, void *arg)
{
	const struct feature *f = named(q->name);
	struct asking *a = f ? malloc(sizeof(*a)) : NULL;

	if (!a) {
		fn(arg, f ? -ENOMEM : -EINVAL, 0, 0);
		return;
	}
	*a = (struct asking){ .f = f, .write = q->write, .fn = fn, .arg = arg, .who = who };
	if (f->kind == BLOCK)
		block(a, q);
	else
		of_socket(a, q);
}
