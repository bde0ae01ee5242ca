// SPDX-License-Identifier: Apache-2.0
/*
 * again.c - connect() again after one that failed, natively and under `mw run`: the same.
 * Trust: a test's own processes.
 *
 * Usage: again MW. A line whose name begins with "fresh/" shows a socket that is as before its first connect().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/transcript.h"
#include "test/same/view.h"

#define PEER 0
#define LIMIT_SECONDS 20
#define SA(a) ((const struct sockaddr *)(a))
#define FAILED (POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP)

static const char *now; /* the script's name */

static void say(const char *what, int r)
{
	printf("%s %s: %s\n", now, what, r < 0 ? strerrorname_np(errno) : "ok");
}

static struct sockaddr_in at(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int try_port(const char *what, int fd, int port)
{
	struct sockaddr_in a = at(port);
	int r = connect(fd, SA(&a), sizeof(a));

	say(what, r);
	return r;
}

static void dead(int fd)
{
	try_port("connect to a dead port", fd, peer_do(PEER, PEER_DEAD, 0));
}

static void live(int fd)
{
	try_port("connect to a live port", fd, peer_do(PEER, PEER_PORT, 0));
}

/* poll's word once it says what is expected, or after 2 s. */
static void look(const char *what, int fd, uint32_t expected)
{
	struct look l = view_do(VIEW_SELF, fd, DO_LOOK, expected).look;

	printf("%s %s: poll=%s select=%s level=%s once=%s\n", now, what, view_mask(l.poll), view_mask(l.select),
	       view_mask(l.level), view_mask(l.once));
}

static void look_fresh(int fd)
{
	struct look l = view_do(VIEW_SELF, fd, DO_LOOK, POLLOUT).look;

	printf("fresh/%s: poll=%s level=%s\n", now, view_mask(l.poll), view_mask(l.level));
}

static void error(int fd)
{
	int e = 0;
	socklen_t n = sizeof(e);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
	printf("%s SO_ERROR: %s\n", now, e ? strerrorname_np(e) : "none");
}

static void names(int fd)
{
	struct sockaddr_in a = { 0 };
	socklen_t n = sizeof(a);
	char c;

	say("getpeername", getpeername(fd, (struct sockaddr *)&a, &n));
	say("read", (int)recv(fd, &c, 1, MSG_DONTWAIT));
	say("write", (int)send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
}

/* The connection is there: both ways, then the end. */
static void works(int fd)
{
	char b[100];

	look("connected", fd, POLLOUT);
	error(fd);
	peer_do(PEER, PEER_ACCEPT, 0);
	say("write", (int)write(fd, "hello", 5));
	printf("%s the peer has %d\n", now, peer_do(PEER, PEER_READ, 5));
	peer_do(PEER, PEER_SEND, 100);
	look("data", fd, POLLIN | POLLOUT);
	printf("%s read %d\n", now, (int)read(fd, b, sizeof(b)));
	look("idle", fd, POLLOUT);
	peer_do(PEER, PEER_FIN, 0);
	look("end", fd, POLLIN | POLLOUT | POLLRDHUP);
	printf("%s read %d\n", now, (int)read(fd, b, sizeof(b)));
	close(fd);
	peer_do(PEER, PEER_CLOSE, 0);
}

static int fresh(int flags)
{
	return socket(AF_INET, SOCK_STREAM | flags, 0);
}

static int refused(void)
{
	int fd = fresh(SOCK_NONBLOCK);

	dead(fd);
	look("refused", fd, FAILED);
	return fd;
}

static void told_by_option(void)
{
	int fd = refused();

	error(fd);
	error(fd);
	look("told", fd, FAILED & ~POLLERR);
	live(fd);
	look_fresh(fd);
	live(fd);
	works(fd);
}

static void told_by_connect(void)
{
	int fd = refused();

	live(fd);
	look_fresh(fd);
	error(fd);
	live(fd);
	works(fd);
}

static void told_by_read(void)
{
	int fd = refused();

	names(fd);
	live(fd);
	names(fd);
	live(fd);
	works(fd);
}

static void many_times(void)
{
	int fd = refused();

	for (int i = 0; i < 4; i++) {
		dead(fd);
		dead(fd);
		look("refused again", fd, FAILED);
		error(fd);
	}
	dead(fd);
	live(fd);
	works(fd);
}

static void blocking(void)
{
	int fd = fresh(0);

	for (int i = 0; i < 3; i++)
		dead(fd);
	look_fresh(fd);
	error(fd);
	names(fd);
	live(fd);
	works(fd);
}

static void then_blocking(void)
{
	int fd = refused();

	fcntl(fd, F_SETFL, 0);
	live(fd);
	live(fd);
	works(fd);
}

static void both_refused(void)
{
	int fd = refused();

	error(fd);
	fcntl(fd, F_SETFL, 0);
	dead(fd);
	dead(fd);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	dead(fd);
	look("refused", fd, FAILED);
	live(fd);
	live(fd);
	works(fd);
}

/* Nobody answers: its time runs out. */
static void timed_out(void)
{
	int fd = fresh(SOCK_NONBLOCK), ms = 700;

	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	try_port("connect", fd, peer_do(PEER, PEER_STUFF, 0));
	live(fd);
	for (int i = 0; i < 5; i++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 1000) > 0)
			break;
	}
	look("timed out", fd, FAILED);
	live(fd);
	live(fd);
	works(fd);
}

