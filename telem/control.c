// SPDX-License-Identifier: Apache-2.0
/*
 * control.c - `mw` and scripts: a UNIX socket, a JSON object a line, one or more lines back.
 * Trust: whoever may open the socket is the user. Lines are bounded and parsed by jansson. One who does not read is not waited
 * for: his requests are not taken while answers wait, and events that have no room are counted, and told when there is room
 * again. A single answer that has none ends him.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "telem/gate.h"
#include "telem/metric.h"
#include "telem/ipfix.h"
#include "telem/options.h"
#include "telem/order.h"
#include "telem/stream.h"

#define LINE_MAX_BYTES 65536u
#define OUT_MAX_BYTES  (3u << 20) /* all verdicts, or the flows of an order */
#define OUT_WAITS      65536u     /* so many bytes that wait, or */
#define PENDING_MAX    64u        /* requests under way: no more are taken */
#define EVENT_ROOM     131072u    /* left for answers */
#define AGAIN_MS       100
#define CLIENTS_MAX    64
#define FLOWS_TOLD     10000u /* ids in one answer; the count is of all */

struct client {
	struct stream s;
	struct consumer c;
	bool follows;
	uint32_t pending;            /* requests whose answers are still to come */
	uint64_t lost, lost_samples; /* what had no room, not yet told */
	struct timer again;
};

static struct watch listener;
static int clients;

/* Takes the object. False when it has no room. */
static bool put_json(struct client *k, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(16));
	size_t n = text ? strlen(text) : 0;
	bool r = text && n < stream_room(&k->s) && stream_put(&k->s, text, n) && stream_put(&k->s, "\n", 1);

	free(text);
	json_decref(o);
	return r;
}

static void reply(struct client *k, json_t *o)
{
	if (put_json(k, o))
		stream_flush(&k->s);
	else
		stream_end(&k->s);
}

static json_t *failure(const char *why)
{
	return json_pack("{s:b,s:s}", "ok", 0, "error", why);
}

static void fail(struct client *k, const char *why)
{
	reply(k, failure(why));
}

/* --- answers that come later --- */

static bool is_full(const struct client *k)
{
	return k->pending >= PENDING_MAX || stream_room(&k->s) < OUT_MAX_BYTES - OUT_WAITS;
}

static void go_on(struct stream *s)
{
	while (!s->gone && s->paused && !is_full((struct client *)(void *)s))
		stream_resume(s);
}

static void later(struct client *k)
{
	k->pending++;
	stream_hold(&k->s);
}

static void answered(struct client *k, json_t *o)
{
	reply(k, o);
	k->pending--;
	go_on(&k->s);
	stream_release(&k->s);
}

/* --- following --- */

static struct client *of(struct consumer *c)
{
	return (struct client *)(void *)((char *)c - offsetof(struct client, c));
}

/* What had no room is told first. False while there is no room even for that. */
static bool tell_lost(struct client *k)
{
	if (!k->lost && !k->lost_samples)
		return true;
	if (stream_room(&k->s) < OUT_MAX_BYTES / 4 ||
	    !put_json(k, json_pack("{s:s,s:s,s:I,s:I}", "event", "lost", "app", telem.app, "count", (json_int_t)k->lost, "samples",
				   (json_int_t)k->lost_samples)))
		return false;
	k->lost = k->lost_samples = 0;
	return true;
}

/* What was lost is told, also when nothing happens any more. */
static void on_again(struct timer *t)
{
	struct client *k = (struct client *)(void *)((char *)t - offsetof(struct client, again));

	if (tell_lost(k))
		stream_flush_soon(&k->s);
	else
		loop_timer(t, AGAIN_MS);
}

static void lose(struct client *k, uint64_t *count, uint64_t more)
{
	*count += more;
	if (!k->again.due_ns)
		loop_timer(&k->again, AGAIN_MS);
}

static void drop(struct client *k, uint64_t *count)
{
	lose(k, count, 1);
	metric_lost(LOST_CONTROL, 1);
}

