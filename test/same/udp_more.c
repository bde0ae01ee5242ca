// SPDX-License-Identifier: Apache-2.0
/*
 * udp_more.c - more of udp.c's scripts: control data, multicast, many at once, processes and threads.
 * Trust: a test's own processes.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "test/same/udp.h"

union control {
	struct cmsghdr h;
	char space[512];
};

static void on(int fd, int level, int name)
{
	int one = 1;

	udp_say("option", setsockopt(fd, level, name, &one, sizeof(one)));
}

/* --- waiting --- */

void more_blocking(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1");
	struct timeval t = { 0, 200000 };
	struct timespec before, after;
	char c;

	udp_say("recv, MSG_DONTWAIT", recv(a.fd, &c, 1, MSG_DONTWAIT));
	fcntl(a.fd, F_SETFL, O_NONBLOCK);
	udp_say("recv, O_NONBLOCK", recv(a.fd, &c, 1, 0));
	udp_say("read, O_NONBLOCK", read(a.fd, &c, 1));
	fcntl(a.fd, F_SETFL, 0);
	udp_say("SO_RCVTIMEO", setsockopt(a.fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	clock_gettime(CLOCK_MONOTONIC, &before);
	udp_say("recv", recv(a.fd, &c, 1, 0));
	clock_gettime(CLOCK_MONOTONIC, &after);
	printf("waited: %d\n", (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 190000000);
	udp_say("to itself", udp_send(a.fd, 7, 0, &a));
	udp_take("it has", a.fd, 10, 0, &a);
}

static void on_alarm(int sig)
{
	(void)sig;
}

void more_wait(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval t = { .it_value = { 0, 100000 } };
	char c;

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
	udp_say("interrupted", recv(a.fd, &c, 1, 0));
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, NULL);
	fflush(stdout);
	if (fork() == 0) {
		udp_pause();
		udp_pause();
		udp_send(b.fd, 1, 0, &a);
		_exit(0);
	}
	setitimer(ITIMER_REAL, &t, NULL);
	udp_say("restarted", recv(a.fd, &c, 1, 0));
	wait(NULL);
}

/* --- control data --- */

static void show_piece(const struct cmsghdr *h)
{
	const void *p = CMSG_DATA(h);
	char one[64] = "", two[64] = "";
	int value = 0;

	printf("  level %d type %d length %zu", h->cmsg_level, h->cmsg_type, h->cmsg_len);
	if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO && h->cmsg_len >= CMSG_LEN(sizeof(struct in_pktinfo))) {
		struct in_pktinfo i;

		memcpy(&i, p, sizeof(i));
		printf(" if %d %s %s", i.ipi_ifindex, inet_ntop(AF_INET, &i.ipi_addr, one, 64),
		       inet_ntop(AF_INET, &i.ipi_spec_dst, two, 64));
	} else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
		struct in6_pktinfo i;

		memcpy(&i, p, sizeof(i));
		printf(" if %u %s", i.ipi6_ifindex, inet_ntop(AF_INET6, &i.ipi6_addr, one, 64));
	} else if (h->cmsg_level != SOL_SOCKET) {
		memcpy(&value, p, h->cmsg_len - CMSG_LEN(0) < 4 ? h->cmsg_len - CMSG_LEN(0) : 4);
		printf(" value %d", value);
	}
	putchar('\n');
}

