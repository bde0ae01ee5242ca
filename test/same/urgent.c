// SPDX-License-Identifier: Apache-2.0
/*
 * urgent.c - TCP's urgent data, natively and under `mw run`: the mark, the byte, what it does to reading and to poll.
 * Trust: a test's own processes.
 *
 * Usage: urgent MW [PART]. Runs itself twice as `--script` and compares the transcripts. Both ends are this process's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/transcript.h"

#define A_MOMENT_US 60000 /* in which what was sent arrives */

static const char *part;
static int client = -1, server = -1;
static volatile sig_atomic_t signals;

static void must(int good, const char *what)
{
	if (good)
		return;
	printf("FAILED %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say(const char *what, long r)
{
	printf("%s/%s: %ld %s\n", part, what, r < 0 ? -1 : r, r < 0 ? strerrorname_np(errno) : "ok");
}

static void on_signal(int sig)
{
	signals += sig == SIGURG;
}

/* A connection with both ends here. */
static void meet(int on)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	if (on)
		must(setsockopt(l, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) == 0, "SO_OOBINLINE of the listener");
	must(bind(l, (struct sockaddr *)&a, n) == 0 && listen(l, 8) == 0 && getsockname(l, (struct sockaddr *)&a, &n) == 0,
	     "listen");
	client = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(client, (struct sockaddr *)&a, n) == 0, "connect");
	server = accept(l, NULL, NULL);
	must(server >= 0, "accept");
	close(l);
}

static void part_now(const char *name, int on)
{
	if (client >= 0)
		close(client);
	if (server >= 0)
		close(server);
	part = name;
	meet(on);
}

static void give(const char *bytes, int flags)
{
	must(send(client, bytes, strlen(bytes), flags) == (ssize_t)strlen(bytes), "send");
	usleep(A_MOMENT_US);
}

static void take(const char *what, size_t room, int flags)
{
	char b[200] = { 0 };
	ssize_t n = recv(server, b, room, flags | MSG_DONTWAIT);

	printf("%s/%s: %zd %s \"%s\"\n", part, what, n, n < 0 ? strerrorname_np(errno) : "ok", n > 0 ? b : "");
}

static void message(const char *what, size_t room, int flags)
{
	char b[200] = { 0 };
	struct iovec v = { b, room };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t n = recvmsg(server, &m, flags | MSG_DONTWAIT);

	printf("%s/%s: %zd %s \"%s\" flags %x\n", part, what, n, n < 0 ? strerrorname_np(errno) : "ok", b,
	       n < 0 ? 0 : (unsigned int)m.msg_flags);
}

/* Through the rings alone: a read of no bytes there takes a UNIX socket's mark away. */
static void take_nothing(const char *what)
{
	if (!getenv("MW_TEST_LANE"))
		take(what, 0, 0);
}

/* What can be seen without reading. */
static void look(const char *when)
{
	struct pollfd p = { .fd = server, .events = POLLIN | POLLPRI };
	struct timeval none = { 0, 0 };
	fd_set in, except;
	int n = -1, mark = -1;

	poll(&p, 1, 0);
	FD_ZERO(&in);
	FD_ZERO(&except);
	FD_SET(server, &in);
	FD_SET(server, &except);
	select(server + 1, &in, NULL, &except, &none);
	ioctl(server, FIONREAD, &n);
	ioctl(server, SIOCATMARK, &mark);
	printf("%s/%s in: %d %d\n", part, when, !!(p.revents & POLLIN), !!FD_ISSET(server, &in));
	printf("%s/%s pri: %d %d\n", part, when, !!(p.revents & POLLPRI), !!FD_ISSET(server, &except));
	printf("%s/%s FIONREAD: %d\n", part, when, n);
	printf("%s/%s at the mark: %d %d\n", part, when, mark, sockatmark(server));
}

