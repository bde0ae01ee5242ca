// SPDX-License-Identifier: Apache-2.0
/*
 * waiters.c - several threads that wait in calls on the same socket: each gets what comes, also when the others go on elsewhere.
 * Trust: a test's own processes.
 *
 * Usage: waiters MW. Runs itself twice as `--script`, natively and under `mw run`, and compares the transcripts.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/same/transcript.h"

#define THREADS     3
#define FALL_ASLEEP 200000 /* us: until a thread surely waits */
#define PATIENCE    100    /* of 50 ms */

static int sock;
static _Atomic int served;

static struct sockaddr_in bound(int type)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);

	sock = socket(AF_INET, type, 0);
	if (sock < 0 || bind(sock, (struct sockaddr *)&a, n) < 0 || getsockname(sock, (struct sockaddr *)&a, &n) < 0)
		perror("bound");
	return a;
}

/* One each, and not again. */
static void *accepts(void *unused)
{
	if (accept(sock, NULL, NULL) < 0)
		perror("accept");
	served++;
	return unused;
}

static void *receives(void *unused)
{
	struct sockaddr_in from;
	socklen_t n = sizeof(from);
	char byte;

	if (recvfrom(sock, &byte, 1, 0, (struct sockaddr *)&from, &n) != 1)
		perror("recvfrom");
	served++;
	return unused;
}

static void begin(void *(*call)(void *))
{
	pthread_t thread;

	served = 0;
	for (int i = 0; i < THREADS; i++) {
		pthread_create(&thread, NULL, call, NULL);
		pthread_detach(thread);
		usleep(FALL_ASLEEP);
	}
}

static void expect(const char *what, int count)
{
	for (int i = 0; i < PATIENCE && served < count; i++)
		usleep(50000);
	printf("%s: %d of %d have theirs\n", what, served, THREADS);
	fflush(stdout);
}

static void listener(void)
{
	struct sockaddr_in to = bound(SOCK_STREAM);

	if (listen(sock, 8) < 0)
		perror("listen");
	begin(accepts);
	for (int i = 1; i <= THREADS; i++) {
		if (connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)) < 0)
			perror("connect");
		expect("accept", i);
	}
}

static void datagrams(void)
{
	struct sockaddr_in to = bound(SOCK_DGRAM);
	int out = socket(AF_INET, SOCK_DGRAM, 0);

	begin(receives);
	for (int i = 1; i <= THREADS; i++) {
		if (sendto(out, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) != 1)
			perror("sendto");
		expect("recvfrom", i);
	}
}

static void script(const char *only)
{
	(void)only;
	listener();
	datagrams();
	_exit(0); /* threads that wait still would not end */
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
