// SPDX-License-Identifier: Apache-2.0
/*
 * process_signal.c - signals in blocked calls, and handlers that use the very socket that they interrupted.
 * Trust: a test's own processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/process.h"

#define ROUNDS 20000
#define BLOCK  3000

static int sock, ticks, early;
static volatile sig_atomic_t at_it; /* in the call that a signal is to interrupt, or at its very door */
static sigjmp_buf home;

static void count(int n)
{
	(void)n;
	early += !at_it;
	ticks++;
}

static void handle(void (*with)(int), int flags, int first_ms, int period_us)
{
	struct sigaction a = { .sa_handler = with, .sa_flags = flags };
	struct itimerval t = { .it_value = { first_ms / 1000, first_ms % 1000 * 1000 },
			       .it_interval = { 0, period_us } };

	ticks = early = 0;
	sigaction(SIGALRM, &a, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void quiet(void)
{
	struct itimerval none = { 0 };

	setitimer(ITIMER_REAL, &none, NULL);
}

/* The peer speaks up after a while, from a child: the script itself is blocked. */
static pid_t later(enum peer_op op, int arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		close(sock);
		usleep(500000);
		_exit(peer_do(PEER, op, arg) < 0);
	}
	return pid;
}

static void set_timeout(int fd, int option, int seconds)
{
	struct timeval t = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t));
}

static void one_recv(int sa_flags, int seconds, const char *what)
{
	pid_t pid;
	char b[8];
	ssize_t n;

	sock = dial();
	set_timeout(sock, SO_RCVTIMEO, seconds);
	pid = later(PEER_SEND, 8);
	handle(count, sa_flags, 150, 0);
	n = recv(sock, b, sizeof(b), 0);
	say("recv, %s: %zd %s, %d signals", what, n, word(n), ticks);
	waitpid(pid, NULL, 0);
	close(sock);
}

static void in_recv(void)
{
	one_recv(0, 0, "plain");
	one_recv(SA_RESTART, 0, "restarting");
	one_recv(0, 5, "with a time-out");
	one_recv(SA_RESTART, 5, "restarting, with a time-out");
}

static void wait_all(void)
{
	pid_t pid;
	char b[16];
	ssize_t n;

	sock = dial();
	peer_do(PEER, PEER_SEND, 4);
	pid = later(PEER_SEND, 12);
	handle(count, 0, 150, 0);
	n = recv(sock, b, sizeof(b), MSG_WAITALL);
	say("recv of all: %zd, %d signals", n, ticks);
	waitpid(pid, NULL, 0);
	handle(count, SA_RESTART, 50, 0);
	n = recv(sock, b, (size_t)(16 - n), MSG_WAITALL);
	say("the rest: %zd", n);
}

static void one_send(int sa_flags, int seconds, const char *what)
{
	char b[5000] = { 0 };
	pid_t pid;
	ssize_t n;

	sock = dial();
	fill(sock);
	set_timeout(sock, SO_SNDTIMEO, seconds);
	pid = later(PEER_READ, 10 << 20);
	handle(count, sa_flags, 150, 0);
	n = send(sock, b, sizeof(b), 0);
	say("send, %s: %zd %s, %d signals", what, n, word(n), ticks);
	quiet();
	close(sock);
	waitpid(pid, NULL, 0);
}

static void in_send(void)
{
	one_send(0, 0, "plain");
	one_send(SA_RESTART, 0, "restarting");
	one_send(SA_RESTART, 20, "restarting, with a time-out");
}

/* --- a signal amidst a call that moves bytes and then must wait --- */

#define LARGE ((size_t)1 << 30)
#define TIMES 20

enum moved { BY_SEND, BY_SENDFILE, BY_WAITALL };

/* Moves the other way what comes or goes, for a while. The connection stays open behind it. */
static pid_t partner(int fd, bool sends)
{
	static char b[65536];
	pid_t pid = fork();

	if (pid == 0) {
		close(sock);
		for (long end = now_ms() + 40; now_ms() < end;)
			if ((sends ? send(fd, b, sizeof(b), MSG_DONTWAIT) : recv(fd, b, sizeof(b), MSG_DONTWAIT)) < 0)
				usleep(100);
		pause();
	}
	close(fd);
	return pid;
}

