// SPDX-License-Identifier: Apache-2.0
/*
 * control.c - `mw` and scripts: a UNIX socket, a JSON object a line, one or more lines back.
 * Trust: whoever may open the socket is the user. Lines are bounded and parsed by jansson; one who does not read is not waited
 * for: events that have no room are counted, and told when there is room again.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "telem/order.h"
#include "telem/stream.h"

#define LINE_MAX_BYTES 65536u
#define OUT_MAX_BYTES  (2u << 20) /* all verdicts, or the flows of an order */
#define CLIENTS_MAX    64
#define FLOWS_TOLD     10000u /* ids in one answer; the count is of all */

struct client {
	struct stream s;
	struct consumer c;
	bool follows;
	uint64_t lost;        /* events that had no room, not yet told */
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
}

static void fail(struct client *k, const char *why)
{
	reply(k, json_pack("{s:b,s:s}", "ok", 0, "error", why));
}

/* --- following --- */

static void on_event(struct consumer *c, const struct mw_event *e)
{
	struct client *k = (struct client *)(void *)((char *)c - offsetof(struct client, c));

	if (k->lost) {
		if (!put_json(k, json_pack("{s:s,s:I}", "event", "lost", "count", (json_int_t)k->lost))) {
			k->lost++;
			return;
		}
		k->lost = 0;
	}
	if (!put_json(k, flow_event_json(telem.app, e)))
		k->lost++;
	stream_flush(&k->s);
}

static void on_lost(struct consumer *c, uint64_t count)
{
	struct client *k = (struct client *)(void *)((char *)c - offsetof(struct client, c));

	k->lost += count;
}

static void do_follow(struct client *k, json_t *q)
{
	(void)q;
	if (k->follows)
		return;
	k->follows = true;
	k->c = (struct consumer){ .event = on_event, .lost = on_lost };
	put_json(k, json_pack("{s:b}", "ok", 1));
	events_add(&k->c); /* before it is told: whatever it does next is seen */
	stream_flush(&k->s);
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
	reply(k, o);
	stream_release(&k->s);
}

/* "root (pid 123)" */
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
	stream_hold(&k->s);
	policy_order(&o, done, k);
}

static void do_undo(struct client *k, json_t *q)
{
	char who[VERDICT_WHO];

	who_is(k, who);
	stream_hold(&k->s);
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
	policy_each(list_one, k);
	reply(k, json_pack("{s:b}", "ok", 1));
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
	const char *at = in, *end;

	while (!s->gone && (end = memchr(at, '\n', n - (size_t)(at - in)))) {
		line((struct client *)(void *)s, at, (size_t)(end - at));
		at = end + 1;
	}
	return at - in;
}

static void ended(struct stream *s)
{
	struct client *k = (struct client *)(void *)s;

	if (k->follows)
		events_remove(&k->c);
	clients--;
}

static const struct stream_kind kind = { LINE_MAX_BYTES, OUT_MAX_BYTES, input, ended };

static void on_listener(struct watch *w, uint32_t events)
{
	struct stream *s = stream_accept(w->fd, sizeof(struct client), &kind);

	(void)events;
	if (s && ++clients > CLIENTS_MAX)
		stream_end(s);
}

int control_init(void)
{
	listener = (struct watch){ TELEM_CONTROL_FD, on_listener };
	return loop_add(&listener, EPOLLIN);
}
