// SPDX-License-Identifier: Apache-2.0
/*
 * option_walk.c - every socket option that the kernel's headers name, and every number near them, on sockets in every
 * state, with lengths and values right and wrong, natively and under `mw run`: the same results.
 * Trust: a test's own processes.
 *
 * Usage: option_walk MW KIND. KIND is tcp4, tcp6, udp4 or udp6, and -nobody behind it for a process without privileges. Runs itself twice
 * as `--script KIND` and compares. One line holds all answers of one option in one state:
 *   get  LENGTH=RESULT,length afterwards,what was written
 *   set  LENGTH:VALUE=RESULT>get's answer afterwards
 */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/same/option_names.h"
#include "test/same/peer.h"
#include "test/same/transcript.h"

#define PEER 0
#define PAGE 4096
#define ROOM (16 * PAGE) /* of a value; behind it nothing is mapped */
#define NUMBERS 64       /* of each level are tried, named or not. At 64 the packet filters' own numbers begin */
#define NOBODY 65534

enum state { UNNAMED, BOUND, LISTENING, CONNECTED, ACCEPTED, PEER_CLOSED, WAS_RESET, STATES };
static const char *const state_names[STATES] = { "new", "bound", "listening", "connected", "accepted", "closed by peer", "reset" };

static uint8_t *room; /* ROOM bytes, then a page that faults */
static int family, type;

/* Values that differ between any two runs: only result and length are compared. */
static const struct {
	const char *name, *why;
} volatile_values[] = {
	{ "SO_COOKIE", "counts sockets made since boot" },
	{ "SO_INCOMING_CPU", "where a packet happened to be handled" },
	{ "SO_INCOMING_NAPI_ID", "likewise" },
	{ "IP_PROTOCOL", "the socket's port, which the kernel chose" },
	{ "SO_PEERNAME", "the peer's port, likewise" },
	{ "SO_MEMINFO", "memory in use at the moment" },
	{ "TCP_INFO", "times and counters; compared field by field in option_use.c" },
	{ "TCP_CC_INFO", "likewise" },
	{ "TCP_QUICKACK", "whether an acknowledgement is due at the moment" },
	{ "TCP_TIMESTAMP", "a clock" },
	{ "TCP_QUEUE_SEQ", "a random sequence number" },
	{ "TCP_REPAIR_WINDOW", "likewise" },
	{ "TCP_SAVED_SYN", "a packet with ports and sequence numbers" },
};

static bool is_volatile(const char *name)
{
	for (size_t i = 0; i < sizeof(volatile_values) / sizeof(volatile_values[0]); i++)
		if (!strcmp(volatile_values[i].name, name))
			return true;
	return false;
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	printf("FAILED %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- sockets in a state --- */

static socklen_t loopback(struct sockaddr_storage *ss, int port)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		a4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		a4->sin_port = htons((uint16_t)port);
		return sizeof(*a4);
	}
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &a6->sin6_addr);
	a6->sin6_port = htons((uint16_t)port);
	return sizeof(*a6);
}

static int port_of(int fd)
{
	struct sockaddr_in6 a;
	socklen_t n = sizeof(a);

	must(getsockname(fd, (struct sockaddr *)&a, &n) == 0, "getsockname");
	return ntohs(a.sin6_port); /* at the same place in both families */
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	must(poll(&p, 1, 10000) == 1, "poll");
}

static int connected(enum state state, int fd)
{
	struct sockaddr_storage ss;
	socklen_t n = loopback(&ss, peer_do(PEER, PEER_PORT, 0));

	must(connect(fd, (struct sockaddr *)&ss, n) == 0, "connect");
	if (type == SOCK_DGRAM)
		return fd;
	must(peer_do(PEER, PEER_ACCEPT, 0) == 0, "the peer's accept");
	if (state == PEER_CLOSED) {
		peer_do(PEER, PEER_FIN, 0);
		wait_for(fd, POLLRDHUP);
	} else if (state == WAS_RESET) {
		peer_do(PEER, PEER_RESET, 0);
		wait_for(fd, POLLHUP);
	}
	return fd;
}

static int accepted(int listener)
{
	int fd;

	must(peer_do(PEER, PEER_CONNECT, port_of(listener)) == 0, "the peer's connect");
	fd = accept(listener, NULL, NULL);
	must(fd >= 0, "accept");
	close(listener);
	return fd;
}

static int make(enum state state)
{
	struct sockaddr_storage ss;
	socklen_t n = loopback(&ss, 0);
	int fd = socket(family, type, 0);

	must(fd >= 0, "socket");
	if (state == BOUND || state == LISTENING || state == ACCEPTED)
		must(bind(fd, (struct sockaddr *)&ss, n) == 0, "bind");
	if (state == LISTENING || state == ACCEPTED)
		must(listen(fd, 8) == 0, "listen");
	if (state == ACCEPTED)
		return accepted(fd);
	return state >= CONNECTED ? connected(state, fd) : fd;
}

/* --- one option --- */

static void put_result(int r)
{
	printf("%s", r == 0 ? "0" : strerrorname_np(errno));
}