static ssize_t move(enum moved how, char *b, int file)
{
	if (how == BY_WAITALL)
		return recv(sock, b, LARGE, MSG_WAITALL);
	return how == BY_SEND ? send(sock, b, LARGE, 0) : sendfile(sock, file, NULL, LARGE);
}

/* The first signal comes while bytes move. Only a call that did not see it is ended by the second. -1: it came before the call. */
static int ended_by_first(enum moved how, int sa_flags)
{
	char *b = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int file = memfd_create("large", 0), ends[2];
	ssize_t n;
	pid_t pid;

	if (b == MAP_FAILED || ftruncate(file, (off_t)LARGE) < 0)
		abort();
	pair_of(ends);
	sock = ends[0];
	pid = partner(ends[1], how == BY_WAITALL);
	if (how == BY_WAITALL && recv(sock, b, 1, MSG_PEEK) != 1)
		abort();
	at_it = 0;
	handle(count, sa_flags, 20, 1000000 - 1);
	at_it = 1;
	n = move(how, b, file);
	quiet();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(sock);
	close(file);
	munmap(b, LARGE);
	return early ? -1 : n > 0 && ticks == 1;
}

static void amidst(void)
{
	static const char *const names[] = { "send", "sendfile", "recv of all" };

	for (int how = BY_SEND; how <= BY_WAITALL; how++) {
		int first = 0, r;

		for (int i = 0; i < TIMES; i++) {
			while ((r = ended_by_first((enum moved)how, i % 2 ? SA_RESTART : 0)) < 0)
				;
			first += r;
		}
		say("%s, ended by the first signal: %d", names[how], first);
	}
}

/* Another process ends the writing while this one's send, which has sent some, waits for room. */
static void shut_meanwhile(void)
{
	static char b[20 << 20];
	struct pollfd p;
	int ends[2];
	pid_t pid;
	ssize_t n;

	signal(SIGPIPE, SIG_IGN);
	pair_of(ends);
	pid = fork();
	if (pid == 0) {
		usleep(300000);
		_exit(shutdown(ends[0], SHUT_WR) < 0);
	}
	n = send(ends[0], b, sizeof(b), 0);
	say("send: %d", n > 0 && n < (ssize_t)sizeof(b));
	say("shutdown: %s", end_of(pid));
	say("send again: %s", word(send(ends[0], b, 1, 0)));
	p = (struct pollfd){ .fd = ends[0], .events = POLLOUT };
	say("poll: %d", poll(&p, 1, 5000) == 1 && p.revents & POLLOUT);
	close(ends[0]);
	close(ends[1]);
}

/* Time-outs of a call that has moved some, and of one that has not. */
static void timed(void)
{
	static char b[20 << 20];
	struct timeval t = { .tv_usec = 300000 };
	int ends[2];
	ssize_t n;

	pair_of(ends);
	setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	n = send(ends[0], b, sizeof(b), 0);
	say("send: %d", n > 0 && n < (ssize_t)sizeof(b));
	say("peer: %zd", send(ends[1], b, 100, 0));
	say("recv: %zd", recv(ends[0], b, sizeof(b), MSG_WAITALL));
	say("recv again: %s", word(recv(ends[0], b, sizeof(b), MSG_WAITALL)));
	close(ends[0]);
	close(ends[1]);
}

static void one_accept(int sa_flags, int seconds, const char *what)
{
	int port, fd;
	pid_t pid;

	sock = listening(&port);
	set_timeout(sock, SO_RCVTIMEO, seconds);
	pid = later(PEER_CONNECT, port);
	handle(count, sa_flags, 150, 0);
	fd = accept(sock, NULL, NULL);
	say("accept, %s: %s, %d signals", what, word(fd), ticks);
	waitpid(pid, NULL, 0);
	close(sock);
	if (fd >= 0)
		close(fd);
}

static void in_accept(void)
{
	one_accept(0, 0, "plain");
	one_accept(SA_RESTART, 0, "restarting");
	one_accept(SA_RESTART, 5, "restarting, with a time-out");
}

