// SPDX-License-Identifier: Apache-2.0
/*
 * ipfix_send.c - messages to collectors: UDP, TCP, a file. None is waited for; what cannot go now is dropped and counted.
 * Trust: as in ipfix.h.
 *
 *   DOWN --retry--> TRYING --connected, or a second without refusal--> UP;   any failure --> DOWN, 1 s doubling to 60 s
 *
 * Each connection is a session of RFC 7011: it begins with the templates, and its sequence numbers count the records that were
 * sent in it. Templates go again to UDP every minute. What was dropped is in the statistics that follow the templates.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "telem/ipfix.h"
#include "telem/metric.h"
#include "telem/telem.h"

#define ADDRS_MAX     4
#define QUEUE_BYTES   (1u << 20) /* for TCP; beside the kernel's own */
#define SEND_BYTES    (1 << 17)
#define TEMPLATES_MS  60000
#define SETTLED_MS    1000
#define LOCK_MS       100
#define BACKOFF_FIRST 1000
#define BACKOFF_LAST  60000
#define SOUND_NS      60000000000ull /* so long up: the next failure is a new one */

enum kind { KIND_UDP, KIND_TCP, KIND_FILE };
enum state { DOWN, TRYING, UP };

struct collector {
	struct watch w;            /* fd is -1 when there is none */
	struct timer timer;        /* DOWN: try again; TRYING: it is well; UP: templates */
	enum kind kind;
	enum state state;
	const char *name;
	struct sockaddr_storage addr[ADDRS_MAX];
	uint32_t addrs, next_addr;
	uint32_t sequence;
	uint32_t backoff_ms;
	uint64_t up_ns, failed_ns;
	uint64_t sent;             /* flow records */
	uint64_t dropped, told;    /* those that were not; of them the person knows */
	bool complained;
	bool locked;               /* file: by who keeps it */
	uint8_t *queue;            /* TCP: whole messages; of the first, head_sent bytes are gone */
	size_t queued, head_sent;
};

static struct collector collectors[TELEM_IPFIX_MAX];
static size_t count;
static const char *app;

/* --- saying so --- */

static void complain(struct collector *c, const char *what)
{
	if (!c->complained)
		fprintf(stderr, "mw: %s: IPFIX to %s: %s; its records are dropped and counted until it goes again\n", app, c->name, what);
	c->complained = true;
}

static void content(struct collector *c)
{
	if (c->complained)
		fprintf(stderr, "mw: %s: IPFIX to %s goes again; %llu records were dropped\n", app, c->name,
			(unsigned long long)(c->dropped - c->told));
	c->complained = false;
	c->told = c->dropped;
}

static void drop(struct collector *c, uint64_t records)
{
	c->dropped += records;
	metric_lost(LOST_IPFIX, records);
}

/* --- the fields of a message's header that are each collector's own --- */

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static size_t message_bytes(const uint8_t *m)
{
	return (size_t)m[2] << 8 | m[3];
}

/* Flow records in the queue: each message says how many were before it. */
static uint32_t queued_flows(const struct collector *c)
{
	uint32_t n = 0;

	for (size_t at = 0; at < c->queued;) {
		const uint8_t *m = c->queue + at;

		at += message_bytes(m);
		if (ipfix_encode_is_flows(m))
			n += (at < c->queued ? get32(c->queue + at + 8) : c->sequence) - get32(m + 8);
	}
	return n;
}

/* --- sessions --- */

static void session_open(struct collector *c);

static void down(struct collector *c, int error)
{
	uint32_t queued = queued_flows(c);

	drop(c, queued);
	c->sent -= queued;
	c->queued = c->head_sent = 0;
	if (c->w.fd >= 0 && c->kind != KIND_FILE) {
		loop_remove(&c->w);
		close(c->w.fd);
		c->w.fd = -1;
	}
	if (c->state == UP && loop_steady_ns() - c->up_ns > SOUND_NS)
		c->backoff_ms = 0;
	c->state = DOWN;
	c->next_addr = (c->next_addr + 1) % (c->addrs ? c->addrs : 1);
	c->backoff_ms = !c->backoff_ms ? BACKOFF_FIRST : c->backoff_ms * 2 > BACKOFF_LAST ? BACKOFF_LAST : c->backoff_ms * 2;
	loop_timer(&c->timer, c->backoff_ms);
	complain(c, strerror(error));
}

static void up(struct collector *c)
{
	c->state = UP;
	c->up_ns = loop_steady_ns();
	content(c);
	if (c->kind == KIND_UDP)
		loop_timer(&c->timer, TEMPLATES_MS);
}

