// SPDX-License-Identifier: Apache-2.0
/*
 * view.c - see view.h.
 * Trust: a test's own processes.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/view.h"

#define WAIT_MS 2000
/* Not WRBAND: an AF_UNIX socket always adds it to OUT, TCP never does, and nobody waits for it. */
#define ALL (POLLIN | POLLPRI | POLLOUT | POLLRDHUP)

struct order {
	uint32_t op, arg;
};

const char *const view_names[VIEWS] = { "self", "dup", "child", "passed" };
static int helper = -1;
static volatile sig_atomic_t sigpipes;

const char *view_mask(uint32_t mask)
{
	static const struct { uint32_t bit; const char *name; } names[] = {
		{ POLLIN, "IN" }, { POLLPRI, "PRI" }, { POLLOUT, "OUT" }, { POLLRDHUP, "RDHUP" },
		{ POLLERR, "ERR" }, { POLLHUP, "HUP" }, { POLLNVAL, "NVAL" },
	};
	static char text[8][64];
	static unsigned int turn;
	char *t = text[turn++ % 8];

	strcpy(t, mask ? "" : "-");
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(mask & names[i].bit))
			continue;
		if (*t)
			strcat(t, "|");
		strcat(t, names[i].name);
	}
	return t;
}

static void on_sigpipe(int sig)
{
	(void)sig;
	sigpipes++;
}

static uint32_t wait_once(int ep)
{
	struct epoll_event e = { 0 };

	return epoll_wait(ep, &e, 1, 0) > 0 ? e.events : 0;
}

static uint32_t look_select(int fd)
{
	fd_set in, out, pri;
	struct timeval none = { 0, 0 };

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&pri);
	FD_SET(fd, &in);
	FD_SET(fd, &out);
	FD_SET(fd, &pri);
	if (select(fd + 1, &in, &out, &pri, &none) < 0)
		return POLLNVAL;
	return (FD_ISSET(fd, &in) ? POLLIN : 0) | (FD_ISSET(fd, &out) ? POLLOUT : 0) | (FD_ISSET(fd, &pri) ? POLLPRI : 0);
}

static uint32_t look_epoll(int fd, uint32_t extra)
{
	struct epoll_event e = { .events = (extra & EPOLLEXCLUSIVE ? EPOLLIN | EPOLLOUT : ALL) | extra };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	uint32_t r = POLLNVAL;

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0)
		r = wait_once(ep);
	close(ep);
	return r;
}

static void look_once(int fd, struct look *l)
{
	struct epoll_event e = { .events = ALL | EPOLLONESHOT };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	l->once = wait_once(ep);
	l->once_again = wait_once(ep);
	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
	l->once_rearmed = wait_once(ep);
	close(ep);
}

static uint32_t look_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = ALL };

	return poll(&p, 1, 0) > 0 ? (uint16_t)p.revents : 0;
}

static struct look look(int fd, uint32_t expected)
{
	struct look l = { 0 };

	for (int ms = 0; ms < WAIT_MS && look_poll(fd) != expected; ms++)
		usleep(1000);
	l.poll = look_poll(fd);
	l.select = look_select(fd);
	l.level = look_epoll(fd, 0);
	look_once(fd, &l);
	l.exclusive = look_epoll(fd, EPOLLEXCLUSIVE);
	return l;
}

static int take_error(int fd)
{
	int error = 0;
	socklen_t n = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 ? -errno : error;
}

static struct act perform(int fd, const struct order *o)
{
	static char bytes[1 << 20];
	struct act a = { 0 };

	sigpipes = 0;
	errno = 0;
	switch (o->op) {
	case DO_LOOK:
		a.look = look(fd, o->arg);
		break;
	case DO_READ:
		a.r = (int32_t)recv(fd, bytes, o->arg, MSG_DONTWAIT);
		break;
	case DO_WRITE:
		a.r = (int32_t)send(fd, bytes, o->arg, MSG_DONTWAIT);
		break;
	case DO_ERROR:
		a.r = take_error(fd);
		break;
	case DO_SHUTDOWN:
		a.r = shutdown(fd, (int)o->arg);
		break;
	}
	a.error = a.r < 0 ? errno : 0;
	a.sigpipe = sigpipes;
	return a;
}

static struct act in_child(int fd, const struct order *o)
{
	struct act a = { .r = -1, .error = ECHILD };
	int p[2];
	pid_t pid;

	if (pipe(p) < 0)
		abort();
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		a = perform(fd, o);
		_exit(write(p[1], &a, sizeof(a)) != sizeof(a));
	}
	close(p[1]);
	if (read(p[0], &a, sizeof(a)) != sizeof(a))
		a.error = ECHILD;
	close(p[0]);
	waitpid(pid, NULL, 0);
	return a;
}

union rights {
	char space[CMSG_SPACE(sizeof(int))];
	struct cmsghdr h;
};

static struct act in_helper(int fd, struct order *o)
{
	union rights c = { .h = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { o, sizeof(*o) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.space, .msg_controllen = sizeof(c.space) };
	struct act a = { .r = -1, .error = ECHILD };

	memcpy(CMSG_DATA(&c.h), &fd, sizeof(fd));
	if (sendmsg(helper, &m, 0) < 0 || recv(helper, &a, sizeof(a), 0) != sizeof(a))
		a.error = ECHILD;
	return a;
}

/* A process that was forked before any socket was made: all it knows is what it is passed. */
static void serve(int channel)
{
	for (;;) {
		union rights c;
		struct order o;
		struct iovec iov = { &o, sizeof(o) };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.space, .msg_controllen = sizeof(c.space) };
		struct act a;
		int fd;

		if (recvmsg(channel, &m, 0) <= 0)
			_exit(0);
		memcpy(&fd, CMSG_DATA(&c.h), sizeof(fd));
		a = perform(fd, &o);
		close(fd);
		if (send(channel, &a, sizeof(a), MSG_NOSIGNAL) < 0)
			_exit(0);
	}
}

void view_start(void)
{
	struct sigaction sa = { .sa_handler = on_sigpipe };
	int pair[2];

	sigaction(SIGPIPE, &sa, NULL);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		abort();
	fflush(NULL);
	if (fork() == 0) {
		close(pair[0]);
		serve(pair[1]);
	}
	close(pair[1]);
	helper = pair[0];
}

void view_stop(void)
{
	close(helper);
	helper = -1;
	wait(NULL);
}

struct act view_do(enum view v, int fd, enum view_op op, uint32_t arg)
{
	struct order o = { (uint32_t)op, arg };
	struct act a;
	int copy;

	switch (v) {
	case VIEW_DUP:
		copy = dup(fd);
		a = perform(copy, &o);
		close(copy);
		return a;
	case VIEW_CHILD:
		return in_child(fd, &o);
	case VIEW_PASSED:
		return in_helper(fd, &o);
	default:
		return perform(fd, &o);
	}
}
