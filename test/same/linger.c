// SPDX-License-Identifier: Apache-2.0
/*
 * linger.c - close() with SO_LINGER and a time, natively and under `mw run`: how long it takes, and what the peer has.
 * Trust: a test's own processes.
 *
 * Usage: linger MW. Times are told as "at once", "a while" and "its time": a busy machine must not make two of one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/transcript.h"

#define PEER 0
#define TIME 3
#define LIMIT_SECONDS 20

static const char *now;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(int flags, int time)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)peer_do(PEER, PEER_PORT, 0)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger l = { .l_onoff = 1, .l_linger = time };
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0), on;
	socklen_t n = sizeof(on);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	on = connect(fd, (struct sockaddr *)&a, sizeof(a));
	peer_do(PEER, PEER_ACCEPT, 0);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &on, &n);
	return fd;
}

/* As much as goes: more than the peer's window takes. */
static int32_t fill(int fd)
{
	static char b[65536];
	int32_t sent = 0;
	ssize_t n;

	for (int quiet = 0; quiet < 5; quiet++) {
		while ((n = send(fd, b, sizeof(b), MSG_DONTWAIT)) > 0) {
			sent += (int32_t)n;
			quiet = 0;
		}
		usleep(50000);
	}
	return sent;
}

static void timed_close(int fd)
{
	double begun = seconds(), took;
	int r = close(fd), e = errno;

	took = seconds() - begun;
	printf("%s: close %s, %s\n", now, r < 0 ? strerrorname_np(e) : "ok",
	       took < 0.6 ? "at once" : took < TIME - 0.4 ? "a while" : took < TIME + 1.5 ? "its time" : "too long");
}

static void has(bool all)
{
	printf("%s: the peer has %s\n", now, all ? "all" : "not all");
	printf("%s: and then %d\n", now, peer_do(PEER, PEER_READ, 1));
	peer_do(PEER, PEER_CLOSE, 0);
}

static void reader(int32_t n)
{
	has(peer_do(PEER, PEER_READ, n) == n);
}

static void idle(void)
{
	timed_close(dial(0, TIME));
	reader(0);
}

static void small(void)
{
	int fd = dial(0, TIME);

	send(fd, "hello", 5, 0);
	timed_close(fd);
	reader(5);
}

static void deaf_with(int flags, int time)
{
	int fd = dial(flags, time);
	int32_t n = fill(fd);

	timed_close(fd);
	reader(n);
}

static void deaf(void)
{
	deaf_with(0, TIME);
}

static void deaf_nonblocking(void)
{
	deaf_with(SOCK_NONBLOCK, TIME);
}

/* The peer reads after a while. */
static void slow(void)
{
	int fd = dial(0, 10);
	int32_t n = fill(fd);
	int status;

	if (fork() == 0) {
		close(fd);
		usleep(1500000);
		_exit(peer_do(PEER, PEER_READ, n) != n);
	}
	usleep(200000); /* it has closed its own */
	timed_close(fd);
	wait(&status);
	has(status == 0); /* the line behind the close's, whichever was first */
}

/* Another reference is left: it does not wait; the last one does. */
static void not_last(void)
{
	int fd = dial(0, TIME), copy = dup(fd);
	int32_t n = fill(fd);

	timed_close(fd);
	timed_close(copy);
	reader(n);
}

static void shut_before(void)
{
	int fd = dial(0, TIME);
	int32_t n = fill(fd);

	shutdown(fd, SHUT_WR);
	timed_close(fd);
	reader(n);
}

static void unread(void)
{
	int fd = dial(0, TIME);

	peer_do(PEER, PEER_SEND, 10);
	usleep(100000);
	fill(fd);
	timed_close(fd);
	peer_do(PEER, PEER_CLOSE, 0);
}

static void on_alarm(int s)
{
	(void)s;
}

static void interrupted(void)
{
	struct sigaction a = { .sa_handler = on_alarm };
	struct itimerval t = { .it_value = { 1, 0 } };
	int fd = dial(0, 10);
	int32_t n = fill(fd);

	sigaction(SIGALRM, &a, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
	timed_close(fd);
	reader(n);
}

static void ended(void)
{
	int fd = dial(0, TIME);
	int32_t n = fill(fd);
	double begun = seconds();

	if (fork() == 0)
		_exit(0); /* with a reference, but not the last */
	wait(NULL);
	printf("%s: a child's exit waits: %d\n", now, seconds() - begun > 0.6);
	close(fd);
	reader(n);
}

static const struct {
	const char *name;
	void (*go)(void);
} scripts[] = {
	{ "idle", idle }, { "small", small }, { "deaf", deaf }, { "deaf, non-blocking", deaf_nonblocking }, { "slow", slow },
	{ "not the last", not_last }, { "shut before", shut_before }, { "unread", unread }, { "interrupted", interrupted },
	{ "ended", ended },
};

static void script(const char *only)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		now = scripts[i].name;
		if (!only || !strcmp(only, now))
			transcript_alone(i, scripts[i].go, LIMIT_SECONDS);
	}
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
