// SPDX-License-Identifier: Apache-2.0
/*
 * request_fuzz.c - libFuzzer target: clients of NAME/ins-ctl where INSs are domains: they come, ask anything, go on talking, leave; answers
 * come at once, later, or for somebody who has gone.
 * Trust: none. One request a client is answered, at most once, with an object, by an answer that is his; who watches hears the end; those
 * that are kept are REQUEST_CLIENTS at most, and every descriptor is closed.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/registry.h"
#include "test/fuzz/input.h"
#include "xen/request.h"

#define CLIENTS 12 /* some more than are kept */
#define LATER   16

int LLVMFuzzerInitialize(int *argc, char ***argv);

static int listens;
static struct {
	int fd;  /* -1: none */
	uint32_t answers;
	bool sent;
} clients[CLIENTS];
static uint64_t later[LATER];
static size_t later_count;
static uint8_t answers_how;

int registry_listen(const char *name, const char *file, int type)
{
	struct sockaddr_un any = { .sun_family = AF_UNIX };

	must(!strcmp(name, "fuzz") && !strcmp(file, "ins-ctl") && type == SOCK_SEQPACKET);
	listens = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	must(listens >= 0 && bind(listens, (struct sockaddr *)&any, sizeof(any.sun_family)) == 0 && listen(listens, CLIENTS) == 0);
	return listens;
}

/* --- who answers --- */

static json_t *answer_to(uint64_t by)
{
	return json_pack("{s:I}", "by", (json_int_t)by);
}

static json_t *answer(const json_t *q, uint64_t by)
{
	const char *what = json_string_value(json_object_get(q, "do"));

	must(by > 0);
	if (what && !strcmp(what, "add") && later_count < LATER) {
		later[later_count++] = by;
		return NULL;
	}
	return answer_to(by);
}

/* The oldest of those that wait; or somebody who does not, or never was. */
static void answer_late(struct input *in)
{
	uint8_t how = next_byte(in);

	if (how & 1 || !later_count) {
		request_answer(how & 2 ? UINT64_MAX : 0, answer_to(0));
		return;
	}
	request_answer(later[0], answer_to(later[0]));
	memmove(later, later + 1, --later_count * sizeof(later[0]));
}

/* --- clients --- */

static void client_goes(size_t i)
{
	if (clients[i].fd >= 0)
		close(clients[i].fd);
	clients[i].fd = -1;
}

static void client_comes(size_t i)
{
	struct sockaddr_un un;
	socklen_t n = sizeof(un);

	client_goes(i);
	clients[i].fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	clients[i].answers = 0;
	clients[i].sent = false;
	must(clients[i].fd >= 0 && getsockname(listens, (struct sockaddr *)&un, &n) == 0);
	if (connect(clients[i].fd, (struct sockaddr *)&un, n) < 0)
		client_goes(i); /* the backlog is full */
}

static void client_asks(struct input *in, size_t i)
{
	static const char *const what[] = { "list", "watch", "add", "add", "drain", "kill", "", "upgrade" };
	uint8_t how = next_byte(in);
	char text[512];
	int n = snprintf(text, sizeof(text), "{\"do\":\"%s\",\"ins\":%d}", what[how % 8], how >> 3 & 3);

	if (how & 128) {
		n = next_byte(in) * 2;
		next_bytes(in, text, (size_t)n);
	}
	if (clients[i].fd >= 0 && send(clients[i].fd, text, (size_t)n, MSG_NOSIGNAL) >= 0)
		clients[i].sent = true;
}

static void client_hears(size_t i)
{
	char text[512];
	json_t *o;
	ssize_t n;

	while (clients[i].fd >= 0 && (n = recv(clients[i].fd, text, sizeof(text), 0)) >= 0) {
		if (n == 0) {
			client_goes(i);
			break;
		}
		o = json_loadb(text, (size_t)n, 0, NULL);
		must(clients[i].sent && clients[i].answers++ == 0 && json_is_integer(json_object_get(o, "by")));
		json_decref(o);
	}
	if (clients[i].fd >= 0 && errno == ECONNRESET)
		client_goes(i);
}

/* --- the target --- */

static void turn(void)
{
	struct pollfd p[REQUEST_POLLS];
	size_t n = request_polls(p);

	must(n >= 1 && n <= REQUEST_POLLS);
	poll(p, n, 0);
	if (answers_how & 1)
		p[0].revents = 0; /* somebody comes behind our look */
	request_events(p, n, answer);
	for (size_t i = 0; i < CLIENTS; i++)
		client_hears(i);
}

/* Nobody is left, and nobody comes. */
static bool is_quiet(void)
{
	struct pollfd p[REQUEST_POLLS];

	return request_polls(p) == 1 && poll(p, 1, 0) == 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	must(request_listen("fuzz") == 0);
	for (size_t i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	int first = dup(STDERR_FILENO), last;

	close(first);
	later_count = 0;
	while (in.at < in.end) {
		uint8_t op = next_byte(&in);
		size_t i = (op >> 3) % CLIENTS;

		switch (op % 8) {
		case 0: client_comes(i); break;
		case 1: client_goes(i); break;
		case 2: answer_late(&in); break;
		case 3: answers_how = next_byte(&in); break;
		default: client_asks(&in, i); break;
		}
		turn();
	}
	answers_how = 0;
	for (size_t i = 0; i < CLIENTS; i++)
		client_goes(i);
	for (size_t i = 0; i < 3 * CLIENTS && !is_quiet(); i++)
		turn();
	must(is_quiet());
	last = dup(STDERR_FILENO);
	close(last);
	must(first == last);
	return 0;
}
