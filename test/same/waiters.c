// SPDX-License-Identifier: Apache-2.0
/*
 * waiters.c - several threads, or processes, that wait in calls on the same socket: what comes wakes as many as TCP and UDP would, and
 * each has its share, also when the others go on elsewhere or are killed.
 * Trust: a test's own processes.
 *
 * Usage: waiters MW. Runs itself twice as `--script`, natively and under `mw run`, and compares the transcripts.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/transcript.h"

#define PEER        0
#define THREADS     8
#define CROWD       200
#define FALL_ASLEEP 200000 /* us: until all surely wait */
#define PATIENCE    100    /* of 50 ms */
#define SHARE       2      /* bytes that each reads or writes */
#define ROUNDS      40
#define RACES       3000
#define DELAYS      150    /* us, of a race's reader */
#define LIMIT_S     6      /* when it has lost */
#define LOW         4      /* SO_RCVLOWAT of the race */

static int sock, begun;
static struct sockaddr_in to;

/* In memory that children share. */
static struct {
	_Atomic int done, bytes, ended, error[200];
} *came;

static struct sockaddr_in bound(int type)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);

	sock = socket(AF_INET, type, 0);
	if (sock < 0 || bind(sock, (struct sockaddr *)&a, n) < 0 || getsockname(sock, (struct sockaddr *)&a, &n) < 0)
		perror("bound");
	return a;
}

static void at_port(int port)
{
	to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* Connected to the peer. */
static void dial(void)
{
	sock = socket(AF_INET, SOCK_STREAM, 0);
	at_port(peer_do(PEER, PEER_PORT, 0));
	if (connect(sock, (struct sockaddr *)&to, sizeof(to)) < 0)
		perror("dial");
	peer_do(PEER, PEER_ACCEPT, 0);
}

static void *note(ssize_t n)
{
	if (n > 0)
		came->bytes += (int)n;
	else if (n == 0)
		came->ended++;
	else
		came->error[errno]++;
	came->done++;
	return NULL;
}

/* One each, and not again. */
static void *accepts(void *unused)
{
	(void)unused;
	return note(accept(sock, NULL, NULL) < 0 ? -1 : 1);
}

static void *receives(void *unused)
{
	struct sockaddr_in from;
	socklen_t n = sizeof(from);
	char byte;

	(void)unused;
	return note(recvfrom(sock, &byte, 1, 0, (struct sockaddr *)&from, &n));
}

static void *reads(void *unused)
{
	char b[SHARE];

	(void)unused;
	return note(recv(sock, b, sizeof(b), 0));
}

static void *peeks(void *unused)
{
	char b[SHARE];

	(void)unused;
	return note(recv(sock, b, sizeof(b), MSG_PEEK));
}

static void *writes(void *unused)
{
	char b[SHARE] = { 0 };

	(void)unused;
	return note(send(sock, b, sizeof(b), MSG_NOSIGNAL));
}

static void *connects(void *unused)
{
	(void)unused;
	return note(connect(sock, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : 1);
}

static void begin_so_many(void *(*call)(void *), int threads)
{
	pthread_t thread;

	memset(came, 0, sizeof(*came));
	begun = threads;
	for (int i = 0; i < threads; i++) {
		pthread_create(&thread, NULL, call, NULL);
		pthread_detach(thread);
	}
	usleep(FALL_ASLEEP);
}

static void begin(void *(*call)(void *))
{
	begin_so_many(call, THREADS);
}

static void expect(const char *what, int count)
{
	for (int i = 0; i < PATIENCE && came->done < count; i++)
		usleep(50000);
	printf("%s: %d of %d came back: %d bytes, %d at the end", what, came->done, begun, came->bytes, came->ended);
	for (size_t i = 0; i < sizeof(came->error) / sizeof(came->error[0]); i++)
		if (came->error[i])
			printf(", %d %s", came->error[i], strerrorname_np((int)i));
	printf("\n");
	fflush(stdout);
}

/* --- one record is one's --- */

static void listener(int at_once)
{
	to = bound(SOCK_STREAM);
	if (listen(sock, THREADS) < 0)
		perror("listen");
	begin(accepts);
	for (int i = 1; i <= THREADS; i++) {
		if (connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)) < 0)
			perror("connect");
		if (i % at_once == 0)
			expect("accept", i);
	}
	begin(accepts);
	shutdown(sock, SHUT_RDWR);
	expect("accept, shut down", THREADS);
}