static void take_control(const char *what, int fd, size_t room)
{
	union control c;
	char bytes[100], name[128];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr m = { .msg_name = name, .msg_namelen = sizeof(name), .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = c.space, .msg_controllen = room };
	ssize_t n;
	int behind = 0;

	memset(&c, 0x77, sizeof(c));
	udp_ready(fd);
	n = recvmsg(fd, &m, 0);
	printf("%s: %zd, %zu of %zu bytes of control, flags %x, name %u\n", what, n, m.msg_controllen, room,
	       (unsigned int)m.msg_flags, m.msg_namelen);
	for (struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
		show_piece(h);
	for (size_t i = room; i < sizeof(c); i++)
		behind |= c.space[i] != 0x77;
	printf("  written behind: %d\n", behind);
}

static ssize_t send_control(int fd, const struct end *to, int level, int type, const void *value, size_t n)
{
	union control c = { 0 };
	struct iovec iov = { (char[]){ "abc" }, 3 };
	struct msghdr m = { .msg_name = (void *)(unsigned long)&to->ss, .msg_namelen = to->len, .msg_iov = &iov,
			    .msg_iovlen = 1, .msg_control = c.space, .msg_controllen = CMSG_SPACE(n) };

	c.h.cmsg_level = level;
	c.h.cmsg_type = type;
	c.h.cmsg_len = CMSG_LEN(n);
	memcpy(CMSG_DATA(&c.h), value, n);
	return sendmsg(fd, &m, 0);
}

void more_control(void)
{
	struct end a = udp_bound(AF_INET, "0.0.0.0"), b = udp_bound(AF_INET, "0.0.0.0");
	struct end to = udp_named(AF_INET, "127.0.0.1", a.port), other = udp_named(AF_INET, "127.9.9.9", a.port);
	struct in_pktinfo from = { .ipi_spec_dst = { htonl(0x7f000203) } }, bad = { .ipi_spec_dst = { htonl(0xc0000201) } };
	int ttl = 33, tos = 0x48, none = 0;

	udp_send(b.fd, 3, 0, &to);
	take_control("nothing asked for", a.fd, 300);
	on(a.fd, IPPROTO_IP, IP_PKTINFO);
	udp_send(b.fd, 3, 0, &to);
	take_control("IP_PKTINFO", a.fd, 300);
	on(a.fd, IPPROTO_IP, IP_RECVTTL);
	on(a.fd, IPPROTO_IP, IP_RECVTOS);
	udp_send(b.fd, 3, 0, &other);
	take_control("and TTL and TOS", a.fd, 300);
	udp_say("send with TTL", send_control(b.fd, &to, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)));
	take_control("it has", a.fd, 300);
	udp_say("send with TOS", send_control(b.fd, &to, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)));
	take_control("it has", a.fd, 300);
	for (int i = 0; i < 3; i++) {
		udp_say("send from", send_control(b.fd, &to, IPPROTO_IP, IP_PKTINFO, &from, sizeof(from)));
		udp_take("it has", a.fd, 100, 0, NULL);
	}
	udp_say("send from a foreign address", send_control(b.fd, &to, IPPROTO_IP, IP_PKTINFO, &bad, sizeof(bad)));
	udp_say("TTL 0", send_control(b.fd, &to, IPPROTO_IP, IP_TTL, &none, sizeof(none)));
	udp_say("setsockopt TTL", setsockopt(b.fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)));
	udp_send(b.fd, 3, 0, &to);
	take_control("it has", a.fd, 300);
}

void more_control6(void)
{
	struct end a = udp_bound(AF_INET6, "::"), b = udp_bound(AF_INET6, "::"), four = udp_bound(AF_INET, "127.0.0.1");
	struct end to = udp_named(AF_INET6, "::1", a.port), to4 = udp_named(AF_INET, "127.0.0.1", a.port);
	struct in6_pktinfo from = { .ipi6_addr = IN6ADDR_LOOPBACK_INIT, .ipi6_ifindex = 1 };
	int hops = 5, class = 0x20;

	on(a.fd, IPPROTO_IPV6, IPV6_RECVPKTINFO);
	on(a.fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
	on(a.fd, IPPROTO_IPV6, IPV6_RECVTCLASS);
	udp_send(b.fd, 3, 0, &to);
	take_control("over IPv6", a.fd, 300);
	udp_send(four.fd, 3, 0, &to4);
	take_control("over IPv4", a.fd, 300);
	udp_say("hop limit", send_control(b.fd, &to, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops)));
	take_control("it has", a.fd, 300);
	udp_say("class", send_control(b.fd, &to, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof(class)));
	take_control("it has", a.fd, 300);
	udp_say("from", send_control(b.fd, &to, IPPROTO_IPV6, IPV6_PKTINFO, &from, sizeof(from)));
	udp_take("it has", a.fd, 100, 0, NULL);
	from.ipi6_addr.s6_addr[0] = 0x20;
	udp_say("from a foreign address", send_control(b.fd, &to, IPPROTO_IPV6, IPV6_PKTINFO, &from, sizeof(from)));
}

void more_control_cut(void)
{
	static const size_t rooms[] = { 0, 8, 16, 20, 28, 32, 40, 56, 300 };
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");

	on(a.fd, IPPROTO_IP, IP_PKTINFO);
	on(a.fd, IPPROTO_IP, IP_RECVTTL);
	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		udp_send(b.fd, 3, 0, &a);
		take_control("room", a.fd, rooms[i]);
	}
}

