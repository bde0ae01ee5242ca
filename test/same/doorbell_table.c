// SPDX-License-Identifier: Apache-2.0
/*
 * doorbell_table.c - each TCP state, as poll, select and epoll show it, natively and under `mw run`: the same.
 * Trust: a test's own processes.
 *
 * Usage: doorbell_table MW. Runs itself twice as `--script`, with a native peer on descriptor 0, and compares the
 * two transcripts line by line. A line's first mask is also compared with what doc/design.md, "Doorbell", says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/transcript.h"
#include "test/same/view.h"

#define PEER 0
#define OUT  POLLOUT
#define IN   POLLIN
#define RD   POLLRDHUP
#define ERR  POLLERR
#define HUP  POLLHUP

/* One scenario on one connection, seen in one way. */
struct run {
	const char *scenario;
	enum view view;
	bool accepted;
	int fd, edge, listener;
	uint32_t sent;
};

static void line(const struct run *r, const char *step)
{
	printf("%s/%s/%s %s: ", r->scenario, r->accepted ? "accepted" : "connected", view_names[r->view], step);
}

/* The edges since the last look: how many epoll_wait returned, and the last one's mask. */
static void print_edges(struct run *r)
{
	struct epoll_event e = { 0 };
	int n = 0;

	while (n < 8 && epoll_wait(r->edge, &e, 1, 0) > 0)
		n++;
	printf(" edges=%d,%s\n", n, view_mask(e.events));
}

static void look(struct run *r, const char *step, uint32_t expected)
{
	struct look l = view_do(r->view, r->fd, DO_LOOK, expected).look;

	line(r, step);
	printf("design=%s poll=%s select=%s level=%s", view_mask(expected), view_mask(l.poll), view_mask(l.select),
	       view_mask(l.level));
	printf(" once=%s,%s,%s exclusive=%s", view_mask(l.once), view_mask(l.once_again), view_mask(l.once_rearmed),
	       view_mask(l.exclusive));
	print_edges(r);
}

static int32_t act(struct run *r, const char *step, enum view_op op, uint32_t arg)
{
	struct act a = view_do(r->view, r->fd, op, arg);

	line(r, step);
	printf("%d %s%s\n", a.r, a.error ? strerrorname_np(a.error) : "ok", a.sigpipe ? " SIGPIPE" : "");
	return a.r;
}

static void watch(struct run *r)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET };

	epoll_ctl(r->edge, EPOLL_CTL_ADD, r->fd, &e);
}

static void fail(const char *what)
{
	printf("FAILED %s: %s\n", what, strerror(errno));
	exit(1);
}

static int dial(int port, int flags)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && !(flags & SOCK_NONBLOCK))
		fail("connect");
	return fd;
}

static int listen_here(int *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		fail("listen");
	*port = ntohs(a.sin_port);
	return fd;
}

static void connection(struct run *r)
{
	int port;

	if (r->accepted) {
		r->listener = listen_here(&port);
		if (peer_do(PEER, PEER_CONNECT, port) < 0)
			fail("the peer's connect");
		r->fd = accept(r->listener, NULL, NULL);
		close(r->listener);
	} else {
		r->fd = dial(peer_do(PEER, PEER_PORT, 0), 0);
		peer_do(PEER, PEER_ACCEPT, 0);
	}
	if (r->fd < 0)
		fail("accept");
	watch(r);
}

/* --- the scenarios; each begins with an idle connection unless it says otherwise --- */

static void unread(struct run *r, int bytes)
{
	peer_do(PEER, PEER_SEND, bytes);
	look(r, "data to read", IN | OUT);
}

static void data(struct run *r)
{
	look(r, "idle", OUT);
	act(r, "read of nothing", DO_READ, 10);
	unread(r, 100);
	act(r, "read part", DO_READ, 40);
	look(r, "partly read", IN | OUT);
	peer_do(PEER, PEER_SEND, 50);
	usleep(20000);
	look(r, "more came on top", IN | OUT);
	act(r, "read the rest", DO_READ, 110);
	look(r, "all read", OUT);
	unread(r, 1);
	act(r, "read one", DO_READ, 10);
	look(r, "idle again", OUT);
	act(r, "no error", DO_ERROR, 0);
}

