// SPDX-License-Identifier: Apache-2.0
/*
 * stray.c - bytes written past the shim (a raw system call, stdio) reach the peer once and in order.
 * Trust: a test's own processes.
 *
 * Usage: stray MW. Runs itself twice as `--script`, natively and under `mw run`, and compares the transcripts. The
 * script sends a counting pattern, some of it by send() and some past the shim; the peer checks that it counts on.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/transcript.h"

#define PEER 0
#define LIMIT_SECONDS 8

static uint32_t at; /* of the pattern, next to send */

static int dial(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_port = htons((uint16_t)peer_do(PEER, PEER_PORT, 0));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		exit(1);
	peer_do(PEER, PEER_ACCEPT, 0);
	at = 0;
	return fd;
}

static void pattern(uint8_t *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		b[i] = (uint8_t)((at + i) % 251);
}

/* past: by a raw system call; else by send(). Without waiting when asked. Bytes that went. */
static uint32_t put(int fd, uint32_t n, int past, int flags)
{
	static uint8_t b[70000];
	long r;

	pattern(b, n);
	if (!past)
		r = send(fd, b, n, flags);
	else if (flags)
		r = syscall(SYS_sendto, fd, b, n, flags, NULL, 0);
	else
		r = syscall(SYS_write, fd, b, n);
	if (r < 0)
		return 0;
	at += (uint32_t)r;
	return (uint32_t)r;
}

/* The peer reads to the end: all bytes, counting on. */
static void check(const char *what)
{
	int32_t r = peer_do(PEER, PEER_CHECK, 0);

	if (r == (int32_t)at)
		printf("%s: all bytes, in order\n", what);
	else if (r < 0)
		printf("%s: wrong bytes or order\n", what);
	else
		printf("%s: %d of %u bytes\n", what, r, at);
}

/* Until the socket is not writable for a while. */
static void fill(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	do {
		while (put(fd, 60000, 0, MSG_DONTWAIT) > 0)
			;
	} while (poll(&p, 1, 250) > 0);
}

/* --- scripts --- */

static void raw_only(void)
{
	int fd = dial();

	for (int i = 0; i < 50; i++)
		put(fd, 1 + (uint32_t)i * 37, 1, 0);
	close(fd);
	check("raw only");
}

/* Given time between them, each kind finds the other's bytes gone out. */
static void taking_turns(void)
{
	int fd = dial();

	for (int i = 0; i < 20; i++) {
		put(fd, 1 + (uint32_t)i * 91, i & 1, 0);
		usleep(20000);
	}
	close(fd);
	check("turns, with pauses");
}

static void send_then_raw(void)
{
	int fd = dial();

	put(fd, 50000, 0, 0);
	put(fd, 300, 1, 0);
	close(fd);
	check("send, then raw at once");
}

static void raw_then_send(void)
{
	int fd = dial();

	put(fd, 300, 1, 0);
	put(fd, 50000, 0, 0);
	close(fd);
	check("raw, then send at once");
}

static void turns_at_once(void)
{
	int fd = dial();

	for (int i = 0; i < 200; i++)
		put(fd, 1 + (uint32_t)i * 7, i & 1, 0);
	close(fd);
	check("turns, without pauses");
}

static void stdio(void)
{
	int fd = dial();
	FILE *f = fdopen(dup(fd), "w");

	for (int i = 0; i < 1000; i++, at++)
		fputc((int)(at % 251), f);
	fclose(f);
	usleep(20000);
	put(fd, 100, 0, 0);
	close(fd);
	check("fdopen, fputc, fclose, later send");
}

static void stdio_unbuffered(void)
{
	int fd = dial();
	FILE *f = fdopen(fd, "w");

	setvbuf(f, NULL, _IONBF, 0);
	for (int i = 0; i < 300; i++, at++)
		fputc((int)(at % 251), f);
	shutdown(fd, SHUT_WR);
	check("stdio, unbuffered");
	fclose(f);
}

static void after_full(int shut)
{
	int fd = dial();

	fill(fd);
	put(fd, 500, 1, MSG_DONTWAIT);
	if (shut)
		shutdown(fd, SHUT_WR);
	else
		close(fd);
	check(shut ? "full ring, raw, shutdown" : "full ring, raw, close");
	if (shut)
		close(fd);
}

static void full_close(void)
{
	after_full(0);
}

static void full_shutdown(void)
{
	after_full(1);
}

/* A raw write that waits for room behind a full ring, in a child that ends at once afterwards. */
static void full_and_exit(void)
{
	int fd = dial(), status;
	uint32_t filled;
	pid_t child;

	fill(fd);
	filled = at;
	fflush(NULL);
	child = fork();
	if (child == 0) {
		put(fd, 700, 1, 0);
		_exit(at != filled + 700);
	}
	close(fd);
	at += 700;
	check("full ring, blocking raw, exit");
	waitpid(child, &status, 0);
	printf("the writer's status: %d\n", status);
}

static void raw_and_exit(void)
{
	int fd = dial();
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		put(fd, 2000, 0, 0);
		put(fd, 20, 1, 0);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	at += 2020;
	close(fd);
	check("send, raw, exit");
}

/* Bytes that look as much like filler as an outsider can make them: lengths of 16 and 1500, of one value. */
static void look_alike(void)
{
	int fd = dial();

	put(fd, 16, 1, 0);
	put(fd, 1500, 1, 0);
	put(fd, 15, 1, 0);
	put(fd, 17, 1, 0);
	shutdown(fd, SHUT_WR);
	check("filler's lengths");
	close(fd);
}

/* The ring is full, then the peer reads: what is behind it follows without another call. */
static void full_then_drained(void)
{
	int fd = dial();
	uint32_t filled;

	fill(fd);
	filled = at;
	put(fd, 10, 1, MSG_DONTWAIT);
	peer_do(PEER, PEER_READ, (int32_t)filled);
	usleep(100000);
	put(fd, 1000, 0, 0);
	shutdown(fd, SHUT_WR);
	check("full, raw, peer reads, send");
	close(fd);
}

static void (*const scripts[])(void) = {
	raw_only, taking_turns, send_then_raw, raw_then_send, turns_at_once, stdio, stdio_unbuffered, full_close,
	full_shutdown, full_and_exit, raw_and_exit, look_alike, full_then_drained,
};

int main(int argc, char **argv)
{
	bool good = true;

	if (argc < 2) {
		fprintf(stderr, "usage: stray MW\n");
		return 2;
	}
	if (strcmp(argv[1], "--script"))
		return transcript_compare(argv[1], NULL);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		good &= transcript_alone(i, scripts[i], LIMIT_SECONDS);
	return !good;
}