void more_control_bad(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	union control c = { 0 };
	struct iovec iov = { (char[]){ "abc" }, 3 };
	struct msghdr m = { .msg_name = &a.ss, .msg_namelen = a.len, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.space };
	int fds[1] = { 1 }, ttl = 20;

	udp_say("descriptors", send_control(b.fd, &a, SOL_SOCKET, SCM_RIGHTS, fds, sizeof(fds)));
	udp_take("it has", a.fd, 10, 0, &b);
	udp_say("an unknown kind", send_control(b.fd, &a, IPPROTO_IP, 4711, &ttl, sizeof(ttl)));
	udp_say("an unknown level of the socket's", send_control(b.fd, &a, SOL_SOCKET, 4711, &ttl, sizeof(ttl)));
	udp_say("a TTL too short", send_control(b.fd, &a, IPPROTO_IP, IP_TTL, &ttl, 1));
	udp_say("IPv6 on IPv4", send_control(b.fd, &a, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof(ttl)));
	udp_take("it has", a.fd, 10, MSG_DONTWAIT, &b);
	for (size_t room = 0; room <= 32; room += 4) {
		for (size_t n = 0; n <= 40; n += 20) {
			c.h = (struct cmsghdr){ .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL, .cmsg_len = n };
			memcpy(CMSG_DATA(&c.h), &ttl, sizeof(ttl));
			m.msg_controllen = room;
			printf("room %zu, length %zu ", room, n);
			udp_say("sendmsg", sendmsg(b.fd, &m, 0));
		}
	}
}

void more_stamp(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	int off = 0;

	on(a.fd, SOL_SOCKET, SO_TIMESTAMP);
	udp_send(b.fd, 3, 0, &a);
	take_control("SO_TIMESTAMP", a.fd, 300);
	on(a.fd, SOL_SOCKET, SO_TIMESTAMPNS);
	udp_send(b.fd, 3, 0, &a);
	take_control("SO_TIMESTAMPNS", a.fd, 300);
	udp_say("off", setsockopt(a.fd, SOL_SOCKET, SO_TIMESTAMPNS, &off, sizeof(off)));
	udp_send(b.fd, 3, 0, &a);
	take_control("without", a.fd, 300);
}

/* --- multicast --- */

void more_multicast(void)
{
	struct end a = udp_bound(AF_INET, "0.0.0.0"), b = udp_bound(AF_INET, "127.0.0.1");
	struct end group = udp_named(AF_INET, "239.7.7.7", a.port);
	struct ip_mreq join = { { inet_addr("239.7.7.7") }, { inet_addr("127.0.0.1") } };
	struct in_addr lo = { inet_addr("127.0.0.1") };
	unsigned char ttl = 9, loop = 0;
	socklen_t n = sizeof(ttl);

	udp_say("interface", setsockopt(b.fd, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof(lo)));
	udp_say("before joining", udp_send(b.fd, 5, 0, &group));
	udp_take("none", a.fd, 10, MSG_DONTWAIT, NULL);
	udp_say("join", setsockopt(a.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join)));
	udp_say("join twice", setsockopt(a.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join)));
	on(a.fd, IPPROTO_IP, IP_PKTINFO);
	udp_say("to the group", udp_send(b.fd, 5, 0, &group));
	take_control("it has", a.fd, 300);
	udp_say("TTL", setsockopt(b.fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl)));
	ttl = 0;
	udp_say("and back", getsockopt(b.fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, &n));
	printf("%d, %u bytes\n", ttl, n);
	udp_say("loop off", setsockopt(b.fd, IPPROTO_IP, IP_MULTICAST_LOOP, &loop, sizeof(loop)));
	udp_say("leave", setsockopt(a.fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &join, sizeof(join)));
	udp_say("leave twice", setsockopt(a.fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &join, sizeof(join)));
	udp_say("to the group", udp_send(b.fd, 5, 0, &group));
	udp_take("none", a.fd, 10, MSG_DONTWAIT, NULL);
}

void more_multicast6(void)
{
	struct end a = udp_bound(AF_INET6, "::"), b = udp_bound(AF_INET6, "::1");
	struct end group = udp_named(AF_INET6, "ff01::4711", a.port);
	struct ipv6_mreq join = { .ipv6mr_interface = 1 };
	int lo = 1;

	inet_pton(AF_INET6, "ff01::4711", &join.ipv6mr_multiaddr);
	udp_say("interface", setsockopt(b.fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &lo, sizeof(lo)));
	udp_say("join", setsockopt(a.fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &join, sizeof(join)));
	udp_say("to the group", udp_send(b.fd, 5, 0, &group));
	udp_take("it has", a.fd, 10, MSG_DONTWAIT, &b); /* or not: loopback rarely has a route for groups */
	udp_say("leave", setsockopt(a.fd, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &join, sizeof(join)));
}

