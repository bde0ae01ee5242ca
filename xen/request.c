// SPDX-License-Identifier: Apache-2.0
/*
 * request.c - see request.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/registry.h"
#include "xen/request.h"

#define REQUEST_BYTES 256

static struct client {
	int fd;
	uint64_t by;
	bool asked;	/* it is answered later, or watches: it says no more */
} clients[REQUEST_CLIENTS];
static size_t count;
static int listener = -1;
static uint64_t numbers;

int request_listen(const char *name)
{
	listener = registry_listen(name, "ins-ctl", SOCK_SEQPACKET);
	return listener < 0 ? listener : 0;
}

size_t request_polls(struct pollfd *p)
{
	p[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
	for (size_t i = 0; i < count; i++)
		p[i + 1] = (struct pollfd){ .fd = clients[i].fd, .events = POLLIN };
	return count + 1;
}

static void drop(size_t i)
{
	close(clients[i].fd);
	clients[i] = clients[--count];
}

static void send_to(int fd, json_t *a)
{
	char *text = json_dumps(a, JSON_COMPACT);

	if (text)
		send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
	free(text);
	json_decref(a);
}

void request_answer(uint64_t by, json_t *a)
{
	for (size_t i = 0; i < count; i++)
		if (clients[i].by == by) {
			send_to(clients[i].fd, a);
			drop(i);
			return;
		}
	json_decref(a);
}

/* True: it stays. */
static bool serve(struct client *c, request_fn *answer)
{
	char text[REQUEST_BYTES];
	ssize_t n = c->asked ? 0 : recv(c->fd, text, sizeof(text), MSG_DONTWAIT);
	json_t *q = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL, *a;
	const char *what = json_string_value(json_object_get(q, "do"));

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	c->asked = true;
	a = answer(q, c->by);
	n = !a || (what && !strcmp(what, "watch"));
	if (a)
		send_to(c->fd, a);
	json_decref(q);
	return n;
}

void request_events(const struct pollfd *p, size_t n, request_fn *answer)
{
	int fd;

	for (size_t i = n - 1; i > 0; i--)
		if (p[i].revents && !serve(&clients[i - 1], answer))
			drop(i - 1);
	if (!p[0].revents || (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) < 0)
		return;
	if (count == REQUEST_CLIENTS)
		drop(0);
	clients[count++] = (struct client){ fd, ++numbers, false };
}
