// SPDX-License-Identifier: Apache-2.0
/*
 * prompt.c - what Linux does at once on loopback, a program may count on: natively and under `mw run`, the same.
 * Trust: a test's own processes.
 *
 * Usage: prompt MW. Runs itself twice as `--script` and compares the transcripts. Each step is done many times, since
 * what is only late is late now and then; a line says how often it was as Linux has it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/transcript.h"

#define TIMES 300

struct pair {
	int listener, client, server;
};

static void need(int good, const char *what)
{
	if (good)
		return;
	printf("FAILED %s: %s\n", what, strerror(errno));
	exit(1);
}

static int soon(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout_ms) == 1 && p.revents & events;
}

/* A connection without blocking, to a listener of our own, as far as poll says that it is made. */
static void dial(struct pair *p)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);

	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	p->server = -1;
	need(bind(p->listener, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(p->listener, 8) == 0 &&
	     getsockname(p->listener, (struct sockaddr *)&a, &n) == 0, "listen");
	p->client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	need(connect(p->client, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == EINPROGRESS, "connect");
}

static void hang_up(struct pair *p)
{
	if (p->client >= 0)
		close(p->client);
	close(p->listener);
	if (p->server >= 0)
		close(p->server);
}

/* The first send of a connection takes what there is room for, however soon it comes. */
static int first_send(void)
{
	static char b[30000];
	struct pair p;
	int good;

	dial(&p);
	need(soon(p.client, POLLOUT, 5000), "connected");
	good = send(p.client, b, sizeof(b), 0) == sizeof(b);
	hang_up(&p);
	return good;
}

/* The same behind a connect that blocked. */
static int first_send_blocking(void)
{
	static char b[30000];
	struct sockaddr_in a;
	socklen_t n = sizeof(a);
	struct pair p;
	int good;

	dial(&p);
	close(p.client);
	p.client = socket(AF_INET, SOCK_STREAM, 0);
	need(getsockname(p.listener, (struct sockaddr *)&a, &n) == 0 &&
	     connect(p.client, (struct sockaddr *)&a, sizeof(a)) == 0, "connect");
	good = send(p.client, b, sizeof(b), MSG_DONTWAIT) == sizeof(b);
	hang_up(&p);
	return good;
}

static int connects(void)
{
	struct pair p;
	int good;

	dial(&p);
	good = soon(p.client, POLLOUT, 0);
	p.server = accept(p.listener, NULL, NULL);
	good &= p.server >= 0;
	hang_up(&p);
	return good;
}

/* A connection with both ends here. */
static void meet(struct pair *p)
{
	dial(p);
	need(soon(p->client, POLLOUT, 5000) && soon(p->listener, POLLIN, 5000), "connected");
	p->server = accept(p->listener, NULL, NULL);
	need(p->server >= 0, "accept");
}

static int arrives(void)
{
	char b[100];
	struct pair p;
	int good;

	meet(&p);
	good = send(p.client, "hello", 5, 0) == 5 && soon(p.server, POLLIN, 0);
	good &= send(p.server, "and back", 8, 0) == 8 && recv(p.client, b, sizeof(b), MSG_DONTWAIT) == 8;
	hang_up(&p);
	return good;
}

static int ends(void)
{
	char b[100];
	struct pair p;
	int good;

	meet(&p);
	good = shutdown(p.client, SHUT_WR) == 0 && soon(p.server, POLLRDHUP, 0);
	good &= close(p.server) == 0 && recv(p.client, b, sizeof(b), MSG_DONTWAIT) == 0;
	p.server = -1;
	hang_up(&p);
	return good;
}

static int refused(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int none = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), good;

	need(bind(none, (struct sockaddr *)&a, n) == 0 && getsockname(none, (struct sockaddr *)&a, &n) == 0, "bind");
	good = connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && (errno == ECONNREFUSED || soon(fd, POLLERR, 0));
	close(none);
	close(fd);
	return good;
}

static int freed(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0), next = socket(AF_INET, SOCK_STREAM, 0), good;

	need(bind(fd, (struct sockaddr *)&a, n) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0, "bind");
	close(fd);
	good = bind(next, (struct sockaddr *)&a, sizeof(a)) == 0;
	close(next);
	return good;
}