static void on_timer(struct timer *t)
{
	struct collector *c = (struct collector *)(void *)((char *)t - offsetof(struct collector, timer));

	if (c->state == DOWN) {
		session_open(c);
	} else if (c->state == TRYING && c->kind == KIND_UDP) {
		up(c);
	} else if (c->state == TRYING) {
		down(c, ETIMEDOUT);
	} else {
		loop_timer(t, TEMPLATES_MS);
		content(c);
		ipfix_encode_announce(c, c->dropped);
	}
}

/* TCP: as much as goes. */
static void push(struct collector *c)
{
	ssize_t n = c->queued ? send(c->w.fd, c->queue + c->head_sent, c->queued - c->head_sent, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	size_t gone = 0;

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			down(c, errno);
		return;
	}
	c->head_sent += (size_t)n;
	while (gone < c->queued && message_bytes(c->queue + gone) <= c->head_sent) {
		c->head_sent -= message_bytes(c->queue + gone);
		gone += message_bytes(c->queue + gone);
	}
	c->queued -= gone;
	memmove(c->queue, c->queue + gone, c->queued);
	if (!c->queued)
		content(c);
	loop_change(&c->w, EPOLLIN | EPOLLRDHUP | (c->queued ? EPOLLOUT : 0));
}

static int socket_error(int fd)
{
	int error = 0;
	socklen_t n = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
	return error;
}

static void on_socket(struct watch *w, uint32_t events)
{
	struct collector *c = (struct collector *)(void *)w;
	char nothing[512];
	int error = events & (EPOLLERR | EPOLLHUP) ? socket_error(w->fd) : 0;

	if (events & EPOLLIN && !error && recv(w->fd, nothing, sizeof(nothing), MSG_DONTWAIT) == 0 && c->kind == KIND_TCP)
		error = EPIPE;
	if (!error && c->kind == KIND_TCP && events & (EPOLLHUP | EPOLLRDHUP))
		error = EPIPE;
	if (error) {
		down(c, error);
		return;
	}
	if (c->kind == KIND_TCP && events & EPOLLOUT) {
		if (c->state == TRYING) {
			loop_timer_stop(&c->timer);
			up(c);
		}
		push(c);
	}
}

/* Nobody answers within this: another try, of another address if there is one. */
#define CONNECT_MS 10000