static void on_event(struct consumer *c, const struct mw_event *e)
{
	struct client *k = of(c);
	char line[FLOW_LINE_BYTES];

	if (stream_room(&k->s) < EVENT_ROOM)
		stream_flush(&k->s);
	if (!tell_lost(k) || stream_room(&k->s) < EVENT_ROOM || !stream_put(&k->s, line, flow_event_line(telem.app, e, line)))
		drop(k, &k->lost);
	else
		stream_flush_soon(&k->s);
}

/* Samples leave half of the room to events. */
static void on_sample(struct consumer *c, const struct flow *f)
{
	struct client *k = of(c);
	char line[FLOW_LINE_BYTES];

	if (!tell_lost(k) || stream_room(&k->s) < OUT_MAX_BYTES / 2 || !stream_put(&k->s, line, flow_line("sample", f, line)))
		drop(k, &k->lost_samples);
	else
		stream_flush_soon(&k->s);
}

static void on_lost(struct consumer *c, uint64_t count)
{
	struct client *k = of(c);

	lose(k, &k->lost, count);
}

static void do_follow(struct client *k, json_t *q)
{
	if (k->follows) {
		reply(k, json_pack("{s:b}", "ok", 1));
		return;
	}
	k->follows = true;
	k->again.fn = on_again;
	k->c = (struct consumer){ .event = on_event, .lost = on_lost };
	if (json_is_true(json_object_get(q, "samples")))
		k->c.sample = on_sample;
	put_json(k, json_pack("{s:b}", "ok", 1));
	events_add(&k->c); /* before it is told: whatever it does next is seen */
	stream_flush(&k->s);
}

static void sampled(void *arg, bool fresh)
{
	struct client *k = arg;
	const struct samples_head *h = (const struct samples_head *)(const void *)(telem.reader + SAMPLES_HEAD);

	answered(k, fresh ? json_pack("{s:b,s:f,s:f}", "ok", 1, "time", (double)h->time_ns / 1e9, "cost", (double)h->cost_ns / 1e9)
			  : failure("the kernel does not say: is CONFIG_INET_DIAG there?"));
}

/* Answered when the samples' memory is fresh. */
static void do_sample(struct client *k, json_t *q)
{
	(void)q;
	later(k);
	sample_fresh(sampled, k);
}

/* --- orders --- */

static void done(void *arg, const struct verdict *v, const char *why, const uint64_t *flows, uint32_t count)
{
	struct client *k = arg;
	json_t *o = v ? verdict_json(v) : json_object(), *ids = json_array();

	for (uint32_t i = 0; i < count && i < FLOWS_TOLD; i++)
		json_array_append_new(ids, json_integer((json_int_t)flows[i]));
	json_object_set_new(o, "ok", json_boolean(!why));
	json_object_set_new(o, "count", json_integer(count));
	json_object_set_new(o, "flows", ids);
	if (why)
		json_object_set_new(o, "error", json_string(why));
	answered(k, o);
}

/* "uid 0 (pid 123)" */
static void who_is(struct client *k, char who[VERDICT_WHO])
{
	struct ucred u = { 0 };
	socklen_t n = sizeof(u);

	getsockopt(k->s.w.fd, SOL_SOCKET, SO_PEERCRED, &u, &n);
	snprintf(who, VERDICT_WHO, "uid %u (pid %d)", u.uid, (int)u.pid);
}

static void do_order(struct client *k, json_t *q)
{
	char who[VERDICT_WHO], why[FILTER_WHY_BYTES];
	struct order o;

	who_is(k, who);
	if (!order_parse(&o, q, who, why)) {
		fail(k, why);
		return;
	}
	later(k);
	policy_order(&o, done, k);
}

static void do_undo(struct client *k, json_t *q)
{
	char who[VERDICT_WHO];

	who_is(k, who);
	later(k);
	policy_undo((uint64_t)json_integer_value(json_object_get(q, "verdict")), who, done, k);
}

static bool list_one(const struct verdict *v, void *arg)
{
	return put_json(arg, verdict_json(v));
}

