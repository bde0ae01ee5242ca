// SPDX-License-Identifier: Apache-2.0
/*
 * control.c - `mw` and scripts: a UNIX socket, a JSON object a line, one or more lines back.
 * Trust: whoever may open the socket is the user. Lines are bounded and parsed by jansson; one who does not read is not waited
 * for: events that have no room are counted, and told when there is room again.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "telem/telem.h"

#define LINE_MAX_BYTES 65536u
#define OUT_MAX_BYTES  (1u << 20)
#define CLIENTS_MAX    64

struct client {
	struct watch w;
	struct consumer c;
	bool follows;
	uint64_t lost;        /* events that had no room, not yet told */
	uint32_t pending;     /* answers of the INS that are still to come */
	bool gone;
	size_t in_bytes, out_bytes;
	char in[LINE_MAX_BYTES];
	char *out;
};

static struct watch listener;
static int clients;
static uint64_t last_verdict;

static void drop(struct client *k)
{
	if (k->follows)
		events_remove(&k->c);
	k->follows = false;
	if (!k->gone) {
		loop_remove(&k->w);
		close(k->w.fd);
		clients--;
	}
	k->gone = true;
	if (k->pending)
		return;
	free(k->out);
	free(k);
}

/* False when it has no room. */
static bool put(struct client *k, const char *text, size_t n)
{
	if (k->gone || n > OUT_MAX_BYTES - k->out_bytes)
		return false;
	memcpy(k->out + k->out_bytes, text, n);
	k->out_bytes += n;
	return true;
}

static void flush(struct client *k)
{
	ssize_t n;

	if (k->gone)
		return;
	n = k->out_bytes ? send(k->w.fd, k->out, k->out_bytes, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	if (n > 0) {
		k->out_bytes -= (size_t)n;
		memmove(k->out, k->out + n, k->out_bytes);
	}
	loop_change(&k->w, EPOLLIN | EPOLLRDHUP | (k->out_bytes ? EPOLLOUT : 0));
}

/* Takes the object. False when it has no room. */
static bool put_json(struct client *k, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(16));
	bool r = text && k->out_bytes + strlen(text) < OUT_MAX_BYTES && put(k, text, strlen(text)) && put(k, "\n", 1);

	free(text);
	json_decref(o);
	return r;
}

static void reply(struct client *k, json_t *o)
{
	if (put_json(k, o))
		flush(k);
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
	flush(k);
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
	flush(k);
}

/* --- verbs --- */

static void done(void *arg, const struct verb_msg *m, const uint8_t *value)
{
	struct client *k = arg;
	json_t *o = json_pack("{s:b,s:I,s:i}", "ok", m->status == 0, "verdict", (json_int_t)m->verdict, "status", m->status);

	(void)value;
	k->pending--;
	if (m->status)
		json_object_set_new(o, "error", json_string(m->status == -ESTALE ? "that connection has ended" : strerror(-m->status)));
	reply(k, o);
	if (k->gone)
		drop(k);
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
	k->pending++;
	if (verbs_ask(&m, NULL, done, k) < 0) {
		k->pending--;
		fail(k, "no memory");
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

/* All whole lines. False when one is too long. */
static bool lines(struct client *k)
{
	char *end, *at = k->in;
	size_t left = k->in_bytes;

	while (!k->gone && (end = memchr(at, '\n', left))) {
		line(k, at, (size_t)(end - at));
		left -= (size_t)(end + 1 - at);
		at = end + 1;
	}
	memmove(k->in, at, left);
	k->in_bytes = left;
	return left < sizeof(k->in);
}

static void on_client(struct watch *w, uint32_t events)
{
	struct client *k = (struct client *)(void *)w;
	ssize_t n = recv(w->fd, k->in + k->in_bytes, sizeof(k->in) - k->in_bytes, MSG_DONTWAIT);

	if (n > 0) {
		k->in_bytes += (size_t)n;
		if (lines(k)) {
			flush(k);
			return;
		}
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && !(events & (EPOLLHUP | EPOLLERR))) {
		flush(k);
		return;
	}
	drop(k);
}

static void on_listener(struct watch *w, uint32_t events)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *k;

	(void)events;
	if (fd < 0)
		return;
	k = clients < CLIENTS_MAX ? calloc(1, sizeof(*k)) : NULL;
	if (k)
		k->out = malloc(OUT_MAX_BYTES);
	if (!k || !k->out) {
		close(fd);
		free(k);
		return;
	}
	k->w = (struct watch){ fd, on_client };
	clients++;
	loop_add(&k->w, EPOLLIN | EPOLLRDHUP);
}

int control_init(void)
{
	listener = (struct watch){ TELEM_CONTROL_FD, on_listener };
	return loop_add(&listener, EPOLLIN);
}