/* Sends without waiting until the socket stays unwritable for a while. */
static void fill(struct run *r)
{
	struct pollfd p = { .fd = r->fd, .events = POLLOUT };
	static char b[65536];
	ssize_t n;

	do {
		while ((n = send(r->fd, b, sizeof(b), MSG_DONTWAIT)) > 0)
			r->sent += (uint32_t)n;
	} while (poll(&p, 1, 250) > 0);
}

static void full(struct run *r)
{
	struct epoll_event e;

	fill(r);
	epoll_wait(r->edge, &e, 1, 0);
	look(r, "tx full", 0);
	peer_do(PEER, PEER_SEND, 10);
	look(r, "tx full and data", IN);
	act(r, "read while full", DO_READ, 100);
	look(r, "tx full, all read", 0);
	line(r, "peer read");
	printf("%s\n", peer_do(PEER, PEER_READ, (int32_t)r->sent) == (int32_t)r->sent ? "all" : "not all");
	look(r, "space again", OUT);
	act(r, "write when space", DO_WRITE, 10);
	look(r, "still space", OUT);
}

static void full_fin(struct run *r)
{
	fill(r);
	peer_do(PEER, PEER_FIN, 0);
	look(r, "tx full and FIN", IN | RD);
	peer_do(PEER, PEER_READ, (int32_t)r->sent);
	look(r, "space again", IN | OUT | RD);
}

static void full_reset(struct run *r)
{
	fill(r);
	peer_do(PEER, PEER_RESET, 0);
	look(r, "tx full and reset", IN | OUT | RD | HUP | ERR);
	act(r, "write after", DO_WRITE, 10);
	act(r, "read after", DO_READ, 10);
	act(r, "second write", DO_WRITE, 10);
}

static void fin(struct run *r)
{
	look(r, "idle", OUT);
	peer_do(PEER, PEER_FIN, 0);
	look(r, "FIN", IN | OUT | RD);
	act(r, "read the end", DO_READ, 10);
	look(r, "end was read", IN | OUT | RD);
	act(r, "read again", DO_READ, 10);
	act(r, "write after FIN", DO_WRITE, 10);
	act(r, "no error", DO_ERROR, 0);
	act(r, "shutdown WR", DO_SHUTDOWN, SHUT_WR);
	look(r, "both closed", IN | OUT | RD | HUP);
	act(r, "write to closed", DO_WRITE, 10);
	act(r, "read of closed", DO_READ, 10);
	act(r, "still no error", DO_ERROR, 0);
}

static void fin_with_data(struct run *r)
{
	peer_do(PEER, PEER_SEND, 30);
	peer_do(PEER, PEER_FIN, 0);
	look(r, "data and FIN", IN | OUT | RD);
	act(r, "read the data", DO_READ, 10);
	look(r, "some left", IN | OUT | RD);
	act(r, "read the rest", DO_READ, 100);
	act(r, "read the end", DO_READ, 10);
	look(r, "at the end", IN | OUT | RD);
}

static void reset(struct run *r)
{
	look(r, "idle", OUT);
	peer_do(PEER, PEER_RESET, 0);
	look(r, "reset", IN | OUT | RD | HUP | ERR);
	act(r, "SO_ERROR", DO_ERROR, 0);
	act(r, "SO_ERROR again", DO_ERROR, 0);
	look(r, "error was taken", IN | OUT | RD | HUP);
	act(r, "read after", DO_READ, 10);
	act(r, "write after", DO_WRITE, 10);
}

static void reset_read(struct run *r)
{
	peer_do(PEER, PEER_RESET, 0);
	look(r, "reset", IN | OUT | RD | HUP | ERR);
	act(r, "read takes it", DO_READ, 10);
	look(r, "error was taken", IN | OUT | RD | HUP);
	act(r, "read again", DO_READ, 10);
	act(r, "no error", DO_ERROR, 0);
}

static void reset_write(struct run *r)
{
	peer_do(PEER, PEER_RESET, 0);
	look(r, "reset", IN | OUT | RD | HUP | ERR);
	act(r, "write takes it", DO_WRITE, 10);
	act(r, "second write", DO_WRITE, 10);
	act(r, "read after", DO_READ, 10);
	look(r, "error was taken", IN | OUT | RD | HUP);
}