/* An urgent byte is not among the others, and those behind it are not held up. */
static int urgent(void)
{
	char b[100] = { 0 };
	struct pair p;
	int good;

	meet(&p);
	good = send(p.client, "ab!", 3, MSG_OOB) == 3 && recv(p.server, b, sizeof(b), MSG_DONTWAIT) == 2;
	good &= send(p.client, "cd", 2, 0) == 2 && recv(p.server, b + 2, sizeof(b) - 2, MSG_DONTWAIT) == 2;
	hang_up(&p);
	return good && !strcmp(b, "abcd");
}

/* Urgent data that is to be among the others arrives there. */
static int urgent_inline(void)
{
	char b[100] = { 0 };
	struct pair p;
	int on = 1, n, all = 0;

	meet(&p);
	need(setsockopt(p.server, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) == 0, "SO_OOBINLINE");
	need(send(p.client, "ab!", 3, MSG_OOB) == 3, "send");
	while ((n = (int)recv(p.server, b + all, sizeof(b) - (size_t)all, MSG_DONTWAIT)) > 0)
		all += n;
	hang_up(&p);
	return !strcmp(b, "ab!");
}

static void *take(void *arg)
{
	struct pair *p = arg;

	p->server = accept(p->listener, NULL, NULL);
	return NULL;
}

/* The same when one thread has accepted while another was connecting. */
static int reset_threads(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger now = { .l_onoff = 1 };
	socklen_t n = sizeof(a);
	struct pair p = { .listener = socket(AF_INET, SOCK_STREAM, 0), .client = socket(AF_INET, SOCK_STREAM, 0), .server = -1 };
	pthread_t t;
	int good;

	need(bind(p.listener, (struct sockaddr *)&a, n) == 0 && listen(p.listener, 8) == 0 &&
	     getsockname(p.listener, (struct sockaddr *)&a, &n) == 0, "listen");
	need(pthread_create(&t, NULL, take, &p) == 0, "thread");
	need(connect(p.client, (struct sockaddr *)&a, sizeof(a)) == 0, "connect");
	need(setsockopt(p.client, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0, "SO_LINGER");
	pthread_join(t, NULL);
	need(p.server >= 0 && send(p.client, "GET", 3, 0) == 3, "send");
	close(p.client);
	p.client = -1;
	n = sizeof(a);
	good = getpeername(p.server, (struct sockaddr *)&a, &n) < 0 && errno == ENOTCONN;
	hang_up(&p);
	return good;
}

/* What was sent before a close that resets is there in front of the reset. The client is another process. */
static int before_reset(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger now = { .l_onoff = 1 };
	socklen_t n = sizeof(a);
	char b[100] = { 0 };
	int l = socket(AF_INET, SOCK_STREAM, 0), fd, status;
	pid_t pid;

	need(bind(l, (struct sockaddr *)&a, n) == 0 && listen(l, 8) == 0 && getsockname(l, (struct sockaddr *)&a, &n) == 0,
	     "listen");
	pid = fork();
	if (pid == 0) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		(void)connect(fd, (struct sockaddr *)&a, sizeof(a));
		send(fd, "connected", 1, 0);
		_exit(soon(fd, POLLHUP, 5000) && recv(fd, b, sizeof(b), 0) == 50 ? 0 : 1);
	}
	fd = accept(l, NULL, NULL);
	need(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0, "SO_LINGER");
	need(recv(fd, b, 1, 0) == 1 && send(fd, b, 50, 0) == 50, "send");
	close(fd);
	close(l);
	need(waitpid(pid, &status, 0) == pid, "wait");
	return status == 0;
}

static const struct {
	const char *name;
	int (*once)(void);
} steps[] = {
	{ "the first send is whole", first_send },
	{ "the first send is whole, behind a connect that blocked", first_send_blocking },
	{ "connected when connect returns", connects },
	{ "refused when connect returns", refused },
	{ "arrived when send returns", arrives },
	{ "ended when shutdown and close return", ends },
	{ "a port is free when close returns", freed },
	{ "urgent data is sent", urgent },
	{ "urgent data inline", urgent_inline },
	{ "sent before a reset", before_reset },
	{ "reset when close returns, accepted by another thread", reset_threads },
};

static void script(void)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int good = 0;

		for (int n = 0; n < TIMES; n++)
			good += steps[i].once();
		if (good >= TIMES - TIMES / 50) /* a busy machine makes even Linux late now and then */
			printf("%s: at once\n", steps[i].name);
		else
			printf("%s: %d of %d\n", steps[i].name, good, TIMES);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--script")) {
		script();
		return 0;
	}
	if (argc < 2) {
		fprintf(stderr, "usage: prompt MW\n");
		return 2;
	}
	return transcript_compare(argv[1], NULL);
}
