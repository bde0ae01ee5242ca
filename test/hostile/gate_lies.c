// SPDX-License-Identifier: Apache-2.0
/*
 * gate_lies.c - a protected process that finds connections which the gate still holds, and acts on them.
 * Trust: none; the INS must refuse every request for one, send nothing for it, and end it alone when its words are impossible.
 *
 * Usage: gate_lies MW. Runs itself under `mw run --gate data`; it speaks to the INS by itself and writes the arena as it likes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "chan/arena.h"
#include "chan/msg.h"
#include "lib/fdpass.h"
#include "link/memfd.h"

static struct mw_view view;
static int ins, kick, number, seq;

static void said(bool good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++number, what);
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The reply's status; descriptors that came with it, if there is room. */
static int ask(struct mw_req *q, uint32_t op, int fd, int *fds, int *count)
{
	uint8_t raw[4096];
	struct mw_reply r;
	int none = 0;

	msg_request_seal(q, op, (uint32_t)++seq);
	must(fdpass_send(ins, q, q->bytes, &fd, fd >= 0, 0) == q->bytes, "ask");
	must(fdpass_recv(ins, raw, sizeof(raw), fds, count ? count : &none, 0) >= (ssize_t)sizeof(r), "answer");
	memcpy(&r, raw, sizeof(r));
	must(r.seq == q->seq, "its answer");
	return r.status;
}

static void attach(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct mw_req q = { .u.hello.version = MW_VERSION };
	int fds[2], count = 2;
	struct stat st;
	void *base;

	memcpy(un.sun_path, MW_CONNECT_NAME, sizeof(MW_CONNECT_NAME) - 1);
	ins = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	must(connect(ins, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(MW_CONNECT_NAME) - 1)) == 0,
	     "connect to the INS");
	must(ask(&q, MW_OP_HELLO, -1, fds, &count) == 0 && count == 2 && fstat(fds[0], &st) == 0, "hello");
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	must(base != MAP_FAILED && arena_check(&view, base, (uint64_t)st.st_size) == 0, "map the arena");
	kick = fds[1];
}

static struct mw_slot *slot_at(uint32_t i)
{
	return (struct mw_slot *)(mw_uintptr)arena_slot(&view, i);
}

/* A slot that is in use with that peer port, or -1. */
static int find(uint16_t port)
{
	for (uint32_t i = 0; i < view.slots; i++)
		if (slot_at(i)->ins.gen & 1 && slot_at(i)->names.peer.port == port && slot_at(i)->ins.state == MW_ST_ESTABLISHED &&
		    !slot_at(i)->ins.cookie)
			return (int)i;
	return -1;
}

static int dial(const struct sockaddr_in *to, int *slot)
{
	struct sockaddr_in own;
	socklen_t n = sizeof(own);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0 && getsockname(fd, (struct sockaddr *)&own, &n) == 0, "connect");
	for (int i = 0; (*slot = find(ntohs(own.sin_port))) < 0 && i < 200; i++)
		usleep(10000);
	must(*slot >= 0, "find the held connection");
	return fd;
}

/* How many requests for it were not refused as they must be: AGAIN is for what has failed to connect, whoever holds it. */
static int requests(uint32_t slot)
{
	int wrong = 0, pair[2];

	for (uint32_t op = MW_OP_SOCKET + 1; op < MW_OP_GRANT; op++) { /* the others are a door's */
		struct mw_req q = { .slot = slot, .gen = slot_at(slot)->ins.gen };
		bool carries = op == MW_OP_STREAM || op == MW_OP_AGAIN;
		int r, wanted = op == MW_OP_AGAIN ? -EINVAL : -EBADF;

		must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
		if (op == MW_OP_BIND || op == MW_OP_CONNECT)
			q.u.addr.family = MW_FAMILY_IP4;
		r = ask(&q, op, carries ? pair[1] : -1, NULL, NULL);
		if (r != wanted)
			printf("# request %u: %d\n", op, r);
		wrong += r != wanted;
		close(pair[0]);
		close(pair[1]);
	}
	return wrong;
}

static void serve(uint32_t slot)
{
	uint64_t one = 1;

	ready_mark(&view, slot);
	must(write(kick, &one, sizeof(one)) == sizeof(one), "kick");
}

static bool silent(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 300) == 0;
}

static bool passes(int client, int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	char c = 0;
	int fd;

	if (send(client, "x", 1, MSG_NOSIGNAL) != 1 || poll(&p, 1, 5000) != 1 || (fd = accept(listener, NULL, NULL)) < 0)
		return false;
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	if (poll(&p, 1, 5000) != 1 || recv(fd, &c, 1, 0) != 1 || c != 'x')
		return false;
	close(fd);
	return true;
}

static bool was_reset(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, 5000) == 1 && recv(fd, &c, 1, 0) < 0 && errno == ECONNRESET;
}

static int liar(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), a, b, c, first, second, third;

	must(bind(listener, (struct sockaddr *)&at, n) == 0 && listen(listener, 16) == 0 &&
	     getsockname(listener, (struct sockaddr *)&at, &n) == 0, "listen");
	attach();
	first = dial(&at, &a);
	second = dial(&at, &b);
	third = dial(&at, &c);
	said(requests((uint32_t)a) == 0, "no request is answered for a connection that is held");
	mw_store_release(&slot_at((uint32_t)a)->app.tx_prod, (uint64_t)100);
	mw_store(&slot_at((uint32_t)a)->app.flags, MW_APP_SHUT_RD | MW_APP_SHUT_WR);
	serve((uint32_t)a);
	said(silent(first), "nothing is sent for it");
	mw_store_release(&slot_at((uint32_t)b)->app.rx_cons, (uint64_t)123456789);
	said(send(second, "x", 1, MSG_NOSIGNAL) == 1 && was_reset(second), "one whose words are impossible is reset");
	said(passes(third, listener), "another does not notice, and goes on");
	printf("1..%d\n", number);
	return 0;
}

int main(int argc, char **argv)
{
	char self[4096] = { 0 };

	if (argc < 2) {
		fprintf(stderr, "usage: gate_lies MW\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(argv[1], "--liar"))
		return liar();
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) > 0)
		execl(argv[1], "mw", "run", "--net", "host", "--gate", "data", "--", self, "--liar", (char *)NULL);
	return 1;
}