static void reset_unread(struct run *r)
{
	unread(r, 100);
	peer_do(PEER, PEER_RESET, 0);
	look(r, "reset, data unread", IN | OUT | RD | HUP | ERR);
	act(r, "read some", DO_READ, 10);
	act(r, "read more", DO_READ, 200);
	act(r, "read again", DO_READ, 10);
	act(r, "SO_ERROR", DO_ERROR, 0);
	look(r, "afterwards", IN | OUT | RD | HUP);
}

/* The peer closes with our bytes unread: its kernel resets. */
static void closed_unread(struct run *r)
{
	act(r, "write", DO_WRITE, 10);
	usleep(50000);
	peer_do(PEER, PEER_CLOSE, 0);
	look(r, "reset", IN | OUT | RD | HUP | ERR);
	act(r, "SO_ERROR", DO_ERROR, 0);
}

static void reset_after_fin(struct run *r)
{
	peer_do(PEER, PEER_FIN, 0);
	look(r, "FIN", IN | OUT | RD);
	peer_do(PEER, PEER_RESET, 0);
	look(r, "reset after FIN", IN | OUT | RD | HUP | ERR);
	act(r, "SO_ERROR", DO_ERROR, 0);
	act(r, "read after", DO_READ, 10);
	act(r, "write after", DO_WRITE, 10);
	look(r, "afterwards", IN | OUT | RD | HUP);
}

/* The peer is gone: our write is answered with a reset. */
static void write_to_gone(struct run *r)
{
	peer_do(PEER, PEER_CLOSE, 0);
	look(r, "FIN", IN | OUT | RD);
	act(r, "first write", DO_WRITE, 10);
	look(r, "answered by reset", IN | OUT | RD | HUP | ERR);
	act(r, "second write", DO_WRITE, 10);
	act(r, "third write", DO_WRITE, 10);
	act(r, "read", DO_READ, 10);
	look(r, "afterwards", IN | OUT | RD | HUP);
}

static void shut_wr(struct run *r)
{
	act(r, "write", DO_WRITE, 10);
	act(r, "shutdown WR", DO_SHUTDOWN, SHUT_WR);
	look(r, "half closed", OUT);
	act(r, "write after", DO_WRITE, 10);
	line(r, "peer reads");
	printf("%d\n", peer_do(PEER, PEER_READ, 100));
	unread(r, 100);
	act(r, "read", DO_READ, 100);
	look(r, "all read", OUT);
	peer_do(PEER, PEER_FIN, 0);
	look(r, "both closed", IN | OUT | RD | HUP);
	act(r, "read the end", DO_READ, 10);
	act(r, "no error", DO_ERROR, 0);
}

static void shut_rd(struct run *r)
{
	act(r, "shutdown RD", DO_SHUTDOWN, SHUT_RD);
	look(r, "deaf", IN | OUT | RD);
	act(r, "read", DO_READ, 10);
	act(r, "write", DO_WRITE, 10);
	line(r, "peer reads");
	printf("%d\n", peer_do(PEER, PEER_READ, 10));
	look(r, "still deaf", IN | OUT | RD);
	act(r, "shutdown WR", DO_SHUTDOWN, SHUT_WR);
	look(r, "both", IN | OUT | RD | HUP);
}

static void shut_both(struct run *r)
{
	act(r, "write", DO_WRITE, 10);
	act(r, "shutdown RDWR", DO_SHUTDOWN, SHUT_RDWR);
	look(r, "closed", IN | OUT | RD | HUP);
	act(r, "read", DO_READ, 10);
	act(r, "write after", DO_WRITE, 10);
	line(r, "peer reads");
	printf("%d\n", peer_do(PEER, PEER_READ, 100));
	act(r, "no error", DO_ERROR, 0);
}

/* One of two references closes: nothing happens. The last one: the peer sees the end. */
static void one_closed(struct run *r)
{
	int copy = dup(r->fd);
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };

	close(r->fd);
	r->fd = copy;
	look(r, "one of two closed", OUT);
	epoll_ctl(r->edge, EPOLL_CTL_ADD, copy, &e);
	unread(r, 10);
	act(r, "read", DO_READ, 10);
	act(r, "write", DO_WRITE, 10);
	close(copy);
	line(r, "peer reads");
	printf("%d\n", peer_do(PEER, PEER_READ, 100));
	r->fd = -1;
}