/* The bytes that were changed, or that there are many. */
static void put_bytes(const uint8_t *at, size_t n, bool hidden)
{
	uint32_t sum = 2166136261u;

	while (n && at[n - 1] == 0xa5)
		n--;
	putchar(',');
	if (hidden)
		return;
	for (size_t i = 0; i < n && i < 16; i++)
		printf("%02x", at[i]);
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ at[i]) * 16777619u;
	if (n > 16)
		printf("+%zu:%08x", n, sum);
}

/* A get of `length` with `there` bytes of memory, or without any. */
static void get(int fd, const struct option_name *o, int length, size_t there, bool no_address)
{
	uint8_t *at = room + ROOM - there;
	socklen_t n = (socklen_t)length;
	int r;

	memset(at, 0xa5, there);
	errno = 0;
	r = getsockopt(fd, o->level, o->number, no_address ? NULL : at, &n);
	put_result(r);
	printf(",%s", is_volatile(o->name) && (int)n > 16 ? "long" : "");
	if (!is_volatile(o->name) || (int)n <= 16)
		printf("%d", (int)n);
	put_bytes(at, there, is_volatile(o->name));
	putchar(' ');
}

static void gets_of(int fd, const struct option_name *o)
{
	static const int lengths[] = { 0, 1, 2, 3, 4, 8, 16, 20, 104, 256, ROOM, INT_MAX, -1 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		printf("%d=", lengths[i]);
		get(fd, o, lengths[i], lengths[i] < 0 ? 0 : lengths[i] < ROOM ? (size_t)lengths[i] : ROOM, false);
	}
	printf("4/2=");
	get(fd, o, 4, 2, false);
	printf("NULL=");
	get(fd, o, 4, 0, true);
	printf("no length=");
	put_result(getsockopt(fd, o->level, o->number, room, NULL));
	putchar('\n');
}

static void set(int fd, const struct option_name *o, int length, size_t there, const void *value)
{
	uint8_t *at = room + ROOM - there;

	for (size_t i = 0; value && i < there; i++)
		at[i] = ((const uint8_t *)value)[i % sizeof(int)];
	errno = 0;
	put_result(setsockopt(fd, o->level, o->number, value ? at : NULL, (socklen_t)length));
	putchar('>');
	get(fd, o, 16, 16, false);
}

static void sets_of(int fd, const struct option_name *o)
{
	static const int values[] = { 1, 0, -1, 2, 7, 60, 1000, INT_MAX, INT_MIN };
	static const int lengths[] = { 0, 1, 2, 3, 8, 12, 16, 20, 40, 136, 256, 4096, ROOM };

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		printf("4:%d=", values[i]);
		set(fd, o, 4, 4, &values[i]);
	}
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		printf("%d:1=", lengths[i]);
		set(fd, o, lengths[i], (size_t)lengths[i], &values[0]);
	}
	printf("4/2:1=");
	set(fd, o, 4, 2, &values[0]);
	printf("-1:1=");
	set(fd, o, -1, 4, &values[0]);
	printf("INT_MAX:1=");
	set(fd, o, INT_MAX, ROOM, &values[0]);
	printf("NULL:4=");
	set(fd, o, 4, 0, NULL);
	printf("NULL:0=");
	set(fd, o, 0, 0, NULL);
	putchar('\n');
}

static void walk_one(enum state state, const struct option_name *o)
{
	int fd = make(state);

	printf("%s/%s/%s get: ", state_names[state], o->level_name, o->name);
	gets_of(fd, o);
	printf("%s/%s/%s set: ", state_names[state], o->level_name, o->name);
	sets_of(fd, o);
	close(fd);
	if (state >= CONNECTED)
		peer_do(PEER, PEER_CLOSE, 0);
}

/* True the first time that a number of a level comes by. */
static bool is_new(const struct option_name *o)
{
	for (const struct option_name *p = option_names; p != o && p->name; p++)
		if (p->level == o->level && p->number == o->number)
			return false;
	return true;
}

static void walk(enum state state)
{
	char name[16];

	for (const struct option_name *o = option_names; o->name; o++)
		if (is_new(o))
			walk_one(state, o);
	for (const struct option_name *o = option_names; o->name; o++) {
		if (o != option_names && o->level == o[-1].level)
			continue;
		for (int n = 0; n < NUMBERS; n++) {
			struct option_name unnamed = { o->level_name, name, o->level, n };
			const struct option_name *p = option_names;

			while (p->name && (p->level != o->level || p->number != n))
				p++;
			snprintf(name, sizeof(name), "%d", n);
			if (!p->name)
				walk_one(state, &unnamed);
		}
	}
}

static void script(const char *kind)
{
	static char buffer[1 << 16];

	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	must(kind && strlen(kind) >= 4, "kind");
	type = kind[0] == 'u' ? SOCK_DGRAM : SOCK_STREAM;
	family = kind[3] == '4' ? AF_INET : AF_INET6;
	room = mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(room != MAP_FAILED && munmap(room + ROOM, PAGE) == 0, "mmap");
	if (strstr(kind, "-nobody"))
		must(geteuid() || (setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
				   setresuid(NOBODY, NOBODY, NOBODY) == 0), "become nobody");
	for (int s = 0; s < STATES; s++)
		if (type == SOCK_STREAM || s == UNNAMED || s == BOUND || s == CONNECTED)
			walk((enum state)s);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--script")) {
		script(argv[2]);
		return 0;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: option_walk MW KIND\n");
		return 2;
	}
	return transcript_compare(argv[1], argv[2]);
}
