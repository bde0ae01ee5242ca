// SPDX-License-Identifier: Apache-2.0
/*
 * udp_plain.c - UDP sockets read by read() and asked by recvmsg() in turns, natively and under `mw run`.
 * Trust: a test's own processes.
 *
 * Usage: udp_plain MW. On the stream lane read() is the doorbell's own, which has no word in who sent what.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "test/same/transcript.h"
#include "test/same/udp.h"

/* recvmsg: bytes, whether the sender's name is there and right, and which control data. */
static void ask(const char *what, int fd, int flags, const struct end *from)
{
	char b[100], control[256];
	struct sockaddr_in in = { 0 };
	struct iovec v = { b, sizeof(b) };
	struct msghdr m = { .msg_name = &in, .msg_namelen = sizeof(in), .msg_iov = &v, .msg_iovlen = 1,
			    .msg_control = control, .msg_controllen = sizeof(control) };

	ssize_t r = recvmsg(fd, &m, flags);

	udp_say(what, r);
	if (r < 0)
		return;
	printf("name %u %d, flags %x, control", m.msg_namelen, in.sin_port == htons(from->port), (unsigned int)m.msg_flags);
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h && m.msg_controllen <= sizeof(control); h = CMSG_NXTHDR(&m, h))
		printf(" %d %d", h->cmsg_level, h->cmsg_type);
	putchar('\n');
}

static void unread(int fd)
{
	int n = -1;

	udp_say("FIONREAD", ioctl(fd, FIONREAD, &n));
	printf("%d\n", n);
}

static void in_turns(struct end *a, struct end *b)
{
	char to[3][10];
	struct iovec parts[] = { { to[0], 4 }, { to[1], 10 }, { to[2], 10 } };

	for (int i = 0; i < 8; i++)
		udp_send(b->fd, i == 3 ? 0 : 10 + i, 0, a);
	udp_ready(a->fd);
	udp_pause();
	unread(a->fd);
	udp_say("read", read(a->fd, to, sizeof(to)));
	ask("peek", a->fd, MSG_PEEK, b);
	udp_say("readv", readv(a->fd, parts, 3));
	ask("recvmsg", a->fd, 0, b);
	unread(a->fd);
	udp_say("read of an empty one", read(a->fd, to, sizeof(to)));
	unread(a->fd);
	udp_say("connect", connect(a->fd, (struct sockaddr *)&b->ss, b->len));
	udp_say("read what came before", read(a->fd, to, sizeof(to)));
	ask("recvmsg", a->fd, 0, b);
	udp_say("read a part", read(a->fd, to, 5));
	udp_say("write", write(a->fd, "answer", 6));
	udp_take("it has", b->fd, 100, 0, a);
	udp_say("the last", read(a->fd, to, sizeof(to)));
	unread(a->fd);
}

static void controls(struct end *a, struct end *b)
{
	int on = 1;

	udp_say("IP_PKTINFO", setsockopt(a->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)));
	udp_say("IP_RECVTTL", setsockopt(a->fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)));
	udp_send(b->fd, 10, 0, a);
	udp_ready(a->fd);
	ask("connected, with control data", a->fd, 0, b);
}

static void two_later(const struct end *from, const struct end *to)
{
	if (fork())
		return;
	usleep(200000);
	udp_send(from->fd, 1, 0, to);
	udp_send(from->fd, 2, 0, to);
	_exit(0);
}

/* recvmmsg()'s time is looked at when a message has come. */
static void timed(const struct end *a, const struct end *b)
{
	struct timespec bad = { 0, -1 }, least = { 0, 1 }, ample = { 5, 0 }, soon = { 0, 100000000 };
	struct mmsghdr m[3] = { 0 };
	char to[3][10];
	struct iovec v[3];

	for (int i = 0; i < 3; i++) {
		v[i] = (struct iovec){ to[i], sizeof(to[i]) };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1 };
	}
	udp_say("a bad time", recvmmsg(a->fd, m, 3, 0, &bad));
	udp_say("a wrong address", recvmmsg(a->fd, m, 3, 0, (struct timespec *)(uintptr_t)1));
	for (int i = 0; i < 3; i++)
		udp_send(b->fd, 1 + i, 0, a);
	udp_ready(a->fd);
	udp_pause();
	udp_say("time for one", recvmmsg(a->fd, m, 3, 0, &least));
	udp_say("time for all", recvmmsg(a->fd, m, 2, 0, &ample));
	two_later(b, a);
	udp_say("time that is over when the first comes", recvmmsg(a->fd, m, 2, 0, &soon));
	wait(NULL);
	udp_pause();
	udp_say("the second", recvmmsg(a->fd, m, 2, MSG_DONTWAIT, NULL));
	printf("left: %ld, %ld, %ld s\n", (long)least.tv_sec + least.tv_nsec, (long)ample.tv_sec, (long)soon.tv_sec + soon.tv_nsec);
}

/* Asked by calls that hear of it on both lanes, one of which waits. */
static void refusals(void)
{
	struct end gone = udp_bound(AF_INET, "127.0.0.1");
	int fd = socket(AF_INET, SOCK_DGRAM, 0), error = 0;
	socklen_t n = sizeof(error);

	close(gone.fd);
	udp_say("connect", connect(fd, (struct sockaddr *)&gone.ss, gone.len));
	for (int i = 0; i < 3; i++) {
		udp_say("write", write(fd, "x", 1));
		if (i)
			udp_pause();
		if (i == 2) {
			udp_say("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n));
			printf("%s\n", strerrorname_np(error));
		} else {
			ask("recvmsg", fd, 0, &gone);
		}
		udp_look("told", fd);
	}
	close(fd);
}

/* More than may wait: what comes through of each sender is in order, and has its name. */
static void overrun(struct end *a, struct end *b)
{
	struct end c = udp_bound(AF_INET, "127.0.0.1");
	struct sockaddr_in in;
	int wrong = 0, got = 0, last[2] = { -1, -1 }, v;
	socklen_t n = sizeof(in);

	for (int i = 0; i < 2000; i++)
		sendto(i % 3 ? b->fd : c.fd, &i, sizeof(i), 0, (struct sockaddr *)&a->ss, a->len);
	for (int before = -1; before != got; udp_pause()) {
		before = got;
		while (recvfrom(a->fd, &v, sizeof(v), MSG_DONTWAIT, (struct sockaddr *)&in, &n) == sizeof(v)) {
			wrong += v <= last[!(v % 3)] || in.sin_port != htons(v % 3 ? b->port : c.port);
			last[!(v % 3)] = v;
			got++;
		}
	}
	printf("many: %d, wrong: %d\n", got > 100, wrong);
	close(c.fd);
}

static void script(const char *only)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");

	(void)only;
	overrun(&a, &b);
	in_turns(&a, &b);
	controls(&a, &b);
	timed(&a, &b);
	refusals();
}

int main(int argc, char **argv)
{
	alarm(60);
	return transcript_main(argc, argv, script);
}
