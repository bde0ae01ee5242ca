// SPDX-License-Identifier: Apache-2.0
/*
 * badargs.c - every call on every state of a socket, with good and with bad arguments: errno and order of checks.
 * Trust: a test's own processes.
 *
 * Usage: badargs MW [STATE]. Runs itself twice as `--script`, natively and under `mw run`, and compares. Each call
 * has a socket of its own, brought to the state with the help of a native peer; a crash is a line like any other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "test/same/badcalls.h"
#include "test/same/peer.h"
#include "test/same/transcript.h"

#define PEER 0

static int stuffed;
static volatile sig_atomic_t sigpipes;
static sigjmp_buf crashed;

static void on_sigpipe(int sig)
{
	(void)sig;
	sigpipes++;
}

static void on_alarm(int sig)
{
	(void)sig; /* interrupts what blocks: EINTR */
}

/* --- one socket in each state --- */

static int fresh(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int bound(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = fresh();

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		exit(1);
	return fd;
}

static int listening(void)
{
	int fd = bound();

	if (listen(fd, 1) < 0)
		exit(1);
	return fd;
}

static int dial(int fd, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static int connecting(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	dial(fd, stuffed);
	fcntl(fd, F_SETFL, O_RDWR);
	return fd;
}

static int refused(void)
{
	int fd = fresh();

	dial(fd, peer_do(PEER, PEER_DEAD, 0));
	return fd;
}

static int connected(void)
{
	int fd = fresh();

	if (dial(fd, peer_do(PEER, PEER_PORT, 0)) < 0)
		exit(1);
	peer_do(PEER, PEER_ACCEPT, 0);
	return fd;
}

static void until(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	poll(&p, 1, 5000);
}

static int with_data(void)
{
	int fd = connected();

	peer_do(PEER, PEER_SEND, 100);
	until(fd, POLLIN);
	return fd;
}

static int shut_wr(void)
{
	int fd = with_data();

	shutdown(fd, SHUT_WR);
	return fd;
}

static int shut_rd(void)
{
	int fd = with_data();

	shutdown(fd, SHUT_RD);
	return fd;
}

static int shut_both(void)
{
	int fd = connected();

	shutdown(fd, SHUT_RDWR);
	return fd;
}

static int fin(void)
{
	int fd = connected();

	peer_do(PEER, PEER_FIN, 0);
	until(fd, POLLRDHUP);
	return fd;
}

static int both_fin(void)
{
	int fd = connected();

	shutdown(fd, SHUT_WR);
	peer_do(PEER, PEER_READ, 1);
	peer_do(PEER, PEER_FIN, 0);
	until(fd, POLLHUP);
	return fd;
}

static int reset(void)
{
	int fd = connected();

	peer_do(PEER, PEER_RESET, 0);
	until(fd, POLLHUP);
	return fd;
}

static int reset_taken(void)
{
	int fd = reset(), error;
	socklen_t n = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
	return fd;
}

/* --- what is no socket of ours --- */

static int closed(void)
{
	int fd = fresh();

	close(fd);
	return fd;
}

static int directory(void)
{
	return open("/", O_RDONLY | O_DIRECTORY);
}

static int file(void)
{
	return open("/proc/self/exe", O_RDONLY);
}

static int negative(void)
{
	return -1;
}

static const struct {
	const char *name;
	int (*make)(void);
} states[] = {
	{ "fresh", fresh }, { "bound", bound }, { "listening", listening }, { "connecting", connecting },
	{ "refused", refused }, { "connected", connected }, { "with-data", with_data }, { "shut-wr", shut_wr },
	{ "shut-rd", shut_rd }, { "shut-both", shut_both }, { "fin", fin }, { "both-fin", both_fin }, { "reset", reset },
	{ "reset-taken", reset_taken }, { "closed", closed }, { "directory", directory }, { "file", file },
	{ "negative", negative },
};

static void on_crash(int sig)
{
	siglongjmp(crashed, sig);
}

static void handle(int sig, void (*handler)(int), int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigaction(sig, &sa, NULL);
}

/* Blocks at most a moment: the alarm comes again and again until the call has returned. */
static void one(const char *state, int (*make)(void), int n)
{
	static const struct itimerval soon = { { 0, 50000 }, { 0, 50000 } }, never;
	volatile int fd = make();
	volatile long r = -1;
	int crash = sigsetjmp(crashed, 1), error;

	sigpipes = 0;
	setitimer(ITIMER_REAL, &soon, NULL);
	errno = 0;
	if (!crash)
		r = badcalls_do(n, fd);
	error = errno;
	setitimer(ITIMER_REAL, &never, NULL);
	printf("%s %s: ", state, badcalls[n]);
	if (crash)
		printf("%s\n", strsignal(crash));
	else
		printf("%ld%s%s%s\n", r, r < 0 ? " " : "", r < 0 ? strerrorname_np(error) : "", sigpipes ? " SIGPIPE" : "");
	if (fd > 2)
		close(fd);
	peer_do(PEER, PEER_CLOSE, 0);
}

static void script(const char *only)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	handle(SIGPIPE, on_sigpipe, SA_RESTART);
	handle(SIGALRM, on_alarm, 0);
	handle(SIGSEGV, on_crash, SA_NODEFER);
	handle(SIGBUS, on_crash, SA_NODEFER);
	badcalls_init();
	stuffed = peer_do(PEER, PEER_STUFF, 0);
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		for (int n = 0; (!only || !strcmp(only, states[i].name)) && n < badcalls_count; n++)
			one(states[i].name, states[i].make, n);
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