static void middle(void)
{
	part_now("middle", 0);
	look("before");
	take("MSG_OOB of none", 10, MSG_OOB);
	give("ab!", MSG_OOB);
	look("ab! arrived");
	give("cd", 0);
	look("cd behind");
	take("peek", 10, MSG_PEEK);
	take("MSG_OOB peeked", 10, MSG_OOB | MSG_PEEK);
	take("up to the mark", 10, 0);
	look("at it");
	take_nothing("no bytes at it");
	take("MSG_OOB", 10, MSG_OOB);
	look("taken");
	take("MSG_OOB again", 10, MSG_OOB);
	take("peek at it", 10, MSG_PEEK);
	look("peeked");
	take("behind", 10, 0);
	look("past");
	take("nothing left", 10, 0);
	take("MSG_OOB past", 10, MSG_OOB);
}

static void start(void)
{
	part_now("start", 0);
	give("!", MSG_OOB);
	look("alone");
	take_nothing("no bytes");
	take("read", 10, 0);
	look("read");
	take("MSG_OOB when passed", 10, MSG_OOB);
	give("?", MSG_OOB);
	look("another");
	message("MSG_OOB without room", 0, MSG_OOB);
	take("MSG_OOB again", 10, MSG_OOB);
	give("ab", 0);
	look("ab behind");
	message("all", 10, 0);
	give("#", MSG_OOB);
	message("MSG_OOB", 10, MSG_OOB);
	give("$", MSG_OOB);
	message("MSG_OOB|MSG_TRUNC", 10, MSG_OOB | MSG_TRUNC);
	give("c", 0);
	take("one by one", 1, 0);
	take("no more", 1, 0);
}

static void two(void)
{
	part_now("two", 0);
	give("a!", MSG_OOB);
	give("b?", MSG_OOB);
	give("c", 0);
	look("arrived");
	take("MSG_OOB", 10, MSG_OOB);
	take("up to the second", 10, 0);
	look("at the second");
	take("behind", 10, 0);
	give("!", MSG_OOB);
	take("first", 1, MSG_OOB);
	look("first taken");
	give("?", MSG_OOB);
	look("second came");
	take("second", 1, MSG_OOB);
	give("#", MSG_OOB);
	take("third", 1, MSG_OOB);
	look("three taken");
	give("d", 0);
	take("after three", 10, 0);
	look("after three");
}

/* The same without taking the first by itself: what was urgent at the mark is dropped when another comes. */
static void untaken(void)
{
	part_now("untaken", 0);
	give("!", MSG_OOB);
	give("?", MSG_OOB);
	look("two");
	give("e", 0);
	look("e behind");
	take("MSG_OOB", 1, MSG_OOB);
	take("e", 10, 0);
	give("fg!", MSG_OOB);
	take("f", 1, 0);
	give("?h", 0);
	give("#", MSG_OOB);
	take("ordinary now", 10, 0);
	look("at #");
	take("none", 10, 0);
}