static void wrong_addresses(void)
{
	struct sockaddr_in a = at(1);
	struct sockaddr other = { .sa_family = AF_UNIX };
	int fd = refused();

	say("no address", connect(fd, SA(1), sizeof(a)));
	say("short", connect(fd, SA(&a), 1));
	say("long", connect(fd, SA(&a), 1000));
	look("still refused", fd, FAILED);
	say("another family", connect(fd, SA(&other), sizeof(other)));
	say("another family again", connect(fd, SA(&other), sizeof(other)));
	say("short", connect(fd, SA(&a), 8));
	live(fd);
	works(fd);
}

static void dissolved(void)
{
	struct sockaddr_in none = { .sin_family = AF_UNSPEC };
	int fd = refused();

	say("dissolve", connect(fd, SA(&none), sizeof(none)));
	look_fresh(fd);
	say("dissolve again", connect(fd, SA(&none), sizeof(none)));
	look_fresh(fd);
	error(fd);
	live(fd);
	works(fd);
}

static void bound(void)
{
	struct sockaddr_in a = at(0), b;
	socklen_t n = sizeof(a);
	int fd = fresh(SOCK_NONBLOCK);

	say("bind", bind(fd, SA(&a), sizeof(a)));
	getsockname(fd, (struct sockaddr *)&a, &n);
	dead(fd);
	look("refused", fd, FAILED);
	dead(fd);
	getsockname(fd, (struct sockaddr *)&b, &n);
	printf("%s same name: %d\n", now, !memcmp(&a, &b, sizeof(a)));
	say("bind again", bind(fd, SA(&a), sizeof(a)));
	live(fd);
	getsockname(fd, (struct sockaddr *)&b, &n);
	printf("%s same name: %d\n", now, !memcmp(&a, &b, sizeof(a)));
	works(fd);
}

static void unbound(void)
{
	struct sockaddr_in a = at(0), b = at(0);
	socklen_t n = sizeof(a);
	int fd = refused(), port;

	dead(fd);
	getsockname(fd, (struct sockaddr *)&a, &n);
	printf("%s address %s port %d\n", now, inet_ntoa(a.sin_addr), a.sin_port ? 1 : 0);
	say("bind", bind(fd, SA(&b), sizeof(b)));
	say("listen", listen(fd, 3));
	getsockname(fd, (struct sockaddr *)&a, &n);
	port = ntohs(a.sin_port);
	printf("%s the peer comes: %d\n", now, peer_do(PEER, PEER_CONNECT, port) >= 0);
	look("a connection waits", fd, POLLIN);
	close(accept(fd, NULL, NULL));
	close(fd);
	peer_do(PEER, PEER_CLOSE, 0);
}

static void show(const char *what, int fd, int level, int name)
{
	int v[4] = { 0 };
	socklen_t n = sizeof(v);
	int r = getsockopt(fd, level, name, v, &n);

	printf("%s %s: %d: %u %d %d\n", now, what, r, n, v[0], n > 4 ? v[1] : 0);
}

