// SPDX-License-Identifier: Apache-2.0
/*
 * control.c - `mw` and scripts: a UNIX socket, a JSON object a line, one or more lines back.
 * Trust: whoever may open the socket is the user. Lines are bounded and parsed by jansson; one who does not read is not waited
 * for: events that have no room are counted, and told when there is room again.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "telem/stream.h"

#define LINE_MAX_BYTES 65536u
#define OUT_MAX_BYTES  (1u << 20)
#define CLIENTS_MAX    64

struct client {
	struct stream s;
	struct consumer c;
	bool follows;
	uint64_t lost;        /* events that had no room, not yet told */
};

static struct watch listener;
static int clients;
static uint64_t last_verdict;

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

/* --- verbs --- */

static void done(void *arg, const struct verb_msg *m, const uint8_t *value)
{
	struct client *k = arg;
	json_t *o = json_pack("{s:b,s:I,s:i}", "ok", m->status == 0, "verdict", (json_int_t)m->verdict, "status", m->status);

	(void)value;
	if (m->status)
		json_object_set_new(o, "error", json_string(m->status == -ESTALE ? "that connection has ended" : strerror(-m->status)));
	reply(k, o);
	stream_release(&k->s);
}

static void do_verb(struct client *k, json_t *q, uint32_t verb)
{
	const json_t *id = json_object_get(q, "id");
	uint64_t v = (uint64_t)json_integer_value(id);
	struct verb_msg m = { .verb = verb, .slot = (uint32_t)v, .gen = (uint32_t)(v >> 32) };

	if (!json_is_integer(id)) {
		fail(k, "id: the connection's id is needed");
		return;
	}
	m.verdict = ++last_verdict;
	stream_hold(&k->s);
	if (verbs_ask(&m, NULL, done, k) < 0) {
		fail(k, "no memory");
		stream_release(&k->s);
	}
}

static void do_close(struct client *k, json_t *q)
{
	do_verb(k, q, VERB_CLOSE);
}

static void do_reset(struct client *k, json_t *q)
{
	do_verb(k, q, VERB_RESET);
}

/* --- requests --- */

static const struct {
	const char *name;
	void (*fn)(struct client *k, json_t *q);
} requests[] = {
	{ "follow", do_follow },
	{ "close", do_close },
	{ "reset", do_reset },
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