static void one_connect(int sa_flags, const char *what)
{
	int port = peer_do(PEER, PEER_STUFF, 0), fd;
	pid_t pid;

	sock = -1;
	pid = later(PEER_UNSTUFF, 0);
	handle(count, sa_flags, 150, 0);
	fd = dial_port(port, 0);
	say("connect, %s: %s, %d signals", what, word(fd), ticks);
	waitpid(pid, NULL, 0);
	if (fd >= 0)
		talk(fd, "connected");
}

static void in_connect(void)
{
	one_connect(0, "plain");
	one_connect(SA_RESTART, "restarting");
}

static int made_fd;

static void make_one(int n)
{
	(void)n;
	made_fd = dial_port(peer_do(PEER, PEER_PORT, 0), 0);
	ticks++;
}

static void handler_makes(void)
{
	pid_t pid;
	ssize_t n;
	char b[8];

	sock = dial();
	made_fd = -1;
	handle(make_one, SA_RESTART, 100, 0);
	pid = fork();
	if (pid == 0) {
		usleep(600000);
		_exit(peer_do(PEER, PEER_SEND, 8) != 8);
	}
	n = recv(sock, b, sizeof(b), 0);
	say("recv: %zd, the handler's socket: %s", n, word(made_fd));
	waitpid(pid, NULL, 0);
	peer_do(PEER, PEER_ACCEPT, 0);
	talk(made_fd, "the handler's");
}

/* --- a handler on the same socket, again and again --- */

static long own, others;

static void send_one(int n)
{
	(void)n;
	others += send(sock, "b", 1, MSG_DONTWAIT) == 1;
}

static void count_letters(int fd, int report)
{
	static char b[65536];
	long seen[3] = { 0 };
	ssize_t n;

	while ((n = recv(fd, b, sizeof(b), 0)) > 0)
		for (ssize_t i = 0; i < n; i++)
			seen[b[i] == 'a' ? 0 : b[i] == 'b' ? 1 : 2]++;
	if (write(report, seen, sizeof(seen)) != sizeof(seen))
		_exit(1);
	_exit(0);
}

static void handler_sends(void)
{
	static char b[BLOCK];
	int ends[2], p[2], failed = 0;
	long seen[3] = { 0 };
	pid_t pid;

	pair_of(ends);
	if (pipe(p) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		count_letters(ends[1], p[1]);
	}
	close(ends[1]);
	sock = ends[0];
	own = others = 0;
	memset(b, 'a', sizeof(b));
	handle(send_one, SA_RESTART, 1, 100);
	for (int i = 0; i < ROUNDS; i++) {
		ssize_t n = send(sock, b, sizeof(b), 0);

		failed += n < 0;
		own += n < 0 ? 0 : n;
	}
	quiet();
	close(sock);
	failed += read(p[0], seen, sizeof(seen)) != sizeof(seen);
	say("failed: %d, own bytes: %s, the handler's: %s, others: %ld, any: %d", failed, own == seen[0] ? "all" : "not all",
	    others == seen[1] ? "all" : "not all", seen[2], others > 50);
	say("reader: %s", end_of(pid));
}

static void take_some(int n)
{
	unsigned char b[500];
	ssize_t got = recv(sock, b, sizeof(b), MSG_DONTWAIT);

	(void)n;
	for (ssize_t i = 0; i < got; i++)
		others += b[i];
	ticks += got > 0;
}

static void handler_receives(void)
{
	static unsigned char b[BLOCK];
	int ends[2], failed = 0;
	long wanted = 0;
	ssize_t n;
	pid_t pid;

	pair_of(ends);
	for (int i = 0; i < BLOCK; i++) {
		b[i] = (unsigned char)(i % 251);
		wanted += b[i];
	}
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		for (int i = 0; i < ROUNDS; i++)
			send(ends[1], b, sizeof(b), 0);
		_exit(0);
	}
	close(ends[1]);
	sock = ends[0];
	own = others = 0;
	handle(take_some, SA_RESTART, 1, 100);
	do {
		n = recv(sock, b, sizeof(b), 0);
		for (ssize_t i = 0; i < n; i++)
			own += b[i];
		failed += n < 0;
	} while (n > 0 || (n < 0 && errno == EINTR));
	quiet();
	say("failed: %d, bytes: %s, any by the handler: %d", failed, own + others == wanted * ROUNDS ? "all" : "not all",
	    ticks > 50);
	say("writer: %s", end_of(pid));
}

static int beside[2];