/* Begins without a connection. */
static void pending(struct run *r)
{
	r->fd = dial(peer_do(PEER, PEER_STUFF, 0), SOCK_NONBLOCK);
	line(r, "connect");
	printf("%s\n", strerrorname_np(errno));
	watch(r);
	look(r, "connecting", 0);
	act(r, "write early", DO_WRITE, 10);
	act(r, "read early", DO_READ, 10);
	act(r, "no error yet", DO_ERROR, 0);
	line(r, "peer accepts");
	printf("%d\n", peer_do(PEER, PEER_UNSTUFF, 0));
	look(r, "connected", OUT);
	act(r, "no error", DO_ERROR, 0);
	unread(r, 10);
	act(r, "write", DO_WRITE, 10);
}

static void refused(struct run *r)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int port = peer_do(PEER, PEER_DEAD, 0);

	errno = 0;
	r->fd = dial(port, SOCK_NONBLOCK);
	line(r, "connect");
	printf("%s\n", strerrorname_np(errno));
	watch(r);
	look(r, "refused", IN | OUT | RD | HUP | ERR);
	act(r, "SO_ERROR", DO_ERROR, 0);
	act(r, "SO_ERROR again", DO_ERROR, 0);
	look(r, "error was taken", IN | OUT | RD | HUP);
	act(r, "read", DO_READ, 10);
	act(r, "write", DO_WRITE, 10);
	close(r->fd);
	r->fd = socket(AF_INET, SOCK_STREAM, 0);
	a.sin_port = htons((uint16_t)port);
	line(r, "blocking connect");
	printf("%s\n", connect(r->fd, (struct sockaddr *)&a, sizeof(a)) ? strerrorname_np(errno) : "connected");
	a.sin_port = htons((uint16_t)peer_do(PEER, PEER_PORT, 0));
	line(r, "once more, to a live one");
	printf("%s\n", connect(r->fd, (struct sockaddr *)&a, sizeof(a)) ? strerrorname_np(errno) : "connected");
}

static void listening(struct run *r)
{
	int port, fd;

	r->fd = listen_here(&port);
	watch(r);
	look(r, "listening", 0);
	peer_do(PEER, PEER_CONNECT, port);
	look(r, "a connection waits", IN);
	fd = accept(r->fd, NULL, NULL);
	look(r, "accepted", 0);
	act(r, "read", DO_READ, 10);
	act(r, "write", DO_WRITE, 10);
	act(r, "no error", DO_ERROR, 0);
	close(fd);
}

static void fresh(struct run *r)
{
	r->fd = socket(AF_INET, SOCK_STREAM, 0);
	watch(r);
	look(r, "fresh", OUT | HUP);
	act(r, "read", DO_READ, 10);
	act(r, "write", DO_WRITE, 10);
	act(r, "shutdown", DO_SHUTDOWN, SHUT_RDWR);
}

static const struct {
	const char *name;
	void (*go)(struct run *r);
	bool connected; /* begins with a connection, made in both ways */
} scenarios[] = {
	{ "data", data, true }, { "full", full, true }, { "full-fin", full_fin, true },
	{ "full-reset", full_reset, true }, { "fin", fin, true }, { "fin-data", fin_with_data, true },
	{ "reset", reset, true }, { "reset-read", reset_read, true }, { "reset-write", reset_write, true },
	{ "reset-unread", reset_unread, true }, { "closed-unread", closed_unread, true },
	{ "reset-after-fin", reset_after_fin, true }, { "write-to-gone", write_to_gone, true },
	{ "shut-wr", shut_wr, true }, { "shut-rd", shut_rd, true }, { "shut-both", shut_both, true },
	{ "one-closed", one_closed, true }, { "pending", pending, false }, { "refused", refused, false },
	{ "listening", listening, false }, { "fresh", fresh, false },
};

static void script(const char *only)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	view_start();
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (only && strcmp(only, scenarios[i].name))
			continue;
		for (int v = 0; v < VIEWS * (scenarios[i].connected ? 2 : 1); v++) {
			struct run r = { .scenario = scenarios[i].name, .view = v % VIEWS, .accepted = v >= VIEWS, .fd = -1 };

			r.edge = epoll_create1(EPOLL_CLOEXEC);
			if (scenarios[i].connected)
				connection(&r);
			scenarios[i].go(&r);
			close(r.edge);
			if (r.fd >= 0)
				close(r.fd);
			peer_do(PEER, PEER_CLOSE, 0);
		}
	}
	view_stop();
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
