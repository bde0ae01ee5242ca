// SPDX-License-Identifier: Apache-2.0
/*
 * netflow.c - clients of the MAGICWAND stream: information to whoever wants it, one response to each request, nobody waited for.
 * Trust: who may connect is decided by the socket's mode, or by prefix; what is sent is parsed by mwnf.c. A client costs its own
 * buffers and a bounded number of requests under way; one that does not read, or sends what is no request, is dropped.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/prefix.h"
#include "telem/metric.h"
#include "telem/netflow.h"
#include "telem/stream.h"

#define IN_MAX_BYTES  65536u
#define OUT_MAX_BYTES (1u << 20)
#define WRITE_BYTES   16384u /* a UNIX socket takes that much whole, or nothing */
#define CLIENTS_MAX   64
#define PENDING_MAX   256u
#define ALLOW_MAX     16
#define NOTE_NS       1000000000u

struct client {
	struct stream s;
	struct client *next;
	size_t write_bytes; /* TCP: a segment's */
	uint32_t pending;   /* requests under way */
	bool listed, monitors;
	char who[ADDR_TEXT_BYTES];
};

/* A request whose answer is still to come. */
struct pending {
	struct client *k;
	uint32_t id;
};

static struct watch unix_listener, tcp_listener;
static struct prefix allow[ALLOW_MAX];
static size_t allow_count;
static struct client *clients;
static int client_count, monitor_count;
static struct consumer consumer;

/* What a client can bring about is said once a second. */
static void note(const struct client *k, const char *what)
{
	static uint64_t last_ns, unsaid;
	uint64_t now = loop_steady_ns();

	if (now - last_ns < NOTE_NS) {
		unsaid++;
		return;
	}
	last_ns = now;
	fprintf(stderr, "mw-telem: %s: netflow client %s: %s", telem.app, k->who, what);
	fprintf(stderr, unsaid ? " (%llu more not said)\n" : "\n", (unsigned long long)unsaid);
	unsaid = 0;
}

static void drop(struct client *k, const char *why)
{
	if (!k->s.gone)
		note(k, why);
	stream_end(&k->s);
}

/* --- out --- */

/* Messages that wait. Of the rest of a write that the socket took in part, nearly all are information. */
static uint32_t waiting(const struct client *k)
{
	uint32_t count = (uint32_t)((k->s.begun + MWNF_INFO_BYTES - 1) / MWNF_INFO_BYTES);

	for (size_t at = k->s.begun; at < k->s.out_bytes; at += mwnf_bytes((const uint8_t *)k->s.out + at))
		count++;
	return count;
}

static void put(struct client *k, const void *message, size_t n)
{
	if (k->s.gone)
		return;
	if (stream_room(&k->s) < n)
		stream_flush(&k->s);
	if (!stream_put(&k->s, message, n)) {
		metric_lost(LOST_NETFLOW, 1 + waiting(k));
		drop(k, "does not read, is dropped");
	} else {
		stream_flush_soon(&k->s);
	}
}

static size_t whole(const struct stream *s, const char *out, size_t n)
{
	const struct client *k = (const struct client *)(const void *)s;
	size_t at = 0, next = mwnf_bytes((const uint8_t *)out);

	do {
		at += next;
		next = at < n ? mwnf_bytes((const uint8_t *)out + at) : 0;
	} while (next && at + next <= k->write_bytes);
	return at;
}

/* --- information --- */

static void on_event(struct consumer *c, const struct mw_event *e)
{
	uint8_t message[MWNF_INFO_BYTES];

	(void)c;
	if (!mwnf_info(message, NETFLOW_INS, e))
		return;
	for (struct client *k = clients, *next; k; k = next) {
		next = k->next;
		if (k->monitors)
			put(k, message, sizeof(message));
	}
}

static void monitor(struct client *k, bool on)
{
	if (k->monitors == on)
		return;
	k->monitors = on;
	monitor_count += on ? 1 : -1;
	if (monitor_count == (on ? 1 : 0))
		(on ? events_add : events_remove)(&consumer);
}

/* --- requests --- */

static void respond(struct client *k, uint32_t id, int32_t status, uint64_t value, uint64_t micros)
{
	uint8_t message[MWNF_RESPONSE_BYTES];

	mwnf_response(message, id, status, value, micros);
	put(k, message, sizeof(message));
}

static void done(void *arg, int32_t status, uint64_t value, uint64_t micros)
{
	struct pending *p = arg;
	struct client *k = p->k;

	respond(k, p->id, status, value, micros);
	free(p);
	k->pending--;
	if (k->s.paused && !k->s.gone)
		stream_resume(&k->s);
	stream_release(&k->s);
}