static void datagrams(int at_once)
{
	int out = socket(AF_INET, SOCK_DGRAM, 0);

	to = bound(SOCK_DGRAM);
	begin(receives);
	for (int i = 1; i <= THREADS; i++) {
		if (sendto(out, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) != 1)
			perror("sendto");
		if (i % at_once == 0)
			expect("recvfrom", i);
	}
	if (connect(sock, (struct sockaddr *)&to, sizeof(to)) < 0)
		perror("connect to itself");
	begin(receives);
	shutdown(sock, SHUT_RD);
	expect("recvfrom, shut down", THREADS);
}

/* --- bytes are everybody's --- */

static void readers(void)
{
	dial();
	begin(reads);
	peer_do(PEER, PEER_SEND, THREADS * SHARE);
	expect("recv of a part", THREADS);
	begin(peeks);
	peer_do(PEER, PEER_SEND, 1);
	expect("recv, peeking", THREADS);
	recv(sock, &(char){ 0 }, 1, 0);
	begin(reads);
	for (int i = 1; i <= THREADS; i++) {
		peer_do(PEER, PEER_SEND, SHARE);
		expect("recv of all", i);
	}
	close(sock);
}

static void crowd(void)
{
	dial();
	begin_so_many(reads, CROWD);
	peer_do(PEER, PEER_SEND, CROWD * SHARE);
	expect("recv by a crowd", CROWD);
	close(sock);
}

static void until_unread(int bytes)
{
	int n;

	do
		if (ioctl(sock, FIONREAD, &n) < 0)
			abort();
	while (n < bytes);
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

/* Another that looks, so that what the reader does is interrupted at any point. */
static void *looks(void *until)
{
	while (!*(_Atomic bool *)until)
		until_unread(0);
	return NULL;
}

/* What is too little becomes enough while a reader is about to sleep. */
static bool race_won(int round)
{
	struct peer_cmd more = { .op = PEER_SEND, .arg = LOW };
	struct pollfd p = { .fd = sock, .events = POLLIN };
	char b[LOW + SHARE];
	int32_t sent = 0;
	int64_t began;
	ssize_t n;

	peer_do(PEER, PEER_SEND, LOW);
	poll(&p, 1, 1000);
	until_unread(LOW);
	peer_do(PEER, PEER_SEND, SHARE);
	until_unread(LOW + SHARE);
	usleep(50); /* it is told of those, which the look before has asked for */
	n = recv(sock, b, LOW, MSG_DONTWAIT);
	if (n != LOW || write(PEER, &more, sizeof(more)) < 0)
		abort();
	for (began = now_us(); now_us() - began < round % DELAYS;)
		;
	n = recv(sock, b, sizeof(b), 0); /* which also gives what is there when its time is over */
	return read(PEER, &sent, sizeof(sent)) == sizeof(sent) && sent == LOW && n == sizeof(b) && now_us() - began < LIMIT_S * 500000LL;
}

static void lowat(void)
{
	struct timeval limit = { .tv_sec = LIMIT_S };
	_Atomic bool over = false;
	int low = LOW, won = 0;
	pthread_t other;

	dial();
	peer_do(PEER, PEER_PROMPT, 0);
	if (setsockopt(sock, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)) < 0 ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		perror("lowat");
	pthread_create(&other, NULL, looks, &over);
	while (won < RACES && race_won(won))
		won++;
	over = true;
	pthread_join(other, NULL);
	printf("recv, SO_RCVLOWAT: %d of %d races\n", won, RACES);
	fflush(stdout);
	close(sock);
}

static void ends(const char *what, enum peer_op op)
{
	dial();
	begin(reads);
	peer_do(PEER, op, 0);
	expect(what, THREADS);
	close(sock);
}

static void shuts(const char *what, int how)
{
	dial();
	begin(reads);
	shutdown(sock, how);
	expect(what, THREADS);
	close(sock);
}

/* Until there is no room for a while, and what was in flight has arrived. */
static int fill(void)
{
	static char b[60000];
	int total = 0;

	for (int full = 0; full < 2;) {
		ssize_t n = send(sock, b, sizeof(b), MSG_DONTWAIT);

		full = n > 0 ? 0 : full + 1;
		total += n > 0 ? (int)n : 0;
		usleep(n > 0 ? 0 : 250000);
	}
	return total;
}

static void writers(void)
{
	int there;

	dial();
	there = fill();
	begin(writes);
	peer_do(PEER, PEER_READ, there);
	expect("send", THREADS);
	peer_do(PEER, PEER_READ, THREADS * SHARE);
	fill();
	begin(writes);
	peer_do(PEER, PEER_RESET, 0);
	expect("send, reset", THREADS);
	close(sock);
	dial();
	fill();
	begin(writes);
	shutdown(sock, SHUT_WR);
	expect("send, shut down", THREADS);
	close(sock);
}

static void connecting(void)
{
	at_port(peer_do(PEER, PEER_STUFF, 0));
	sock = socket(AF_INET, SOCK_STREAM, 0);
	begin(connects);
	peer_do(PEER, PEER_UNSTUFF, 0);
	expect("connect", THREADS);
	close(sock);
}

/* --- processes --- */

static pid_t reader(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		reads(NULL);
		_exit(0);
	}
	return pid;
}

