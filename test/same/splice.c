// SPDX-License-Identifier: Apache-2.0
/*
 * splice.c - splice() from and to sockets, as proxies use it, and all that it refuses.
 * Trust: a test's own processes.
 *
 * Usage: splice MW [bytes]. Runs itself twice as `--script`, natively and under `mw run`, and compares the transcripts. How
 * much one call moves may differ; what arrives may not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/transcript.h"

#define PEER 0
#define LIMIT_SECONDS 10
#define MANY 300000
#define NOWAIT SPLICE_F_NONBLOCK

static volatile sig_atomic_t sigpipes;
static int end[2]; /* of a fresh pipe: read, write */

static void count_sigpipe(int number)
{
	(void)number;
	sigpipes++;
}

static void say(const char *what, ssize_t r)
{
	int error = errno;

	printf("%s: %zd", what, r);
	if (r < 0)
		printf(" %s", strerrorname_np(error));
	if (sigpipes)
		printf(", SIGPIPE");
	putchar('\n');
	sigpipes = 0;
	fflush(stdout);
}

static int dial(int flags)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_port = htons((uint16_t)peer_do(PEER, PEER_PORT, 0));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		exit(1);
	peer_do(PEER, PEER_ACCEPT, 0);
	fcntl(fd, F_SETFL, flags);
	if (pipe(end) < 0)
		exit(1);
	return fd;
}

static ssize_t move(int in, int out, size_t n, unsigned int flags)
{
	return splice(in, NULL, out, NULL, n, flags);
}

static int ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 2000) > 0;
}

/* Bytes that count on from `at`, as the peer's do. */
static void pattern(uint8_t *b, size_t n, uint32_t at)
{
	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)((at + i) % 251);
}

/* Empties the pipe. False when the bytes do not count on. */
static int drain(uint32_t *at)
{
	static uint8_t got[70000], wanted[70000];
	int n = 0;
	ssize_t r;

	ioctl(end[0], FIONREAD, &n);
	r = n ? read(end[0], got, (size_t)n) : 0;
	pattern(wanted, (size_t)r, *at);
	*at += (uint32_t)r;
	return memcmp(got, wanted, (size_t)r) == 0;
}

/* --- from a socket --- */

static void from_socket(int flags, unsigned int how, const char *what)
{
	int fd = dial(flags), good = 1;
	uint32_t at = 0;
	ssize_t r = 1;

	peer_do(PEER, PEER_SEND, MANY);
	while (at < MANY && good && r > 0 && ready(fd, POLLIN)) {
		r = move(fd, end[1], 1 << 20, how);
		good = drain(&at);
	}
	printf("%s: %u bytes, %s\n", what, at, good ? "in order" : "wrong");
	say("a last call", flags ? move(fd, end[1], 100, how) : 0);
	peer_do(PEER, PEER_FIN, 0);
	ready(fd, POLLIN);
	say("the end", move(fd, end[1], 100, how));
	say("the end again", move(fd, end[1], 100, how));
	close(fd);
}

static void reading(void)
{
	from_socket(0, 0, "blocking");
	from_socket(O_NONBLOCK, 0, "nonblocking socket");
	from_socket(O_NONBLOCK, NOWAIT | SPLICE_F_MOVE | SPLICE_F_MORE, "nonblocking all");
	from_socket(0, NOWAIT, "nonblocking pipe");
}

static void reading_in_parts(void)
{
	int fd = dial(0);
	uint32_t at = 0;

	peer_do(PEER, PEER_SEND, 10000);
	ready(fd, POLLIN);
	usleep(50000);
	say("7 bytes", move(fd, end[1], 7, 0));
	say("1000 bytes", move(fd, end[1], 1000, 0));
	printf("in order: %d\n", drain(&at));
	say("the rest", move(fd, end[1], 1 << 20, 0));
	printf("in order: %d, %u\n", drain(&at), at);
	close(fd);
}