static void in_line(void)
{
	int on = 1, off = 0;
	socklen_t n = sizeof(on);

	part_now("inline", 0);
	say("set", setsockopt(server, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
	give("ab!cd", MSG_OOB);
	look("arrived");
	take("MSG_OOB", 10, MSG_OOB);
	take("up to it", 10, 0);
	look("at it");
	take("peek", 10, MSG_PEEK);
	take("it", 1, 0);
	look("past");
	give("!", MSG_OOB);
	look("alone");
	take_nothing("no bytes");
	say("off", setsockopt(server, SOL_SOCKET, SO_OOBINLINE, &off, sizeof(off)));
	look("off");
	take("MSG_OOB when off", 10, MSG_OOB);
	say("on", setsockopt(server, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
	look("on");
	say("get", getsockopt(server, SOL_SOCKET, SO_OOBINLINE, &off, &n));
	printf("%s/value: %d\n", part, off);
	take("inline after all", 10, 0);
	part_now("inherited", 1);
	say("get", getsockopt(server, SOL_SOCKET, SO_OOBINLINE, &off, &n));
	printf("%s/value: %d\n", part, off);
	give("!a", 0);
	give("?", MSG_OOB);
	take("before", 10, 0);
	take("it", 10, 0);
}

/* As in Stevens' book: read until the mark, then what is behind. */
static void to_the_mark(void)
{
	char b[8], all[64];
	int n, reads = 0, length = 0;

	part_now("stevens", 0);
	give("1234567890", 0);
	give("1234!", MSG_OOB);
	give("abcdef", 0);
	while (!sockatmark(server) && reads < 20) {
		n = (int)read(server, b, 4);
		if (n <= 0)
			break;
		memcpy(all + length, b, (size_t)n);
		length += n;
		reads++;
	}
	printf("%s/before: %.*s in %d\n", part, length, all, reads);
	look("at it");
	take("MSG_WAITALL over it", 6, MSG_WAITALL);
	give("xy!", MSG_OOB);
	give("zz", 0);
	n = (int)recv(server, b, 5, MSG_WAITALL);
	printf("%s/MSG_WAITALL stops: %d %.*s\n", part, n, n > 0 ? n : 0, b);
	n = (int)recv(server, b, 2, MSG_WAITALL);
	printf("%s/MSG_WAITALL goes on: %d %.*s\n", part, n, n > 0 ? n : 0, b);
}

static void ends(void)
{
	part_now("fin", 0);
	give("ab!", MSG_OOB);
	close(client);
	client = -1;
	usleep(A_MOMENT_US);
	take("MSG_OOB peek", 1, MSG_OOB | MSG_PEEK);
	take("ab", 10, 0);
	take("MSG_OOB", 1, MSG_OOB);
	take("end", 10, 0);
	take("MSG_OOB at the end", 1, MSG_OOB);
	part_now("only", 0);
	give("!", MSG_OOB);
	close(client);
	client = -1;
	usleep(A_MOMENT_US);
	take("end", 10, 0);
	take("MSG_OOB at the end", 1, MSG_OOB);
}

/* From a process of its own: on the stream lane a signal would come amidst the call that is answered by another process. */
static void give_by_child(const char *bytes, int flags)
{
	int status;

	if (fork() == 0) {
		signal(SIGURG, SIG_IGN);
		_exit(send(client, bytes, strlen(bytes), flags) != (ssize_t)strlen(bytes));
	}
	while (wait(&status) < 0 && errno == EINTR)
		;
	must(status == 0, "the child's send");
	usleep(A_MOMENT_US);
}

static void owner(void)
{
	int self = getpid();

	part_now("owner", 0);
	give_by_child("!", MSG_OOB);
	say("none: signals", signals);
	say("F_SETOWN", fcntl(server, F_SETOWN, self));
	give_by_child("a?", MSG_OOB);
	say("set: signals", signals);
	give_by_child("b#", MSG_OOB);
	say("again: signals", signals);
	give_by_child("c", 0);
	say("ordinary: signals", signals);
	self = 0;
	say("FIOSETOWN", ioctl(server, FIOSETOWN, &self));
	give_by_child("!", MSG_OOB);
	say("nobody: signals", signals);
	self = -getpgrp();
	say("FIOSETOWN of a group", ioctl(server, FIOSETOWN, &self));
	give_by_child("!", MSG_OOB);
	say("group: signals", signals);
}

/* More than fits anywhere, then an urgent byte: it is announced before it can arrive. */
static void far(void)
{
	static char b[1 << 20];
	char c = 0;
	size_t n = 0;
	ssize_t r;

	part_now("far", 0);
	memset(b, '.', sizeof(b));
	must(fcntl(client, F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
	for (r = 1; r > 0; n += r > 0 ? (size_t)r : 0) {
		r = send(client, b, 65536, 0);
		usleep(A_MOMENT_US);
	}
	fcntl(client, F_SETFL, 0);
	if (fork() == 0) {
		close(server);
		send(client, "!xyz", 1, MSG_OOB);
		send(client, "xyz", 3, 0);
		_exit(0);
	}
	close(client);
	client = -1;
	usleep(A_MOMENT_US);
	while (n && (r = read(server, b, n < sizeof(b) ? n : sizeof(b))) > 0)
		n -= (size_t)r;
	printf("%s/left: %zu\n", part, n);
	for (int i = 0; i < 100 && recv(server, &c, 1, MSG_OOB | MSG_PEEK) < 1; i++)
		usleep(A_MOMENT_US);
	usleep(A_MOMENT_US); /* what follows it comes too */
	look("at it");
	r = recv(server, &c, 1, MSG_OOB);
	printf("%s/MSG_OOB: %zd %c\n", part, r, c);
	r = recv(server, b, 3, MSG_WAITALL);
	printf("%s/behind: %zd %.3s\n", part, r, b);
	r = recv(server, b, 3, 0);
	printf("%s/end: %zd\n", part, r);
	wait(NULL);
}

/* Announced, but behind more than there is room for at the receiver. The sender has room. */
static void announced(void)
{
	static char b[2000];
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), small = 4096, large = 1 << 17, unsent = 0, sent = 0, n;
	socklen_t len = sizeof(a);

	part_now("announced", 0);
	close(client);
	close(server);
	setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	must(bind(l, (struct sockaddr *)&a, len) == 0 && listen(l, 8) == 0 && getsockname(l, (struct sockaddr *)&a, &len) == 0,
	     "listen");
	client = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(client, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
	must(connect(client, (struct sockaddr *)&a, len) == 0, "connect");
	server = accept(l, NULL, NULL);
	close(l);
	signals = 0;
	must(fcntl(server, F_SETOWN, getpid()) == 0, "F_SETOWN");
	for (; unsent < 20000; sent += n) {
		n = (int)send(client, b, sizeof(b), 0);
		must(n > 0, "send");
		usleep(A_MOMENT_US / 10);
		must(ioctl(client, SIOCOUTQ, &unsent) == 0, "SIOCOUTQ");
	}
	give_by_child("!", MSG_OOB);
	for (int i = 0; i < 30 && !signals; i++)
		usleep(100000);
	say("signals", signals);
	take("MSG_OOB", 1, MSG_OOB);
	printf("%s/at the mark: %d\n", part, sockatmark(server));
	while (sent && (n = (int)recv(server, b, (size_t)sent < sizeof(b) ? (size_t)sent : sizeof(b), 0)) > 0)
		sent -= n;
	usleep(A_MOMENT_US);
	printf("%s/left: %d at the mark %d\n", part, sent, sockatmark(server));
	take("MSG_OOB when arrived", 1, MSG_OOB);
	say("signals in all", signals);
}

#define FLOOD 300000

/* Every byte in order, now and then one more that is urgent, as fast as it goes. */
static void pour(void)
{
	char b[1000];
	int n;

	for (int sent = 0; sent < FLOOD; sent += n) {
		n = rand() % (int)sizeof(b) + 1;
		n = n < FLOOD - sent ? n : FLOOD - sent;
		for (int i = 0; i < n; i++)
			b[i] = (char)((sent + i) % 100);
		if (send(client, b, (size_t)n, 0) != n || (rand() % 4 == 0 && send(client, "!!", 1 + rand() % 2, MSG_OOB) < 1))
			_exit(1);
	}
	_exit(0);
}

/* What is ordinary is all there and in order; of what was urgent, no more than was sent. */
static void flood(int on)
{
	char b[5000], c;
	int n, got = 0, bad = 0, urgent = 0, marks = 0, status = 0;

	part_now(on ? "flood inline" : "flood", on);
	if (fork() == 0)
		pour();
	close(client);
	client = -1;
	while ((n = (int)recv(server, b, (size_t)(rand() % (int)sizeof(b) + 1), 0)) > 0) {
		for (int i = 0; i < n; i++) {
			if (b[i] == '!' && got % 100 != '!')
				urgent++;
			else
				bad += b[i] != (char)(got++ % 100);
		}
		if (rand() % 3 == 0 && recv(server, &c, 1, MSG_OOB) == 1)
			bad += c != '!';
		marks += sockatmark(server) == 1;
	}
	wait(&status);
	printf("%s/ordinary: %d, %d bad, end %d, sender %d\n", part, got, bad, n, status);
	printf("%s/urgent: %d %d\n", part, !on || urgent > 0, marks > 0);
}

static void floods(void)
{
	flood(0);
	flood(1);
}

static const struct {
	const char *name;
	void (*go)(void);
} parts[] = {
	{ "middle", middle }, { "start", start }, { "two", two },     { "untaken", untaken }, { "inline", in_line },
	{ "stevens", to_the_mark }, { "ends", ends }, { "owner", owner }, { "far", far },
	{ "announced", announced }, { "floods", floods },
};

static void script(const char *only)
{
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	sigaction(SIGURG, &a, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(60);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!only || !strcmp(only, parts[i].name))
			parts[i].go();
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