static void ask(struct client *k, const struct mwnf_request *q)
{
	struct pending *p;

	if (q->name == MWNF_MONITOR_ON || q->name == MWNF_MONITOR_OFF) {
		if (q->write)
			monitor(k, q->name == MWNF_MONITOR_ON);
		respond(k, q->id, 0, !q->write && k->monitors == (q->name == MWNF_MONITOR_ON), 0);
		return;
	}
	p = malloc(sizeof(*p));
	if (!p) {
		respond(k, q->id, -ENOMEM, 0, 0);
		return;
	}
	*p = (struct pending){ k, q->id };
	k->pending++;
	stream_hold(&k->s);
	feature_ask(q, k->who, done, p);
}

static long input(struct stream *s, const char *in, size_t n)
{
	struct client *k = (struct client *)(void *)s;
	struct mwnf_request q;
	size_t at = 0;
	int took = 0;

	while (!s->gone && k->pending < PENDING_MAX && (took = mwnf_request(&q, (const uint8_t *)in + at, n - at)) > 0) {
		ask(k, &q);
		at += (size_t)took;
	}
	if (took < 0) {
		stream_flush(s);
		note(k, "sent what is no request, is dropped");
		return -1;
	}
	if (k->pending == PENDING_MAX)
		stream_pause(s);
	return (long)at;
}

/* --- clients --- */

static void ended(struct stream *s)
{
	struct client *k = (struct client *)(void *)s, **at = &clients;

	monitor(k, false);
	if (!k->listed)
		return;
	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	client_count--;
}

static const struct stream_kind kind = { IN_MAX_BYTES, OUT_MAX_BYTES, input, ended, NULL };

static bool allowed(const struct mw_addr *a)
{
	bool found = allow_count == 0;

	for (size_t i = 0; i < allow_count && !found; i++)
		found = prefix_has(&allow[i], a);
	return found;
}

static void name_unix(struct client *k)
{
	struct ucred who = { 0 };
	socklen_t n = sizeof(who);

	getsockopt(k->s.w.fd, SOL_SOCKET, SO_PEERCRED, &who, &n);
	snprintf(k->who, sizeof(k->who), "process %d", (int)who.pid);
	k->write_bytes = WRITE_BYTES;
}

/* False when it may not. A write is a segment, so that no message is ever in two. */
static bool name_tcp(struct client *k)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss), size = sizeof(int);
	struct mw_addr a = { 0 };
	int one = 1, segment = 0, room = OUT_MAX_BYTES / 4;

	getpeername(k->s.w.fd, (struct sockaddr *)&ss, &n);
	addr_from_sockaddr(&a, (struct sockaddr *)&ss, n);
	addr_text(&a, k->who);
	setsockopt(k->s.w.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(k->s.w.fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(k->s.w.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)); /* or it would grow to megabytes */
	getsockopt(k->s.w.fd, IPPROTO_TCP, TCP_MAXSEG, &segment, &size);
	k->write_bytes = segment <= 0 ? 0 : segment < (int)WRITE_BYTES ? (size_t)segment : WRITE_BYTES;
	return allowed(&a);
}

static void on_listener(struct watch *w, uint32_t events)
{
	struct client *k = (struct client *)(void *)stream_accept(w->fd, sizeof(struct client), &kind);
	bool may = true;

	(void)events;
	if (!k)
		return;
	k->s.whole = whole;
	if (w == &tcp_listener)
		may = name_tcp(k);
	else
		name_unix(k);
	if (!may || client_count == CLIENTS_MAX) {
		metric_refused(REFUSED_NETFLOW);
		drop(k, may ? "there are 64 already, is refused" : "is in no prefix of --netflow-allow, is refused");
		return;
	}
	k->listed = true;
	k->next = clients;
	clients = k;
	client_count++;
	monitor(k, true);
}

static void take_allowed(char *list)
{
	char *next = NULL;

	for (char *text = strtok_r(list, ",", &next); text && allow_count < ALLOW_MAX; text = strtok_r(NULL, ",", &next))
		if (prefix_parse(&allow[allow_count], text) == 0)
			allow_count++;
}

int netflow_init(char **arguments)
{
	static const char list[] = "netflow-allow=";
	int r;

	for (char **a = arguments; *a; a++) {
		if (strncmp(*a, list, sizeof(list) - 1))
			continue;
		take_allowed(*a + sizeof(list) - 1);
	}
	consumer.event = on_event;
	unix_listener = (struct watch){ TELEM_NETFLOW_FD, on_listener };
	tcp_listener = (struct watch){ TELEM_NETFLOW_TCP_FD, on_listener };
	r = loop_add(&unix_listener, EPOLLIN);
	return r == 0 && telem_given(TELEM_NETFLOW_TCP_FD) ? loop_add(&tcp_listener, EPOLLIN) : r;
}

void netflow_take(int fd)
{
	if (telem_given(TELEM_NETFLOW_TCP_FD) || tcp_listener.fd != TELEM_NETFLOW_TCP_FD) {
		close(fd); /* it is ours already */
		return;
	}
	tcp_listener.fd = fd;
	if (loop_add(&tcp_listener, EPOLLIN) < 0)
		close(fd);
}
