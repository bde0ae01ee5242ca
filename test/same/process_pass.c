// SPDX-License-Identifier: Apache-2.0
/*
 * process_pass.c - sockets that go from process to process in messages.
 * Trust: a test's own processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/process.h"

#define MANY 10

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(MANY * sizeof(int))];
};

static ssize_t give(int to, const int *fds, int count)
{
	union control c;
	struct iovec iov = { .iov_base = (void *)(unsigned long)"m", .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes,
			    .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int)) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	memset(&c, 0, sizeof(c));
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
	memcpy(CMSG_DATA(h), fds, (size_t)count * sizeof(int));
	return sendmsg(to, &m, 0);
}

/* How many arrived. */
static int get(int from, int *fds, int room, int flags, int *said)
{
	union control c;
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes,
					  .msg_controllen = CMSG_SPACE((size_t)room * sizeof(int)) } };
	struct cmsghdr *h;
	int n;

	if (flags & MSG_WAITFORONE ? recvmmsg(from, &m, 1, flags, NULL) < 0 : recvmsg(from, &m.msg_hdr, flags) < 0)
		return -1;
	if (said)
		*said = m.msg_hdr.msg_flags;
	h = CMSG_FIRSTHDR(&m.msg_hdr);
	if (!h)
		return 0;
	n = (int)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fds, CMSG_DATA(h), (size_t)n * sizeof(int));
	return n;
}

static void channel(int ends[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		abort();
}

/* A child that never had the socket gets it, and does `run` with it. */
static void handed(int fd, void (*run)(int), int flags)
{
	int ends[2], got = -1;
	ssize_t given;
	pid_t pid;

	channel(ends);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		close(fd);
		say("received: %d", get(ends[1], &got, 1, flags, NULL));
		say("close-on-exec: %d", fcntl(got, F_GETFD));
		run(got);
		_exit(0);
	}
	given = give(ends[0], &fd, 1);
	close(fd);
	close(ends[0]);
	close(ends[1]);
	say("child: %s", end_of(pid));
	say("given: %zd", given);
}

static void use_connected(int fd)
{
	talk(fd, "passed");
}

static void connected(void)
{
	handed(dial(), use_connected, 0);
	say("peer then reads: %d", peer_do(PEER, PEER_READ, 1));
	handed(dial(), use_connected, MSG_CMSG_CLOEXEC);
	handed(dial(), use_connected, MSG_WAITFORONE);
}

static void use_listener(int fd)
{
	int c = accept(fd, NULL, NULL);

	talk(c, "accepted from the passed one");
}

static void listener(void)
{
	int port, fd = listening(&port);

	peer_do(PEER, PEER_CONNECT, port);
	handed(fd, use_listener, 0);
}

static void use_pending(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	say("unstuffed: %d", peer_do(PEER, PEER_UNSTUFF, 0));
	say("poll: %d", poll(&p, 1, 10000));
	fcntl(fd, F_SETFL, 0);
	talk(fd, "connected meanwhile");
}

static void connecting(void)
{
	handed(pending(), use_pending, 0);
}

static void many(void)
{
	int fds[MANY], got[MANY], ends[2], n, ok = 0, port, l = listening(&port);
	char c;

	channel(ends);
	for (int i = 0; i < MANY; i++)
		fds[i] = dial_port(port, 0);
	say("given: %s", word(give(ends[0], fds, MANY)));
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	n = get(ends[1], got, MANY, 0, NULL);
	for (int i = 0; i < n; i++) {
		int a = accept(l, NULL, NULL);

		ok += send(got[i], "x", 1, 0) == 1 && recv(a, &c, 1, 0) == 1 && send(a, "y", 1, 0) == 1 &&
		      recv(got[i], &c, 1, 0) == 1;
		close(a);
	}
	say("%d received, %d work", n, ok);
}

static void peeked(void)
{
	int fd = dial(), ends[2], got[2] = { -1, -1 };

	channel(ends);
	give(ends[0], &fd, 1);
	close(fd);
	say("peeked: %d", get(ends[1], &got[0], 1, MSG_PEEK, NULL));
	say("taken: %d", get(ends[1], &got[1], 1, 0, NULL));
	talk(got[0], "the peeked one");
	close(got[0]);
	talk(got[1], "the taken one");
}

static void truncated(void)
{
	int fds[2] = { dial(), -1 }, ends[2], got[MANY] = { -1 }, said = 0, n;

	fds[1] = dup(fds[0]);
	channel(ends);
	give(ends[0], fds, 2);
	close(fds[1]);
	n = get(ends[1], got, 1, 0, &said);
	say("room for less: %d received, truncated %d", n, !!(said & MSG_CTRUNC));
	talk(got[0], "the first");
	close(got[0]);
	close(got[1]);
	close(fds[0]);
	say("peer then reads: %d", peer_do(PEER, PEER_READ, 1));
}

/* What nobody receives is closed with the channel. */
static void in_flight(void)
{
	int fd = dial(), ends[2];

	channel(ends);
	give(ends[0], &fd, 1);
	close(fd);
	close(ends[0]);
	close(ends[1]);
	say("peer reads: %d", peer_do(PEER, PEER_READ, 1));
}

/* The number was a socket's before, and is a file's or another socket's now. */
static void numbers_again(void)
{
	int fd = dial(), ends[2], null = open("/dev/null", O_RDWR), got = -1;

	channel(ends);
	give(ends[0], &null, 1);
	close(fd);
	get(ends[1], &got, 1, 0, NULL);
	say("same number: %d, a file: %s", got == fd, word(write(got, "x", 1)));
	close(got);
	fd = dial();
	talk(fd, "a socket in its place");
}

const struct script pass_scripts[] = {
	{ "connected", connected }, { "listener", listener }, { "connecting", connecting }, { "many", many },
	{ "peeked", peeked }, { "truncated", truncated }, { "in-flight", in_flight }, { "numbers-again", numbers_again },
	{ NULL, NULL },
};