/* --- many, and many at once --- */

static void send_later(const struct end *from, const struct end *to)
{
	fflush(stdout);
	if (fork())
		return;
	usleep(150000);
	udp_send(from->fd, 2, 0, to);
	usleep(150000);
	udp_send(from->fd, 3, 0, to);
	_exit(0);
}

/* Each is waited for; the time is looked at when one has come. */
static void many_waited_for(const struct end *a, const struct end *b, struct mmsghdr *m)
{
	struct timespec until_first = { 0, 100000000 }, long_time = { 10, 0 };

	for (int i = 0; i < 3; i++) {
		udp_send(b->fd, 1, 0, a);
		send_later(b, a);
		udp_say("recvmmsg, waiting", recvmmsg(a->fd, m, 3, 0, i == 0 ? NULL : i == 1 ? &until_first : &long_time));
		wait(NULL);
		udp_pause();
		udp_say("what is left", recvmmsg(a->fd, m, 3, MSG_DONTWAIT, NULL));
	}
	printf("%ld s left\n", (long)until_first.tv_sec + until_first.tv_nsec + long_time.tv_sec);
}

void more_many(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	char out[5][4] = { "a", "bc", "def", "ghij", "" }, in[8][4];
	struct mmsghdr m[8] = { 0 };
	struct iovec iov[8];
	struct timespec t = { 0, 300000000 }, short_time = { 0, 1 }, bad = { 0, -1 };

	for (int i = 0; i < 5; i++) {
		iov[i] = (struct iovec){ out[i], i < 4 ? (size_t)i + 1 : 0 };
		m[i].msg_hdr = (struct msghdr){ .msg_name = &a.ss, .msg_namelen = a.len, .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	udp_say("sendmmsg", sendmmsg(b.fd, m, 5, 0));
	m[2].msg_hdr.msg_namelen = 3;
	udp_say("sendmmsg, third is bad", sendmmsg(b.fd, m, 5, 0));
	udp_say("sendmmsg, first is bad", sendmmsg(b.fd, m + 2, 3, 0));
	udp_pause();
	memset(m, 0, sizeof(m));
	for (int i = 0; i < 8; i++) {
		iov[i] = (struct iovec){ in[i], 3 };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	udp_say("a bad time", recvmmsg(a.fd, m, 8, 0, &bad));
	udp_say("recvmmsg, three", recvmmsg(a.fd, m, 3, 0, NULL));
	udp_say("recvmmsg, WAITFORONE", recvmmsg(a.fd, m, 8, MSG_WAITFORONE, NULL));
	for (int i = 0; i < 4; i++)
		printf("%u bytes, flags %x\n", m[i].msg_len, (unsigned int)m[i].msg_hdr.msg_flags);
	udp_say("recvmmsg of nothing", recvmmsg(a.fd, m, 8, MSG_DONTWAIT, NULL));
	udp_send(b.fd, 2, 0, &a);
	udp_send(b.fd, 2, 0, &a);
	udp_pause();
	udp_say("recvmmsg, time for one", recvmmsg(a.fd, m, 8, 0, &short_time));
	udp_say("recvmmsg, DONTWAIT and a time", recvmmsg(a.fd, m, 8, MSG_DONTWAIT, &t));
	printf("time is left: %d\n", t.tv_sec == 0 && t.tv_nsec > 0 && t.tv_nsec <= 300000000);
	many_waited_for(&a, &b, m);
}

void more_fork(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");

	for (int i = 0; i < 4; i++)
		udp_send(b.fd, 10 + i, 0, &a);
	udp_ready(a.fd);
	for (int i = 0; i < 4; i++) {
		fflush(stdout);
		if (fork() == 0) {
			udp_take("child", a.fd, 100, 0, &b);
			udp_say("child sends", udp_send(a.fd, 20 + i, 0, &b));
			fflush(stdout);
			_exit(0);
		}
		wait(NULL);
		udp_take("parent has", b.fd, 100, 0, &a);
	}
	close(a.fd);
	udp_take("nothing is left", b.fd, 100, MSG_DONTWAIT, NULL);
}

/* What was sent before the close goes out. */
void more_close(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1");
	int n = 0;
	char c;

	for (int i = 0; i < 20; i++) {
		struct end b = udp_bound(AF_INET, "127.0.0.1");

		for (int j = 0; j < 5; j++)
			udp_send(b.fd, 1, 0, &a);
		udp_send(a.fd, 1, 0, &b); /* unread at the close */
		close(b.fd);
	}
	for (;;) {
		udp_pause();
		if (recv(a.fd, &c, 1, MSG_DONTWAIT) != 1)
			break;
		n++;
		while (recv(a.fd, &c, 1, MSG_DONTWAIT) == 1)
			n++;
	}
	printf("received %d\n", n);
}

/* A port is free again as soon as close() has returned. */
void more_rebind(void)
{
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		struct end e = udp_named(AF_INET, "127.0.0.1", 0); /* the kernel chooses one that is free for this type */
		int bad = 0;

		for (int i = 0; i < 1000; i++, udp_refresh(&e)) {
			close(e.fd);
			e.fd = socket(AF_INET, type, 0);
			bad += bind(e.fd, (struct sockaddr *)&e.ss, e.len) < 0;
			bad += type == SOCK_STREAM && listen(e.fd, 1) < 0;
		}
		printf("type %d: %d of 1000 were refused\n", type, bad);
	}
}

/* Windows of 20, in order and complete. */
void more_volume(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	uint32_t n = 0, bad = 0, got;

	for (int round = 0; round < 500; round++) {
		for (int i = 0; i < 20; i++, n++)
			if (sendto(b.fd, &n, sizeof(n), 0, (struct sockaddr *)&a.ss, a.len) != sizeof(n))
				bad++;
		for (uint32_t i = n - 20; i < n; i++)
			if (recv(a.fd, &got, sizeof(got), 0) != sizeof(got) || got != i)
				bad++;
	}
	printf("%u sent, %u not as sent\n", n, bad);
}

struct worker {
	pthread_t thread;
	struct end own, to;
	int good;
};

/* Each thread asks on its own socket and on one that all share; the errors must be its own. */
static void *work(void *arg)
{
	struct worker *w = arg;
	char c;

	for (int i = 0; i < 200; i++) {
		w->good += sendto(w->to.fd, "x", 1, 0, (struct sockaddr *)&w->own.ss, w->own.len) == 1;
		w->good += sendto(w->to.fd, "x", 1, 0, (const struct sockaddr *)&udp_nowhere, sizeof(udp_nowhere)) == -1 && errno == EINVAL;
		w->good += recv(w->own.fd, &c, 1, 0) == 1;
	}
	return NULL;
}

void more_threads(void)
{
	struct end shared = udp_bound(AF_INET, "127.0.0.1");
	struct worker w[4] = { 0 };

	for (int i = 0; i < 4; i++) {
		w[i].own = udp_bound(AF_INET, "127.0.0.1");
		w[i].to = shared;
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(w[i].thread, NULL);
		printf("thread %d: %d of 600\n", i, w[i].good);
	}
}

static void *shut(void *arg)
{
	udp_pause();
	udp_say("shutdown", shutdown(((struct end *)arg)->fd, SHUT_RDWR));
	return NULL;
}

/* Linux wakes who waits, though it says that the socket is not connected. */
void more_woken(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1");
	pthread_t t;
	ssize_t n;
	char c;

	pthread_create(&t, NULL, shut, &a);
	n = recv(a.fd, &c, 1, 0);
	pthread_join(t, NULL);
	udp_say("woken", n);
	udp_say("again", recv(a.fd, &c, 1, 0));
}

/* A reader that does not read loses datagrams, never the order, and hears again once it reads. */
void more_overload(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	uint32_t got, last = 0, n = 0, bad = 0;
	static char big[1000];

	for (uint32_t i = 1; i <= 3000; i++) {
		memcpy(big, &i, sizeof(i));
		if (sendto(b.fd, big, sizeof(big), 0, (struct sockaddr *)&a.ss, a.len) != sizeof(big))
			bad++;
	}
	for (int quiet = 0; quiet < 2; quiet++) {
		udp_pause();
		while (recv(a.fd, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got)) {
			bad += got <= last;
			last = got;
			quiet = 0;
			if (++n % 16 == 0)
				usleep(1000);
		}
	}
	printf("some came: %d, some were lost: %d, bad: %u\n", n > 0, n < 3000, bad);
	udp_say("then", udp_send(b.fd, 9, 0, &a));
	udp_take("it has", a.fd, 100, 0, &b);
}