static void reading_waits(void)
{
	struct timeval limit = { .tv_usec = 200000 };
	int fd = dial(0);
	pid_t child;
	uint32_t at = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	say("time-out", move(fd, end[1], 100, 0));
	say("time-out, nonblocking pipe", move(fd, end[1], 100, NOWAIT));
	memset(&limit, 0, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	fflush(NULL);
	child = fork();
	if (child == 0) {
		usleep(100000);
		peer_do(PEER, PEER_SEND, 500);
		_exit(0);
	}
	say("blocked until bytes came", move(fd, end[1], 1000, 0));
	waitpid(child, NULL, 0);
	printf("in order: %d\n", drain(&at));
	peer_do(PEER, PEER_RESET, 0);
	ready(fd, POLLIN);
	say("reset", move(fd, end[1], 100, 0));
	say("after the reset", move(fd, end[1], 100, 0));
	close(fd);
}

static void pipe_full(void)
{
	static uint8_t b[65536];
	int fd = dial(0);

	peer_do(PEER, PEER_SEND, 1000);
	ready(fd, POLLIN);
	say("fill", write(end[1], b, sizeof(b)));
	say("full", move(fd, end[1], 100, NOWAIT));
	fcntl(end[1], F_SETFL, O_NONBLOCK);
	say("full, its own flag", move(fd, end[1], 100, 0));
	say("make room", read(end[0], b, 8192));
	say("some room", move(fd, end[1], 100, NOWAIT));
	close(end[0]);
	say("no reader", move(fd, end[1], 100, 0));
	say("what is still there", recv(fd, b, sizeof(b), MSG_DONTWAIT));
	close(fd);
}

/* --- to a socket --- */

static void to_socket(int flags, unsigned int how, const char *what)
{
	static uint8_t b[40000];
	int fd = dial(flags), status;
	uint32_t at = 0, gone = 0;
	pid_t child;
	ssize_t r;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		close(end[0]);
		for (int i = 0; i < 10; i++, at += sizeof(b)) {
			pattern(b, sizeof(b), at);
			if (write(end[1], b, sizeof(b)) < 0)
				_exit(1);
		}
		_exit(0);
	}
	close(end[1]);
	for (;;) {
		ready(end[0], POLLIN);
		if (flags && !ready(fd, POLLOUT))
			peer_do(PEER, PEER_READ, 100000);
		r = move(end[0], fd, 1 << 20, how);
		if (r == 0 || (r < 0 && errno != EAGAIN))
			break;
		gone += r > 0 ? (uint32_t)r : 0;
	}
	waitpid(child, &status, 0);
	say("at the pipe's end", r);
	close(fd);
	printf("%s: %u bytes; the peer has %d\n", what, gone, peer_do(PEER, PEER_CHECK, 0));
}

static void writing(void)
{
	to_socket(0, SPLICE_F_MORE, "blocking");
	to_socket(O_NONBLOCK, NOWAIT, "nonblocking");
}

static void pipe_empty(void)
{
	int fd = dial(0);

	say("empty", move(end[0], fd, 100, NOWAIT));
	say("one byte", write(end[1], "", 1));
	say("moved", move(end[0], fd, 100, NOWAIT));
	close(end[1]);
	say("no writer", move(end[0], fd, 100, 0));
	close(fd);
}

/* A socket without room leaves the pipe as it is. */
static void socket_full(void)
{
	static uint8_t b[60000];
	int fd = dial(O_NONBLOCK), n = 0;
	ssize_t r;
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	do {
		while (send(fd, b, sizeof(b), 0) > 0)
			;
	} while (poll(&p, 1, 250) > 0);
	do { /* some fits yet in buffers that are begun */
		if (write(end[1], b, 1000) != 1000)
			exit(1);
		r = move(end[0], fd, 1000, 0);
	} while (r == 1000);
	say("no room", r > 0 ? move(end[0], fd, 1000, 0) : r);
	ioctl(end[0], FIONREAD, &n);
	printf("still in the pipe: %d\n", n > 0);
	peer_do(PEER, PEER_CLOSE, 0);
	usleep(100000);
	say("reset", move(end[0], fd, 1000, 0));
	say("broken", move(end[0], fd, 1000, 0));
	ioctl(end[0], FIONREAD, &n);
	printf("still in the pipe: %d\n", n > 0);
	close(fd);
}