static void options(void)
{
	static const struct linger linger = { 1, 7 };
	static const struct timeval t = { 3, 0 };
	int fd = fresh(SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1, low = 50;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	dead(fd);
	look("refused", fd, FAILED);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &low, sizeof(low));
	live(fd);
	show("TCP_NODELAY", fd, IPPROTO_TCP, TCP_NODELAY);
	show("TCP_KEEPCNT", fd, IPPROTO_TCP, TCP_KEEPCNT);
	show("SO_KEEPALIVE", fd, SOL_SOCKET, SO_KEEPALIVE);
	show("SO_LINGER", fd, SOL_SOCKET, SO_LINGER);
	show("SO_RCVLOWAT", fd, SOL_SOCKET, SO_RCVLOWAT);
	show("SO_RCVTIMEO", fd, SOL_SOCKET, SO_RCVTIMEO);
	printf("%s flags %o %d\n", now, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
	live(fd);
	look("connected", fd, POLLOUT);
	peer_do(PEER, PEER_ACCEPT, 0);
	peer_do(PEER, PEER_SEND, 49);
	usleep(50000);
	look("too few", fd, POLLOUT);
	peer_do(PEER, PEER_SEND, 1);
	look("enough", fd, POLLIN | POLLOUT);
	close(fd);
	peer_do(PEER, PEER_CLOSE, 0);
}

static void duplicate(void)
{
	int fd = refused(), copy = fcntl(fd, F_DUPFD_CLOEXEC, 100);

	dead(copy);
	live(fd);
	look("the other", copy, POLLOUT);
	printf("%s flags %d %d\n", now, fcntl(fd, F_GETFD), fcntl(copy, F_GETFD));
	close(fd);
	works(copy);
}

static void told(const char *what, int ep)
{
	struct epoll_event e[8];
	int n = epoll_wait(ep, e, 8, 300);

	printf("%s epoll, %s: %d\n", now, what, n);
	for (int i = 0; i < n; i++)
		printf("%s   %s %llx\n", now, view_mask(e[i].events & ~(uint32_t)EPOLLHUP), (unsigned long long)e[i].data.u64);
}

/* Watched all the time: in one set for each state, by edges, in two, and by one that asks for nothing. */
static void watched(void)
{
	static const uint32_t masks[] = { EPOLLIN | EPOLLRDHUP, EPOLLOUT | EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT, 0 };
	int fd = fresh(SOCK_NONBLOCK), other = fresh(SOCK_NONBLOCK), ep[4];
	struct epoll_event e = { 0 };

	dead(fd);
	look("refused", fd, FAILED);
	error(fd);
	for (size_t i = 0; i < 4; i++) {
		ep[i] = epoll_create1(EPOLL_CLOEXEC);
		e = (struct epoll_event){ .events = EPOLLIN, .data.u64 = 1 };
		epoll_ctl(ep[i], EPOLL_CTL_ADD, 1, &e); /* another's line before it */
		e = (struct epoll_event){ .events = masks[i], .data.u64 = 0xfeedface00000000ull + i };
		epoll_ctl(ep[i], EPOLL_CTL_ADD, fd, &e);
	}
	live(fd);
	live(fd);
	look("connected", fd, POLLOUT);
	peer_do(PEER, PEER_ACCEPT, 0);
	peer_do(PEER, PEER_SEND, 10);
	look("data", fd, POLLIN | POLLOUT);
	for (size_t i = 0; i < 4; i++)
		told("data", ep[i]);
	e.events = EPOLLOUT;
	say("changed", epoll_ctl(ep[0], EPOLL_CTL_MOD, fd, &e));
	told("room", ep[0]);
	say("taken out", epoll_ctl(ep[0], EPOLL_CTL_DEL, fd, NULL));
	say("not there", epoll_ctl(ep[0], EPOLL_CTL_DEL, fd, NULL));
	close(other);
	for (size_t i = 0; i < 4; i++)
		close(ep[i]);
	close(fd);
	peer_do(PEER, PEER_CLOSE, 0);
}

static const struct {
	const char *name;
	void (*go)(void);
	bool shim; /* the second tier has a new doorbell in the one descriptor that connect() was called on, and in no epoll set */
} scripts[] = {
	{ "told by SO_ERROR", told_by_option, false }, { "told by connect", told_by_connect, false }, { "told by read", told_by_read, false },
	{ "many times", many_times, false }, { "blocking", blocking, false }, { "then blocking", then_blocking, false },
	{ "both refused", both_refused, false }, { "timed out", timed_out, false }, { "wrong addresses", wrong_addresses, false },
	{ "dissolved", dissolved, false }, { "bound", bound, false }, { "unbound", unbound, false }, { "options", options, false },
	{ "duplicate", duplicate, true },
	{ "watched", watched, true },
};

static void script(const char *only)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		now = scripts[i].name;
		if ((!only || !strcmp(only, now)) && !(scripts[i].shim && getenv("MW_TEST_LANE")))
			transcript_alone(i, scripts[i].go, LIMIT_SECONDS);
	}
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
