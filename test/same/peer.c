// SPDX-License-Identifier: Apache-2.0
/*
 * peer.c - see peer.h.
 * Trust: a test's own processes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/same/peer.h"

#define STUFF 3

static int listener = -1, conn = -1, stuffed = -1, stuffing[STUFF];
static uint32_t sent, read_total, wrong;
static const int receive_bytes = 64 << 10; /* fixed, so that a window which closed stays closed */

static int listen_on_any(int backlog)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || (backlog >= 0 && listen(fd, backlog) < 0))
		abort();
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_in a;
	socklen_t n = sizeof(a);

	return getsockname(fd, (struct sockaddr *)&a, &n) < 0 ? -errno : ntohs(a.sin_port);
}

static int dial(int port, int flags)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -errno;
	}
	return fd;
}

static void drop(void)
{
	if (conn >= 0)
		close(conn);
	conn = -1;
	sent = read_total = wrong = 0;
}

static int32_t send_pattern(int32_t n)
{
	for (int32_t left = n; left;) {
		uint8_t b[4096];
		int32_t part = left < (int32_t)sizeof(b) ? left : (int32_t)sizeof(b);
		ssize_t r;

		for (int32_t i = 0; i < part; i++)
			b[i] = (uint8_t)((sent + (uint32_t)i) % 251);
		r = send(conn, b, (size_t)part, MSG_NOSIGNAL);
		if (r < 0)
			return -errno;
		sent += (uint32_t)r;
		left -= (int32_t)r;
	}
	return n;
}

static int32_t read_pattern(int32_t n)
{
	int32_t got = 0;

	while (got < n) {
		uint8_t b[65536];
		size_t part = (size_t)(n - got) < sizeof(b) ? (size_t)(n - got) : sizeof(b);
		ssize_t r = recv(conn, b, part, 0);

		if (r <= 0)
			return r < 0 && !got ? -errno : got;
		for (ssize_t i = 0; i < r; i++, read_total++)
			wrong += b[i] != read_total % 251;
		got += (int32_t)r;
	}
	return got;
}

static int32_t stuff(void)
{
	stuffed = listen_on_any(0);
	for (int i = 0; i < STUFF; i++)
		stuffing[i] = dial(port_of(stuffed), SOCK_NONBLOCK);
	return port_of(stuffed);
}

/* Makes room in the queue: the next to come in is the test's own, for the others have given up. */
static int32_t unstuff(void)
{
	struct pollfd p = { .fd = stuffed, .events = POLLIN };

	for (int i = 1; i < STUFF; i++)
		close(stuffing[i]);
	drop();
	close(accept4(stuffed, NULL, NULL, SOCK_CLOEXEC));
	close(stuffing[0]);
	if (poll(&p, 1, 8000) > 0)
		conn = accept4(stuffed, NULL, NULL, SOCK_CLOEXEC);
	close(stuffed);
	return conn < 0 ? -ETIMEDOUT : 0;
}

static int32_t obey(const struct peer_cmd *c)
{
	struct linger now = { .l_onoff = 1 };

	switch (c->op) {
	case PEER_PORT:
		return port_of(listener);
	case PEER_ACCEPT:
		drop();
		conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		return conn < 0 ? -errno : 0;
	case PEER_CONNECT:
		drop();
		conn = dial(c->arg, 0);
		return conn < 0 ? conn : 0;
	case PEER_SEND:
		return send_pattern(c->arg);
	case PEER_PROMPT:
		return setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)) < 0 ? -errno : 0;
	case PEER_READ:
		return read_pattern(c->arg);
	case PEER_CHECK:
		read_pattern(INT32_MAX);
		return wrong ? -EBADMSG : (int32_t)read_total;
	case PEER_FIN:
		return shutdown(conn, SHUT_WR) < 0 ? -errno : 0;
	case PEER_RESET:
		setsockopt(conn, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		drop();
		return 0;
	case PEER_CLOSE:
		drop();
		return 0;
	case PEER_STUFF:
		return stuff();
	case PEER_UNSTUFF:
		return unstuff();
	case PEER_REFUSE:
		close(stuffed);
		for (int i = 0; i < STUFF; i++)
			close(stuffing[i]);
		return 0;
	case PEER_DEAD: {
		int fd = listen_on_any(-1), port = port_of(fd);

		close(fd);
		return port;
	}
	}
	return -EINVAL;
}

int peer_start(void)
{
	struct peer_cmd c;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		abort();
	fflush(NULL);
	switch (fork()) {
	case -1:
		abort();
	case 0:
		close(pair[0]);
		fcntl(pair[1], F_SETFD, FD_CLOEXEC);
		listener = listen_on_any(16);
		while (recv(pair[1], &c, sizeof(c), 0) == sizeof(c)) {
			int32_t r = obey(&c);

			if (send(pair[1], &r, sizeof(r), MSG_NOSIGNAL) < 0)
				break;
		}
		_exit(0);
	}
	close(pair[1]);
	return pair[0];
}

int32_t peer_do(int channel, enum peer_op op, int32_t arg)
{
	struct peer_cmd c = { .op = op, .arg = arg };
	int32_t r;

	if (send(channel, &c, sizeof(c), 0) < 0 || recv(channel, &r, sizeof(r), 0) != sizeof(r)) {
		fprintf(stderr, "the peer is gone\n");
		exit(1);
	}
	return r;
}