static void session_open(struct collector *c)
{
	const struct sockaddr *to = (void *)&c->addr[c->next_addr];
	socklen_t n = to->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	int type = c->kind == KIND_TCP ? SOCK_STREAM : SOCK_DGRAM;

	c->w = (struct watch){ socket(to->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on_socket };
	if (c->w.fd < 0) {
		down(c, errno);
		return;
	}
	if (loop_add(&c->w, c->kind == KIND_TCP ? EPOLLIN | EPOLLRDHUP | EPOLLOUT : EPOLLIN) < 0 ||
	    (connect(c->w.fd, to, n) < 0 && errno != EINPROGRESS)) {
		down(c, errno);
		return;
	}
	ipfix_encode_flush(); /* what waits is of before the templates */
	if (c->kind == KIND_TCP)
		setsockopt(c->w.fd, SOL_SOCKET, SO_SNDBUF, &(int){ SEND_BYTES }, sizeof(int)); /* the queue is ours */
	c->sequence = 0;
	c->state = TRYING;
	loop_timer(&c->timer, c->kind == KIND_TCP ? CONNECT_MS : SETTLED_MS);
	ipfix_encode_announce(c, c->dropped);
}

/* --- sending: true when it is gone, or will go --- */

static bool send_udp(struct collector *c, const struct ipfix_message *m)
{
	if (send(c->w.fd, m->data, m->bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == m->bytes)
		return true;
	if (errno == EAGAIN || errno == ENOBUFS)
		complain(c, "it does not take them fast enough");
	else
		down(c, errno);
	return false;
}

static bool send_tcp(struct collector *c, const struct ipfix_message *m)
{
	bool was_empty = c->queued == 0;

	if (c->queued + m->bytes > QUEUE_BYTES) {
		complain(c, "it does not read fast enough");
		return false;
	}
	memcpy(c->queue + c->queued, m->data, m->bytes);
	c->queued += m->bytes;
	if (was_empty && c->state == UP)
		push(c); /* if that fails, down() counted it */
	return true;
}

/* Other INSs' telemetry has it for an append each. Who keeps it longer is waited for once, and no more until we have had it again. */
static int lock(struct collector *c)
{
	const struct timespec step = { .tv_nsec = 1000000 };
	int left = c->locked ? 0 : LOCK_MS;

	while (flock(c->w.fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK && left-- > 0) {
			nanosleep(&step, NULL);
		} else if (errno != EINTR) {
			c->locked = errno == EWOULDBLOCK;
			return -1;
		}
	}
	c->locked = false;
	return 0;
}

/* Appends all of it, or takes back what went: no other INS's telemetry appends meanwhile. What write() said. */
static ssize_t append(struct collector *c, const struct ipfix_message *m)
{
	int fd = c->w.fd, error;
	ssize_t n;
	off_t end;

	if (lock(c) < 0)
		return -1;
	end = lseek(fd, 0, SEEK_END);
	n = write(fd, m->data, m->bytes);
	error = errno;
	if (n > 0 && n < m->bytes && ftruncate(fd, end) < 0)
		n = -1;
	else
		errno = error;
	flock(fd, LOCK_UN);
	return n;
}

/* A file has whole messages or nothing of them. */
static bool send_file(struct collector *c, const struct ipfix_message *m)
{
	ssize_t n = append(c, m);

	if (n == m->bytes) {
		if (loop_steady_ns() - c->failed_ns > SETTLED_MS * 1000000ull) /* a page that is not full may take a short one */
			content(c);
		return true;
	}
	c->failed_ns = loop_steady_ns();
	complain(c, n >= 0 ? strerror(ENOSPC) : errno == EWOULDBLOCK ? "another process has it locked" : strerror(errno));
	return false;
}

static void send_to(struct collector *c, struct ipfix_message *m)
{
	uint32_t sequence = c->sequence, flows = ipfix_encode_is_flows(m->data) ? m->records : 0;
	bool sent;

	if (c->state == DOWN) {
		drop(c, flows);
		return;
	}
	put32(m->data + 4, (uint32_t)(loop_now_ns() / 1000000000));
	put32(m->data + 8, sequence);
	c->sequence += m->records;
	c->sent += flows; /* before: a queue that is dropped takes its own back */
	sent = c->kind == KIND_UDP ? send_udp(c, m) : c->kind == KIND_TCP ? send_tcp(c, m) : send_file(c, m);
	if (sent)
		return;
	c->sequence = sequence;
	c->sent -= flows;
	drop(c, flows);
}

void ipfix_send(void *to, struct ipfix_message *m)
{
	for (size_t i = 0; i < count; i++)
		if (!to || to == &collectors[i])
			send_to(&collectors[i], m);
}

void ipfix_send_lost(uint64_t records)
{
	static bool said;

	for (size_t i = 0; i < count; i++)
		drop(&collectors[i], records);
	if (!said)
		fprintf(stderr, "mw: %s: IPFIX: flows ended faster than they were read; such records are counted as dropped\n", app);
	said = true;
}

void ipfix_send_end(void)
{
	for (size_t i = 0; i < count; i++)
		if (collectors[i].kind == KIND_TCP && collectors[i].state == UP)
			push(&collectors[i]);
}

json_t *ipfix_send_json(void)
{
	static const char *const states[] = { "down", "trying", "up" };
	json_t *a = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(a, json_pack("{s:s,s:s,s:I,s:I}", "collector", collectors[i].name, "state",
						   states[collectors[i].state], "sent", (json_int_t)collectors[i].sent, "dropped",
						   (json_int_t)collectors[i].dropped));
	return a;
}

/* --- the command line --- */

static bool add_address(struct collector *c, const char *text, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (c->addrs == ADDRS_MAX)
		return true;
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		memcpy(&c->addr[c->addrs++], &in, sizeof(in));
	else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
		memcpy(&c->addr[c->addrs++], &in6, sizeof(in6));
	else
		return false;
	return true;
}

int ipfix_send_add(char *spec)
{
	struct collector *c = &collectors[count];
	const char *kind = strsep(&spec, " "), *number = strsep(&spec, " "), *text;

	if (count == TELEM_IPFIX_MAX || !number || !spec)
		return -EINVAL;
	c->timer.fn = on_timer;
	c->w.fd = -1;
	if (!strcmp(kind, "file")) {
		c->kind = KIND_FILE;
		c->name = spec;
		c->w.fd = atoi(number);
		c->state = UP;
		count++;
		return 0;
	}
	c->kind = !strcmp(kind, "tcp") ? KIND_TCP : KIND_UDP;
	c->name = strsep(&spec, " ");
	while ((text = strsep(&spec, " ")))
		if (!add_address(c, text, (uint16_t)atoi(number)))
			return -EINVAL;
	c->queue = c->kind == KIND_TCP ? malloc(QUEUE_BYTES) : NULL;
	if (!c->addrs || (c->kind == KIND_TCP && !c->queue))
		return -EINVAL;
	count++;
	return 0;
}

int ipfix_send_init(const char *name)
{
	app = name;
	for (size_t i = 0; i < count; i++) {
		if (collectors[i].kind == KIND_FILE)
			ipfix_encode_announce(&collectors[i], 0);
		else
			session_open(&collectors[i]);
	}
	return 0;
}
