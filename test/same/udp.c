// SPDX-License-Identifier: Apache-2.0
/*
 * udp.c - UDP, natively and under `mw run`: the same. Boundaries, addresses, errors, readiness; see udp_more.c.
 * Trust: a test's own processes.
 *
 * Usage: udp MW. Both ends are the script's own sockets, on loopback. Nothing is printed that two runs may differ in.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "test/same/transcript.h"
#include "test/same/udp.h"
#include "test/same/view.h"

#define LIMIT_SECONDS 20
#define UDPLITE_SEND_CSCOV 10 /* linux/udp.h has no name for UDP-Lite's options */
#define UDPLITE_RECV_CSCOV 11

static void boundaries(void)
{
	static const int sizes[] = { 0, 1, 100, 1472, 1473, 9000, 40000, 65507, 0, 3 };
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		udp_say("send", udp_send(b.fd, sizes[i], 0, &a));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		udp_take("receive", a.fd, 70000, 0, &b);
	udp_take("none is left", a.fd, 70000, MSG_DONTWAIT, NULL);
	for (int n = 65507; n < 65540; n += 4)
		udp_say("too long", udp_send(b.fd, n, 0, &a));
	udp_say("much too long", udp_send(b.fd, 300000, 0, &a));
}

static void truncation(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	char one[10] = "", two[10] = "";
	struct iovec iov[2] = { { one, 10 }, { two, 10 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	int n;

	for (int i = 0; i < 8; i++)
		udp_send(b.fd, 50 + i, 0, &a);
	udp_ready(a.fd);
	ioctl(a.fd, FIONREAD, &n);
	printf("FIONREAD %d\n", n);
	udp_take("short buffer", a.fd, 20, 0, &b);
	udp_take("short buffer, MSG_TRUNC", a.fd, 20, MSG_TRUNC, &b);
	udp_take("peek, MSG_TRUNC", a.fd, 0, MSG_TRUNC | MSG_PEEK, &b);
	udp_take("peek", a.fd, 20, MSG_PEEK, &b);
	udp_take("no room at all", a.fd, 0, 0, &b);
	udp_say("recvmsg", recvmsg(a.fd, &m, 0));
	printf("flags %x\n", (unsigned int)m.msg_flags);
	udp_say("recvmsg, MSG_TRUNC", recvmsg(a.fd, &m, MSG_TRUNC));
	printf("flags %x\n", (unsigned int)m.msg_flags);
	udp_say("read", read(a.fd, one, 10));
	udp_say("readv", readv(a.fd, iov, 2));
	udp_say("recv", recv(a.fd, one, 10, 0));
	ioctl(a.fd, FIONREAD, &n);
	printf("FIONREAD %d\n", n);
	udp_say("send nothing", udp_send(b.fd, 0, 0, &a));
	udp_ready(a.fd);
	ioctl(a.fd, FIONREAD, &n);
	printf("FIONREAD %d\n", n);
	udp_say("read of nothing", read(a.fd, one, 0));
	iov[0].iov_len = iov[1].iov_len = 0;
	udp_say("readv of nothing", readv(a.fd, iov, 2));
	udp_say("recv of nothing", recv(a.fd, one, 0, MSG_DONTWAIT));
	udp_say("again", recv(a.fd, one, 0, MSG_DONTWAIT));
	udp_say("connect", connect(b.fd, (struct sockaddr *)&a.ss, a.len));
	udp_say("writev of nothing", writev(b.fd, iov, 2));
	udp_say("write of nothing", write(b.fd, one, 0));
	udp_take("what came", a.fd, 100, 0, &b);
	udp_take("what else came", a.fd, 100, MSG_DONTWAIT, &b);
}

static void long_vectors(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	static struct iovec iov[1025];
	static char bytes[1025];

	for (int i = 0; i < 1025; i++) {
		bytes[i] = (char)(i % 97);
		iov[i] = (struct iovec){ bytes + i, 1 };
	}
	udp_say("connect", connect(b.fd, (struct sockaddr *)&a.ss, a.len));
	udp_say("1024 parts", writev(b.fd, iov, 1024));
	udp_say("1025 parts", writev(b.fd, iov, 1025));
	udp_take("received", a.fd, 2000, 0, &b);
	udp_say("1023 parts", writev(b.fd, iov, 1023));
	memset(bytes, 0, sizeof(bytes));
	udp_say("into 1024 parts", readv(a.fd, iov, 1024));
	printf("as sent: %d\n", bytes[0] == 0 && bytes[500] == 500 % 97 && bytes[1022] == 1022 % 97 && !bytes[1023]);
}

static void name_lengths(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	static const int lens[] = { 0, 1, 8, 16, 28, 128, -1 };
	struct sockaddr_storage ss;
	char c;

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		socklen_t n = (socklen_t)lens[i];

		udp_send(b.fd, 1, 0, &a);
		memset(&ss, 0x5a, sizeof(ss));
		udp_say("recvfrom", recvfrom(a.fd, &c, 1, 0, (struct sockaddr *)&ss, &n));
		printf("length %d of %d, as sent %d\n", (int)n, lens[i],
		       lens[i] > 0 && !memcmp(&ss, &b.ss, (size_t)(lens[i] < 16 ? lens[i] : 16)));
	}
	udp_send(b.fd, 1, 0, &a);
	udp_say("no address wanted", recvfrom(a.fd, &c, 1, 0, NULL, NULL));
	for (int n = 0; n <= 130; n += n < 18 ? 1 : 14) {
		udp_say("sendto", sendto(b.fd, "x", 1, 0, (struct sockaddr *)&a.ss, (socklen_t)n));
		udp_take("arrived", a.fd, 10, MSG_DONTWAIT, NULL);
	}
}

static void families(void)
{
	struct end four = udp_bound(AF_INET, "127.0.0.1"), six = udp_bound(AF_INET6, "::1");
	struct end dual = udp_bound(AF_INET6, "::"), only = udp_only6();
	struct end to_dual4 = udp_named(AF_INET, "127.0.0.1", dual.port), mapped = udp_named(AF_INET6, "::ffff:127.0.0.1", four.port);
	struct sockaddr_in odd = *(struct sockaddr_in *)&four.ss;
	struct sockaddr_in6 odd6 = *(struct sockaddr_in6 *)&six.ss;
	struct end to_dual6 = udp_named(AF_INET6, "::1", dual.port);

	udp_say("4 to dual", udp_send(four.fd, 5, 0, &to_dual4));
	udp_take("dual has", dual.fd, 100, 0, NULL);
	udp_say("dual to mapped", udp_send(dual.fd, 6, 0, &mapped));
	udp_take("4 has", four.fd, 100, 0, NULL);
	udp_say("dual to 4 by its own name", udp_send(dual.fd, 7, 0, &four));
	udp_take("4 has", four.fd, 100, 0, NULL);
	udp_say("6 to dual", udp_send(six.fd, 8, 0, &to_dual6));
	udp_take("dual has", dual.fd, 100, 0, &six);
	udp_say("4 to 6", udp_send(four.fd, 1, 0, &six));
	udp_say("6 alone to 4", udp_send(only.fd, 1, 0, &four));
	udp_say("6 alone to mapped", udp_send(only.fd, 1, 0, &mapped));
	odd.sin_family = AF_UNSPEC;
	udp_say("4, family none", sendto(four.fd, "x", 1, 0, (struct sockaddr *)&odd, sizeof(odd)));
	udp_take("it went to itself", four.fd, 100, 0, &four);
	odd.sin_family = AF_UNIX;
	udp_say("4, family unix", sendto(four.fd, "x", 1, 0, (struct sockaddr *)&odd, sizeof(odd)));
	odd6.sin6_family = AF_UNSPEC;
	udp_say("6, family none", sendto(six.fd, "x", 1, 0, (struct sockaddr *)&odd6, sizeof(odd6)));
	odd6.sin6_family = AF_UNIX;
	udp_say("6, family unix", sendto(six.fd, "x", 1, 0, (struct sockaddr *)&odd6, sizeof(odd6)));
	udp_say("connect 4 to 6", connect(four.fd, (struct sockaddr *)&six.ss, six.len));
	udp_say("connect dual to 4", connect(dual.fd, (struct sockaddr *)&four.ss, four.len));
	udp_name("its peer", dual.fd, true);
	udp_name("itself", dual.fd, false);
}

static void connected(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1"), c = udp_bound(AF_INET, "127.0.0.1");
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct end d = { .fd = socket(AF_INET, SOCK_DGRAM, 0) };

	udp_name("unbound", d.fd, false);
	udp_name("unconnected", d.fd, true);
	udp_say("nowhere to", send(d.fd, "x", 1, 0));
	udp_say("connect", connect(d.fd, (struct sockaddr *)&a.ss, a.len));
	udp_name("bound by connect", d.fd, false);
	udp_name("peer", d.fd, true);
	udp_refresh(&d);
	udp_say("send", send(d.fd, "12", 2, 0));
	udp_take("peer has", a.fd, 10, 0, &d);
	udp_say("stranger", udp_send(b.fd, 3, 0, &d));
	udp_say("peer", udp_send(a.fd, 4, 0, &d));
	udp_take("from the peer only", d.fd, 10, 0, &a);
	udp_take("nothing else", d.fd, 10, MSG_DONTWAIT, NULL);
	udp_say("to another", udp_send(d.fd, 5, 0, &b));
	udp_take("it has", b.fd, 10, 0, &d);
	udp_say("connect again", connect(d.fd, (struct sockaddr *)&c.ss, c.len));
	udp_say("send", send(d.fd, "123456", 6, 0));
	udp_take("it has", c.fd, 10, 0, &d);
	udp_say("bind", bind(d.fd, (struct sockaddr *)&d.ss, d.len));
	udp_say("disconnect", connect(d.fd, &none, sizeof(none)));
	udp_name("no peer", d.fd, true);
	udp_name("and now", d.fd, false);
	udp_say("nowhere to", send(d.fd, "x", 1, 0));
	udp_say("disconnect again", connect(d.fd, &none, sizeof(none)));
	udp_say("connect to port 0", connect(d.fd, (const struct sockaddr *)&udp_nowhere, sizeof(udp_nowhere)));
	udp_say("connect, short", connect(d.fd, (struct sockaddr *)&a.ss, 8));
	udp_say("connect, unix", connect(d.fd, &(struct sockaddr){ .sa_family = AF_UNIX }, sizeof(struct sockaddr)));
}

/* One refused datagram, then what each kind of call says of it; `pause` lets an answer arrive that is on its way. */
static void refused(void)
{
	struct end gone = udp_bound(AF_INET, "127.0.0.1"), here = udp_bound(AF_INET, "127.0.0.1");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), error = 0;
	socklen_t n = sizeof(error);
	char c;

	close(gone.fd);
	udp_say("connect", connect(fd, (struct sockaddr *)&gone.ss, gone.len));
	udp_say("send", send(fd, "1", 1, 0));
	udp_look("refused", fd);
	udp_say("recv", recv(fd, &c, 1, 0));
	udp_look("told", fd);
	udp_say("recv again", recv(fd, &c, 1, 0));
	udp_say("send", send(fd, "2", 1, 0));
	udp_pause();
	udp_say("send tells", send(fd, "3", 1, 0));
	udp_look("told", fd);
	udp_say("send goes", send(fd, "4", 1, 0));
	udp_pause();
	udp_say("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n));
	printf("is %s\n", strerrorname_np(error));
	udp_look("told", fd);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
	printf("then %d\n", error);
	udp_say("send", send(fd, "5", 1, 0));
	udp_pause();
	udp_say("peek tells", recv(fd, &c, 1, MSG_PEEK));
	udp_say("peek again", recv(fd, &c, 1, MSG_PEEK));
	udp_say("send", send(fd, "6", 1, 0));
	udp_pause();
	fcntl(fd, F_SETFL, 0);
	udp_say("blocking recv", recv(fd, &c, 1, 0));
	udp_say("to one that is there", udp_send(fd, 2, 0, &here));
	udp_take("it has", here.fd, 10, 0, NULL);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	udp_say("unconnected", udp_send(fd, 1, 0, &gone));
	udp_pause();
	udp_say("unconnected again", udp_send(fd, 1, 0, &gone));
	udp_say("nothing is said", recv(fd, &c, 1, MSG_DONTWAIT));
}

static void send_errors(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1");
	int fd = socket(AF_INET, SOCK_DGRAM, 0), six = socket(AF_INET6, SOCK_DGRAM, 0), on = 1;
	struct end all = udp_named(AF_INET, "255.255.255.255", 9), lo = udp_named(AF_INET, "127.255.255.255", 9);
	struct end far = udp_named(AF_INET, "240.0.0.1", 9), far6 = udp_named(AF_INET6, "2001:db8::1", 9);
	struct end ll = udp_named(AF_INET6, "fe80::1", 9), any = udp_named(AF_INET, "0.0.0.0", a.port);

	udp_say("port 0", sendto(fd, "x", 1, 0, (const struct sockaddr *)&udp_nowhere, sizeof(udp_nowhere)));
	udp_say("broadcast", udp_send(fd, 1, 0, &all));
	udp_say("broadcast on lo", udp_send(fd, 1, 0, &lo));
	udp_say("connect to it", connect(fd, (struct sockaddr *)&lo.ss, lo.len));
	udp_say("allow it", setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)));
	udp_say("broadcast on lo", udp_send(fd, 1, 0, &lo));
	udp_say("again", udp_send(fd, 1, 0, &lo));
	on = 0;
	udp_say("forbid it", setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)));
	udp_say("broadcast on lo", udp_send(fd, 1, 0, &lo));
	udp_say("class E", udp_send(fd, 1, 0, &far));
	udp_say("documentation prefix", udp_send(six, 1, 0, &far6));
	udp_say("link-local without a scope", udp_send(six, 1, 0, &ll));
	udp_say("to 0.0.0.0", udp_send(fd, 1, 0, &any));
	udp_take("it has", a.fd, 10, 0, NULL);
	udp_say("MSG_OOB", udp_send(fd, 1, MSG_OOB, &a));
	udp_say("MSG_DONTROUTE", udp_send(fd, 1, MSG_DONTROUTE, &a));
	udp_take("it has", a.fd, 10, 0, NULL);
	udp_say("MSG_CONFIRM", udp_send(fd, 1, MSG_CONFIRM, &a));
	udp_take("it has", a.fd, 10, 0, NULL);
	udp_say("MSG_MORE", udp_send(fd, 3, MSG_MORE, &a));
	udp_say("the rest", udp_send(fd, 4, 0, &a));
	udp_take("both in one", a.fd, 10, 0, NULL);
	udp_say("MSG_ERRQUEUE", recv(a.fd, &on, 1, MSG_ERRQUEUE));
}