/* What a handler may do, all of it: on the socket that it interrupted, and on others. */
static void ask_all(int n)
{
	int value = 0, saved = errno;
	socklen_t size = sizeof(value);
	struct pollfd p = { .fd = sock, .events = POLLIN | POLLOUT };
	char c = 'x';

	(void)n;
	others += getsockopt(sock, SOL_SOCKET, SO_RCVBUF, &value, &size) < 0;
	others += ioctl(sock, FIONREAD, &value) < 0 || poll(&p, 1, 0) < 0;
	others += recv(sock, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno != EAGAIN;
	others += write(beside[0], "b", 1) != 1 || read(beside[1], &c, 1) != 1 || c != 'b';
	ticks++;
	errno = saved;
}

/* Every byte comes back, while the handler comes again and again. */
static void handler_asks(void)
{
	static char b[BLOCK * 10];
	int ends[2], failed = 0;
	pid_t pid;

	pair_of(beside);
	pair_of(ends);
	pid = fork();
	if (pid == 0) {
		ssize_t n;

		close(ends[0]);
		while ((n = recv(ends[1], b, sizeof(b), 0)) > 0)
			send(ends[1], b, (size_t)n, 0);
		_exit(0);
	}
	close(ends[1]);
	sock = ends[0];
	others = 0;
	handle(ask_all, SA_RESTART, 1, 200);
	for (int i = 0; i < ROUNDS / 20; i++) {
		int value = 1;

		for (size_t at = 0; at < sizeof(b);) {
			ssize_t n = send(sock, b + at, sizeof(b) - at, 0);

			failed += n < 0;
			at += n < 0 ? sizeof(b) : (size_t)n;
		}
		failed += setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value)) < 0;
		for (size_t at = 0; at < sizeof(b);) {
			ssize_t n = recv(sock, b + at, sizeof(b) - at, MSG_WAITALL);

			failed += n <= 0;
			at += n <= 0 ? sizeof(b) : (size_t)n;
		}
	}
	quiet();
	close(sock);
	say("failed: %d, the handler's: %ld, often: %d", failed, others, ticks > 50);
	say("echo: %s", end_of(pid));
}

static void jump(int n)
{
	(void)n;
	siglongjmp(home, 1);
}

static void jumps_out(void)
{
	char b[8];

	sock = dial();
	if (sigsetjmp(home, 1) == 0) {
		handle(jump, SA_RESTART, 100, 0);
		say("recv: %zd", recv(sock, b, sizeof(b), 0));
	} else {
		say("jumped out of recv");
	}
	talk(sock, "afterwards");
}

/* From anywhere, also from the middle of a copy: the socket goes on. */
static void jumps_often(void)
{
	static volatile int jumped;
	static char b[BLOCK];
	int ends[2], good;
	char c;

	pair_of(ends);
	if (fork() == 0) {
		while (recv(ends[1], b, sizeof(b), 0) > 0)
			;
		_exit(0);
	}
	jumped = 0;
	if (sigsetjmp(home, 1))
		jumped++;
	if (jumped < 2000) {
		handle(jump, SA_RESTART, 0, 0);
		setitimer(ITIMER_REAL, &(struct itimerval){ .it_value = { 0, 100 + jumped % 37 } }, NULL);
		for (;;)
			send(ends[0], b, sizeof(b), 0);
	}
	quiet();
	close(ends[1]);
	good = 0;
	if (fork() == 0) {
		alarm(10);
		_exit(send(ends[0], &c, 1, 0) != 1);
	}
	if (wait(&good) > 0)
		say("another process can send: %d", good == 0);
	shutdown(ends[0], SHUT_RDWR);
	wait(NULL);
}

const struct script signal_scripts[] = {
	{ "in-recv", in_recv }, { "wait-all", wait_all }, { "in-send", in_send }, { "amidst", amidst }, { "shut-meanwhile", shut_meanwhile }, { "timed", timed }, { "in-accept", in_accept },
	{ "in-connect", in_connect }, { "handler-makes", handler_makes }, { "handler-sends", handler_sends },
	{ "handler-receives", handler_receives }, { "handler-asks", handler_asks }, { "jumps-out", jumps_out }, { "jumps-often", jumps_often },
	{ NULL, NULL },
};