/* --- both, and neither --- */

/* Everything from the peer back to it by way of a pipe, as a proxy does. */
static void relay(void)
{
	int fd = dial(O_NONBLOCK);
	ssize_t in = 0, out = 0, r;

	peer_do(PEER, PEER_SEND, 50000);
	while (out < 50000 && ready(fd, in < 50000 ? POLLIN : POLLOUT)) {
		r = move(fd, end[1], 16384, NOWAIT);
		in += r > 0 ? r : 0;
		r = move(end[0], fd, 16384, NOWAIT);
		out += r > 0 ? r : 0;
	}
	printf("relayed: %zd in, %zd out\n", in, out);
	close(fd);
	printf("the peer has %d\n", peer_do(PEER, PEER_CHECK, 0));
}

static void refused(void)
{
	int fd = dial(O_NONBLOCK), fresh = socket(AF_INET, SOCK_STREAM, 0), file = open("/proc/self/exe", O_RDONLY);
	int other[2];
	loff_t at = 0;

	if (pipe(other) < 0 || write(end[1], "abc", 3) != 3)
		exit(1);
	say("two sockets", move(fd, fresh, 10, 0));
	say("file to socket", move(file, fd, 10, 0));
	say("socket to file", move(fd, file, 10, 0));
	say("no bytes", move(fd, end[1], 0, ~0u));
	say("flags", move(fd, end[1], 10, 64));
	say("offset of a socket read", splice(fd, &at, end[1], NULL, 10, 0));
	say("offset of a pipe written", splice(fd, NULL, end[1], &at, 10, 0));
	say("offset of a socket written", splice(end[0], NULL, fd, &at, 10, 0));
	say("offset of a pipe read", splice(end[0], &at, fd, NULL, 10, 0));
	say("into the reading end", move(fd, end[0], 10, 0));
	say("from the writing end", move(end[1], fd, 10, 0));
	say("bad descriptor in", move(-1, fd, 10, 0));
	say("bad descriptor out", move(fd, 9999, 10, 0));
	say("unconnected in", move(fresh, other[1], 10, 0));
	say("unconnected out", move(end[0], fresh, 10, 0));
	say("tee in", tee(fd, end[1], 10, 0));
	say("tee out", tee(end[0], fd, 10, 0));
	shutdown(fd, SHUT_WR);
	say("after shutdown", move(end[0], fd, 10, 0));
	say("what the pipe still has", read(end[0], other, 3));
}

/* `bytes`: also where splice() is the kernel's own, on the stream lane, whose descriptor is not TCP's in all else. */
static const struct {
	void (*run)(void);
	const char *kind;
} scripts[] = {
	{ reading, "bytes" }, { reading_in_parts, "bytes" }, { reading_waits, "bytes" }, { pipe_full, "bytes" },
	{ writing, "bytes" }, { pipe_empty, "bytes" }, { relay, "bytes" }, { socket_full, "errors" }, { refused, "errors" },
};

int main(int argc, char **argv)
{
	bool good = true;

	if (argc < 2) {
		fprintf(stderr, "usage: splice MW [bytes]\n");
		return 2;
	}
	if (strcmp(argv[1], "--script"))
		return transcript_compare(argv[1], argv[2]);
	signal(SIGPIPE, count_sigpipe);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		if (argc < 3 || !strcmp(argv[2], scripts[i].kind))
			good &= transcript_alone(i, scripts[i].run, LIMIT_SECONDS);
	return !good;
}
