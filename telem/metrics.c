// SPDX-License-Identifier: Apache-2.0
/*
 * metrics.c - GET /metrics, for Prometheus and what else reads its formats, by libmicrohttpd in our own loop.
 * Trust: clients are anybody who reaches the port. They are read-only, few at a time, and none stays long.
 *
 * One request a connection. A connection ends when it is answered or ten seconds old; when all places are taken, those that are
 * older than a second make room, and the next wait in the kernel's queue meanwhile. (libmicrohttpd 0.9.75 does not see that a
 * client has ended if that came together with half a request: such a one stays as long.)
 */
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "telem/metric.h"
#include "telem/peers.h"
#include "telem/telem.h"

#define CLIENTS_MAX  32u
#define CLIENT_MS    10000u
#define CROWDED_MS   1000u
#define LOOK_MS      250u
#define SAMPLES_MS   500u /* to wait for the kernel's word at most */
#define REQUEST_BYTES 16384u /* libmicrohttpd's memory for a connection */

static struct client {
	int fd;            /* -1: free */
	uint64_t since_ms;
	struct MHD_Connection *waits; /* for samples; NULL: it does not */
} clients[CLIENTS_MAX];
static uint32_t client_count;

static struct MHD_Daemon *server;
static struct watch watch;
static struct timer again, deadline, samples;
static bool one_ended;
static bool sampling, gathering; /* the kernel, other INSs have not answered yet */

static const char help_text[] = "MwComms: metrics of a protected application.\n\n"
				"GET /metrics   Prometheus text, or OpenMetrics if accepted\n\n"
				"man mw-metrics lists them.\n";

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* --- answers --- */

static enum MHD_Result reply(struct MHD_Connection *c, unsigned int status, const char *type, struct MHD_Response *r)
{
	enum MHD_Result done;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	done = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return done;
}

static enum MHD_Result reply_text(struct MHD_Connection *c, unsigned int status, const char *text)
{
	return reply(c, status, "text/plain; charset=utf-8",
		     MHD_create_response_from_buffer(strlen(text), (void *)(mw_uintptr)text, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result reply_metrics(struct MHD_Connection *c)
{
	struct metric_text t = { .open = metric_text_wants_open(MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT)) };
	char *text = NULL;
	size_t bytes;

	t.out = open_memstream(&text, &bytes);
	if (!t.out)
		return MHD_NO;
	metric_write(&t);
	if (fclose(t.out)) {
		free(text);
		return MHD_NO;
	}
	return reply(c, MHD_HTTP_OK, t.open ? METRIC_OPEN_TYPE : METRIC_TEXT_TYPE,
		     MHD_create_response_from_buffer(bytes, text, MHD_RESPMEM_MUST_FREE));
}

/* Soon, but not here: the library is in the middle of something. */
static void answer_soon(void)
{
	if (!sampling && !gathering)
		loop_timer(&samples, 0);
}

static void on_fresh(void *arg, bool fresh)
{
	(void)arg;
	(void)fresh;
	sampling = false;
	answer_soon();
}

static void on_peers(void)
{
	gathering = false;
	answer_soon();
}

/* Until the kernel was asked about all connections, and other INSs for theirs; all who wait meanwhile are answered together. */
static enum MHD_Result wait_for_samples(struct MHD_Connection *c)
{
	struct client *k = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

	k->waits = c;
	MHD_suspend_connection(c);
	if (!samples.due_ns)
		loop_timer(&samples, SAMPLES_MS);
	if (!gathering) {
		gathering = true;
		peers_ask(on_peers);
	}
	if (!sampling) {
		sampling = true;
		sample_fresh(on_fresh, NULL);
	}
	return MHD_YES;
}

/* How often the library has called for this request, in *state: the first time only the header is there. */
static enum MHD_Result advance_metrics(struct MHD_Connection *c, void **state)
{
	static char calls[2];

	if (!*state) {
		*state = &calls[0];
		return MHD_YES;
	}
	if (*state == &calls[0]) {
		*state = &calls[1];
		return wait_for_samples(c);
	}
	return reply_metrics(c);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *path, const char *method, const char *version,
				  const char *body, size_t *body_bytes, void **state)
{
	(void)arg, (void)version, (void)body, (void)body_bytes;
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return reply_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD only.\n");
	if (!strcmp(path, "/metrics"))
		return advance_metrics(c, state);
	if (!strcmp(path, "/"))
		return reply_text(c, MHD_HTTP_OK, help_text);
	return reply_text(c, MHD_HTTP_NOT_FOUND, "Not here: see /metrics.\n");
}

/* --- clients --- */

/* What is shut down here, the library sees and closes. */
static void on_deadline(struct timer *t)
{
	uint64_t now = now_ms(), limit = client_count == CLIENTS_MAX ? CROWDED_MS : CLIENT_MS;

	for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
		if (clients[i].fd < 0 || now - clients[i].since_ms < limit)
			continue;
		metric_refused(REFUSED_METRICS);
		shutdown(clients[i].fd, SHUT_RDWR);
		clients[i].since_ms = now; /* once is enough */
	}
	if (client_count)
		loop_timer(t, LOOK_MS);
}

static void begun(struct client *k, struct MHD_Connection *c, void **at)
{
	k->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	k->since_ms = now_ms();
	k->waits = NULL;
	*at = k;
	if (client_count++ == 0)
		loop_timer(&deadline, LOOK_MS);
}

static void on_client(void *arg, struct MHD_Connection *c, void **at, enum MHD_ConnectionNotificationCode code)
{
	(void)arg;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
			if (clients[i].fd < 0) {
				begun(&clients[i], c, at);
				return;
			}
		}
	} else if (*at) {
		((struct client *)*at)->fd = -1;
		client_count--;
		one_ended = true;
	}
}

/* --- the loop --- */

/* Once more when the library has more to do, or has a place for a connection that it did not watch for. */
static void serve(void)
{
	MHD_UNSIGNED_LONG_LONG ms;

	one_ended = false;
	MHD_run(server);
	if (one_ended)
		loop_timer(&again, 0);
	else if (MHD_get_timeout(server, &ms) == MHD_YES)
		loop_timer(&again, ms < CLIENT_MS ? (uint32_t)ms : CLIENT_MS);
}

static void on_ready(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	serve();
}

static void on_samples(struct timer *t)
{
	(void)t;
	gathering = false;
	peers_settle();
	for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
		if (clients[i].waits)
			MHD_resume_connection(clients[i].waits);
		clients[i].waits = NULL;
	}
	serve();
}

static void on_again(struct timer *t)
{
	(void)t;
	serve();
}

int metrics_init(void)
{
	if (!telem_given(TELEM_METRICS_FD))
		return 0; /* not asked for */
	for (uint32_t i = 0; i < CLIENTS_MAX; i++)
		clients[i].fd = -1;
	again.fn = on_again;
	deadline.fn = on_deadline;
	samples.fn = on_samples;
	server = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, NULL, MHD_OPTION_LISTEN_SOCKET, TELEM_METRICS_FD,
				  MHD_OPTION_CONNECTION_LIMIT, CLIENTS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES,
				  MHD_OPTION_NOTIFY_CONNECTION, on_client, NULL, MHD_OPTION_END);
	if (!server)
		return -EIO;
	watch = (struct watch){ MHD_get_daemon_info(server, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, on_ready };
	return loop_add(&watch, EPOLLIN);
}