static void call_errors(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1");
	struct sockaddr_storage ss;
	struct end foreign = udp_named(AF_INET, "192.0.2.77", 0);
	socklen_t n = sizeof(ss);
	int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP), v, on = 1;

	udp_say("TCP over it", socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
	udp_say("UDP as a stream", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
	udp_say("listen", listen(a.fd, 1));
	udp_say("accept", accept(a.fd, (struct sockaddr *)&ss, &n));
	udp_say("bind in use", bind(fd, (struct sockaddr *)&a.ss, a.len));
	udp_say("bind foreign", bind(fd, (struct sockaddr *)&foreign.ss, foreign.len));
	udp_say("bind short", bind(fd, (struct sockaddr *)&a.ss, 6));
	udp_say("bind twice", bind(a.fd, (struct sockaddr *)&a.ss, a.len));
	for (int name = 0; name < 4; name++) {
		static const int names[] = { SO_TYPE, SO_PROTOCOL, SO_DOMAIN, SO_ACCEPTCONN };

		n = sizeof(v);
		v = -1;
		getsockopt(fd, SOL_SOCKET, names[name], &v, &n);
		printf("option %d: %d\n", names[name], v);
	}
	udp_say("connect", connect(fd, (struct sockaddr *)&a.ss, a.len));
	udp_say("TCP_NODELAY", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	udp_say("shutdown 7", shutdown(fd, 7));
	udp_say("end of sending", shutdown(fd, SHUT_WR));
	udp_say("send", send(fd, "x", 1, MSG_NOSIGNAL));
	udp_say("write", write(fd, "x", 1));
	udp_refresh(&(struct end){ .fd = fd });
	udp_say("end of receiving", shutdown(fd, SHUT_RD));
	udp_say("recv", recv(fd, &v, 1, 0));
	udp_say("closed", close(fd));
	udp_say("send on a closed one", send(fd, "x", 1, 0));
	udp_say("recv on a closed one", recv(fd, &v, 1, 0));
}

/* What had come is still there; then it is the end for who waits. */
static void deaf(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");

	udp_say("connect", connect(a.fd, (struct sockaddr *)&b.ss, b.len));
	for (int i = 1; i <= 5; i++)
		udp_send(b.fd, i, 0, &a);
	udp_say("end of receiving", shutdown(a.fd, SHUT_RD));
	udp_look("with five", a.fd);
	udp_take("peek", a.fd, 100, MSG_PEEK, &b);
	for (int i = 0; i < 5; i++)
		udp_take("what had come", a.fd, 100, i % 2 ? MSG_DONTWAIT : 0, &b);
	udp_look("with none", a.fd);
	udp_take("nothing, at once", a.fd, 100, MSG_DONTWAIT, NULL);
	udp_take("nothing", a.fd, 100, 0, NULL);
	fcntl(a.fd, F_SETFL, O_NONBLOCK);
	udp_take("nothing, by the descriptor", a.fd, 100, 0, NULL);
	udp_say("read", read(a.fd, &a, 1));
	fcntl(a.fd, F_SETFL, 0);
	udp_say("again", shutdown(a.fd, SHUT_RD));
	udp_say("send", send(a.fd, "x", 1, 0));
	udp_take("it has", b.fd, 100, 0, &a);
	udp_send(b.fd, 7, 0, &a);
	udp_pause();
	udp_take("what comes later", a.fd, 100, MSG_DONTWAIT, &b);
}

static void deaf_unconnected(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");

	udp_send(b.fd, 9, 0, &a);
	udp_say("end of receiving", shutdown(a.fd, SHUT_RD));
	udp_look("with one", a.fd);
	udp_take("what had come", a.fd, 100, 0, &b);
	udp_take("nothing", a.fd, 100, MSG_DONTWAIT, NULL);
	udp_say("end of both", shutdown(a.fd, SHUT_RDWR));
	udp_say("send", udp_send(a.fd, 1, MSG_NOSIGNAL, &b));
	udp_look("both", a.fd);
}

static void readiness(void)
{
	for (enum view v = 0; v < VIEWS; v++) {
		struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");

		view_start();
		udp_view("idle", v, a.fd, POLLOUT);
		udp_send(b.fd, 10, 0, &a);
		udp_view("one came", v, a.fd, POLLIN | POLLOUT);
		udp_send(b.fd, 0, 0, &a);
		udp_say("read", view_do(v, a.fd, DO_READ, 100).r);
		udp_view("an empty one is left", v, a.fd, POLLIN | POLLOUT);
		udp_say("read", view_do(v, a.fd, DO_READ, 100).r);
		udp_view("none is left", v, a.fd, POLLOUT);
		udp_say("connect", connect(a.fd, (struct sockaddr *)&b.ss, b.len));
		udp_say("write", view_do(v, a.fd, DO_WRITE, 1000).r);
		udp_take("it has", b.fd, 2000, 0, &a);
		udp_say("end of receiving", view_do(v, a.fd, DO_SHUTDOWN, SHUT_RD).r);
		udp_view("no more to read", v, a.fd, POLLIN | POLLOUT | POLLRDHUP);
		view_stop();
		close(a.fd);
		close(b.fd);
	}
}

static void edges(void)
{
	struct end a = udp_bound(AF_INET, "127.0.0.1"), b = udp_bound(AF_INET, "127.0.0.1");
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(0);

	epoll_ctl(ep, EPOLL_CTL_ADD, a.fd, &e);
	udp_say("none", epoll_wait(ep, &e, 1, 0));
	for (int i = 0; i < 3; i++) {
		udp_send(b.fd, 10, 0, &a);
		udp_say("an edge", epoll_wait(ep, &e, 1, 2000));
		udp_say("no other", epoll_wait(ep, &e, 1, 50));
	}
	udp_take("read one of three", a.fd, 100, 0, &b);
	udp_say("no edge", epoll_wait(ep, &e, 1, 50));
	udp_take("two", a.fd, 100, 0, &b);
	udp_take("three", a.fd, 100, 0, &b);
	udp_send(b.fd, 10, 0, &a);
	udp_say("an edge", epoll_wait(ep, &e, 1, 2000));
}

/* UDP-Lite: ports and checksums of its own, all else as UDP. */
static void lite(int family, const char *ip)
{
	static const int names[] = { UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV };
	struct end udp = udp_bound(family, ip), a = udp, b = udp;
	int v, covered = 20;
	socklen_t n = sizeof(v);

	a.fd = socket(family, SOCK_DGRAM, IPPROTO_UDPLITE);
	b.fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDPLITE);
	udp_say("bind to UDP's port", bind(a.fd, (struct sockaddr *)&a.ss, a.len));
	udp_say("bind again", bind(b.fd, (struct sockaddr *)&a.ss, a.len));
	udp_say("connect", connect(b.fd, (struct sockaddr *)&a.ss, a.len));
	udp_refresh(&b);
	for (int i = 0; i < 2; i++) {
		udp_say("set", setsockopt(b.fd, IPPROTO_UDPLITE, names[i], &covered, sizeof(covered)));
		udp_say("get", getsockopt(b.fd, IPPROTO_UDPLITE, names[i], &v, &n));
		printf("covered %d\n", v);
		udp_say("set on UDP", setsockopt(udp.fd, IPPROTO_UDPLITE, names[i], &covered, sizeof(covered)));
	}
	udp_say("protocol", getsockopt(a.fd, SOL_SOCKET, SO_PROTOCOL, &v, &n));
	printf("%d\n", v);
	udp_say("send", udp_send(b.fd, 1000, 0, &a));
	udp_take("receive", a.fd, 2000, 0, &b);
	udp_say("answer", udp_send(a.fd, 10, 0, &b));
	udp_take("all is covered", b.fd, 2000, 0, &a);
	covered = 8;
	udp_say("cover less", setsockopt(a.fd, IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV, &covered, sizeof(covered)));
	udp_say("answer", udp_send(a.fd, 10, 0, &b));
	udp_take("too little is covered", b.fd, 2000, MSG_DONTWAIT, &a);
	udp_take("UDP got nothing", udp.fd, 2000, MSG_DONTWAIT, NULL);
	close(a.fd);
	udp_say("to nobody", udp_send(b.fd, 10, 0, &a));
	udp_ready(b.fd);
	udp_take("refused", b.fd, 10, 0, NULL);
}

static void *take_and_close(void *fd)
{
	char c;

	return (void *)(intptr_t)(recv(*(int *)fd, &c, 1, 0) + close(*(int *)fd));
}

/* Who receives a datagram may close the socket that it was sent from before the sender's call has returned. */
static void closed_by_receiver(void)
{
	int sent = 0, received = 0;

	for (int i = 0; i < 200; i++) {
		struct end a = udp_bound(AF_INET, "127.0.0.1");
		pthread_t thread;
		void *r;

		pthread_create(&thread, NULL, take_and_close, &a.fd);
		sent += udp_send(a.fd, 1, 0, &a) == 1;
		pthread_join(thread, &r);
		received += (intptr_t)r == 1;
	}
	printf("sent %d, received and closed %d\n", sent, received);
}

static void lite4(void)
{
	lite(AF_INET, "127.0.0.1");
}

static void lite6(void)
{
	lite(AF_INET6, "::1");
}

static void (*const scripts[])(void) = {
	boundaries, truncation, long_vectors, name_lengths, families, connected, refused, send_errors, call_errors,
	readiness, deaf, deaf_unconnected, edges, closed_by_receiver, lite4, lite6, UDP_MORE
};

int main(int argc, char **argv)
{
	bool good = true;

	if (argc < 2) {
		fprintf(stderr, "usage: udp MW\n");
		return 2;
	}
	if (strcmp(argv[1], "--script"))
		return transcript_compare(argv[1], NULL);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		good &= transcript_alone(i, scripts[i], LIMIT_SECONDS);
	return !good;
}