static void processes(void)
{
	pid_t pid[THREADS];

	dial();
	memset(came, 0, sizeof(*came));
	for (int i = 0; i < THREADS; i++)
		pid[i] = reader();
	usleep(FALL_ASLEEP);
	peer_do(PEER, PEER_SEND, THREADS * SHARE);
	expect("recv by processes", THREADS);
	for (int i = 0; i < THREADS; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	close(sock);
}

/* Whoever was killed in the call, or on its way back, the other has its share. */
static void killed(void)
{
	int served = 0;

	dial();
	for (int i = 0; i < ROUNDS; i++) {
		pid_t first = reader(), second = reader();
		bool ended = false;
		char b[2 * SHARE];

		usleep(20000);
		peer_do(PEER, PEER_SEND, (int)sizeof(b));
		usleep((useconds_t)(i % 8 * 10));
		kill(first, SIGKILL);
		waitpid(first, NULL, 0);
		for (int k = 0; k < PATIENCE && !ended; k++) {
			ended = waitpid(second, NULL, WNOHANG) == second;
			usleep(ended ? 0 : 10000);
		}
		served += ended;
		if (!ended) {
			kill(second, SIGKILL);
			waitpid(second, NULL, 0);
		}
		while (recv(sock, b, sizeof(b), MSG_DONTWAIT) > 0)
			;
	}
	printf("one is killed: %d of %d others have theirs\n", served, ROUNDS);
	begin(reads);
	peer_do(PEER, PEER_SEND, THREADS * SHARE);
	expect("afterwards", THREADS);
	printf("and then: %zd %s\n", recv(sock, &(char){ 0 }, 1, MSG_DONTWAIT), strerrorname_np(errno));
	fflush(stdout);
	close(sock);
}

static void script(const char *only)
{
	(void)only;
	came = mmap(NULL, sizeof(*came), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (came == MAP_FAILED)
		abort();
	listener(1);
	listener(THREADS);
	datagrams(1);
	datagrams(THREADS);
	readers();
	crowd();
	lowat();
	ends("recv, FIN", PEER_FIN);
	ends("recv, reset", PEER_RESET);
	shuts("recv, SHUT_RD", SHUT_RD);
	shuts("recv, SHUT_RDWR", SHUT_RDWR);
	writers();
	connecting();
	processes();
	killed();
	_exit(0); /* threads that wait still would not end */
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