/* A line each, then one that ends the list. */
static void do_list(struct client *k, json_t *q)
{
	(void)q;
	if (policy_each(list_one, k))
		reply(k, json_pack("{s:b}", "ok", 1));
	else
		stream_end(&k->s);
}

/* --- what is in force --- */

struct question {
	struct client *k;
	const struct sockopt *option;
};

static void got(void *arg, const struct verb_msg *m, const uint8_t *value)
{
	struct question *q = arg;
	char text[OPTION_TEXT_BYTES];
	json_t *o = m->status ? failure(verdict_error(-m->status))
			      : json_pack("{s:b,s:s,s:s}", "ok", 1, "option", q->option->name, "value",
					  option_text(q->option, value, m->bytes, text));

	answered(q->k, o ? o : failure("the INS answers with what is no text"));
	free(q);
}

static void do_get(struct client *k, json_t *q)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(q, "flow"));
	const char *name = json_string_value(json_object_get(q, "option"));
	const struct sockopt *o = name ? option_named(name) : NULL;
	struct verb_msg m = { .verb = VERB_GET, .slot = (uint32_t)id, .gen = (uint32_t)(id >> 32), .bytes = OPTION_VALUE_MAX };
	struct question *a;

	if (!o) {
		fail(k, "option: no such option; `mw set --help` lists them");
		return;
	}
	m.level = o->level;
	m.name = o->number;
	a = malloc(sizeof(*a));
	if (a)
		*a = (struct question){ k, o };
	later(k);
	if (a && verbs_ask(&m, NULL, got, a) == 0)
		return;
	free(a);
	answered(k, failure("no memory"));
}

static void do_ipfix(struct client *k, json_t *q)
{
	(void)q;
	reply(k, json_pack("{s:b,s:o}", "ok", 1, "collectors", ipfix_send_json()));
}

static void gates(void *arg, json_t *o)
{
	struct client *k = arg;

	answered(k, o);
}

static void do_gates(struct client *k, json_t *q)
{
	(void)q;
	later(k);
	gate_list(gates, k);
}

/* --- requests --- */

static const struct {
	const char *name;
	void (*fn)(struct client *k, json_t *q);
} requests[] = {
	{ "follow", do_follow },
	{ "order", do_order },
	{ "undo", do_undo },
	{ "list", do_list },
	{ "sample", do_sample },
	{ "gates", do_gates },
	{ "get", do_get },
	{ "ipfix", do_ipfix },
};

static void line(struct client *k, const char *text, size_t n)
{
	json_t *q = json_loadb(text, n, 0, NULL);
	const char *name = json_string_value(json_object_get(q, "do"));

	for (size_t i = 0; name && i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (strcmp(name, requests[i].name))
			continue;
		requests[i].fn(k, q);
		json_decref(q);
		return;
	}
	fail(k, q ? "do: no such request" : "not a JSON object");
	json_decref(q);
}

static long input(struct stream *s, const char *in, size_t n)
{
	struct client *k = (struct client *)(void *)s;
	const char *at = in, *end;

	while (!s->gone && !is_full(k) && (end = memchr(at, '\n', n - (size_t)(at - in)))) {
		line(k, at, (size_t)(end - at));
		at = end + 1;
	}
	if (is_full(k))
		stream_pause(s);
	return at - in;
}

static void ended(struct stream *s)
{
	struct client *k = (struct client *)(void *)s;

	if (k->follows)
		events_remove(&k->c);
	loop_timer_stop(&k->again);
	clients--;
}

static const struct stream_kind kind = { LINE_MAX_BYTES, OUT_MAX_BYTES, input, ended, go_on };

static void on_listener(struct watch *w, uint32_t events)
{
	struct stream *s = stream_accept(w->fd, sizeof(struct client), &kind);

	(void)events;
	if (s && ++clients > CLIENTS_MAX) {
		metric_refused(REFUSED_CONTROL);
		stream_end(s);
	}
}

int control_init(void)
{
	listener = (struct watch){ TELEM_CONTROL_FD, on_listener };
	return loop_add(&listener, EPOLLIN);
}
