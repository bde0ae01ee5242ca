// SPDX-License-Identifier: Apache-2.0
/* semantics_calls.c - errors, connecting, states, edges, options, datagrams. */
#include "semantics.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>
#include <unistd.h>

static int error_of(int fd)
{
	int e = -1;
	socklen_t n = sizeof(e);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
	return e;
}

void test_calls(void)
{
	struct sockaddr_storage a, other;
	socklen_t n;
	int port, fd = socket(family, SOCK_STREAM, 0), l;
	char b[8];

	result("recv, not connected", recv(fd, b, 1, 0));
	result("send, not connected", send(fd, b, 1, MSG_NOSIGNAL));
	result("accept, not listening", accept(fd, NULL, NULL));
	result("shutdown, not connected", shutdown(fd, SHUT_WR));
	result("shutdown, which?", shutdown(fd, 7));
	n = sizeof(other);
	result("getpeername, not connected", getpeername(fd, (struct sockaddr *)&other, &n));
	n = sizeof(other);
	result("getsockname, not bound", getsockname(fd, (struct sockaddr *)&other, &n));
	say("its family and length: %d %u, port %d", other.ss_family == family, n, port_of(fd));
	n = loopback(&a, 0);
	result("bind, short", bind(fd, (struct sockaddr *)&a, 3));
	result("bind", bind(fd, (struct sockaddr *)&a, n));
	result("bind again", bind(fd, (struct sockaddr *)&a, n));
	say("it has a port: %d", port_of(fd) > 0);
	poll_of("poll, bound", fd, 0);
	result("listen", listen(fd, 4));
	result("listen again", listen(fd, 8));
	poll_of("poll, listening", fd, 0);
	result("connect, listening", connect(fd, (struct sockaddr *)&a, n));
	result("recv, listening", recv(fd, b, 1, 0));
	result("shutdown of sending, listening", shutdown(fd, SHUT_WR));
	l = socket(family, SOCK_STREAM, 0);
	n = loopback(&a, port_of(fd));
	result("bind, in use", bind(l, (struct sockaddr *)&a, n));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	result("accept, nobody", accept(fd, NULL, NULL));
	close(l);
	close(fd);
	l = listener(SOCK_NONBLOCK, &port);
	result("accept, nobody", accept4(l, NULL, NULL, SOCK_CLOEXEC));
	result("send, listening", send(l, b, 1, MSG_NOSIGNAL));
	result("FIONREAD, listening", ioctl(l, FIONREAD, &port));
	close(l);
	result("socket of a family that there is not", socket(family, SOCK_STREAM, 1234));
}

void test_connect(void)
{
	struct sockaddr_storage a;
	socklen_t n;
	int port, l = native_listener(&port), fd, far;

	close(l);
	n = loopback(&a, port);
	fd = socket(family, SOCK_STREAM, 0);
	result("connect, refused", connect(fd, (struct sockaddr *)&a, n));
	say("SO_ERROR after it: %d", error_of(fd));
	poll_of("poll after it", fd, 0);
	result("connect again, refused", connect(fd, (struct sockaddr *)&a, n));
	close(fd);
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	poll_of("poll, new", fd, 0);
	result("connect, non-blocking", connect(fd, (struct sockaddr *)&a, n));
	poll_of("poll, refused", fd, 200);
	say("SO_ERROR: %s", strerrorname_np(error_of(fd)));
	say("SO_ERROR again: %d", error_of(fd));
	result("connect after SO_ERROR", connect(fd, (struct sockaddr *)&a, n));
	l = native_listener(&port);
	n = loopback(&a, port);
	result("connect to who listens", connect(fd, (struct sockaddr *)&a, n));
	poll_of("poll, connected", fd, 200);
	say("SO_ERROR: %d", error_of(fd));
	result("connect, the second", connect(fd, (struct sockaddr *)&a, n));
	result("connect, the third", connect(fd, (struct sockaddr *)&a, n));
	n = sizeof(a);
	result("getpeername", getpeername(fd, (struct sockaddr *)&a, &n));
	far = accept(l, NULL, NULL);
	say("both know it: %d", port_of(fd) > 0 && far >= 0);
	result("send", send(fd, "x", 1, 0));
	close(fd);
	close(far);
	close(l);
}

static void one_state(const char *how, void (*make)(int *near, int *far))
{
	int near, far;
	char b[64];

	say("%s", how);
	make(&near, &far);
	poll_of("connected", near, 50);
	result("recv, nothing", recv(near, b, 1, MSG_DONTWAIT));
	send(far, "abcdef", 6, 0);
	poll_of("data", near, 100);
	shutdown(far, SHUT_WR);
	poll_of("data and FIN", near, 100);
	result("recv", recv(near, b, sizeof(b), 0));
	result("recv at the end", recv(near, b, sizeof(b), 0));
	poll_of("end", near, 0);
	result("send, half-closed", send(near, "xyz", 3, 0));
	result("recv there", recv(far, b, sizeof(b), 0));
	result("shutdown", shutdown(near, SHUT_WR));
	poll_of("both ended", near, 200);
	result("recv there at the end", recv(far, b, sizeof(b), 0));
	result("send after shutdown", send(near, "x", 1, MSG_NOSIGNAL));
	result("shutdown when both have ended", shutdown(near, SHUT_RDWR));
	close(near);
	close(far);

	make(&near, &far);
	send(far, "abc", 3, 0);
	settle();
	reset(far);
	poll_of("data and reset", near, 100);
	result("recv", recv(near, b, sizeof(b), 0));
	result("recv", recv(near, b, sizeof(b), 0));
	result("send", send(near, b, 1, MSG_NOSIGNAL));
	poll_of("reset", near, 0);
	close(near);

	make(&near, &far);
	reset(far);
	poll_of("reset", near, 100);
	say("SO_ERROR: %s", strerrorname_np(error_of(near)));
	result("recv", recv(near, b, sizeof(b), 0));
	result("send", send(near, b, 1, MSG_NOSIGNAL));
	close(near);

	make(&near, &far);
	result("shutdown of receiving", shutdown(near, SHUT_RD));
	poll_of("receiving shut down", near, 50);
	result("recv", recv(near, b, sizeof(b), 0));
	send(far, "abc", 3, 0);
	poll_of("and data", near, 100);
	close(near);
	close(far);

	make(&near, &far);
	reset(near);
	settle();
	result("the peer of a reset", recv(far, b, sizeof(b), 0));
	close(far);

	make(&near, &far);
	close(near);
	result("the peer of a close", recv(far, b, sizeof(b), 0));
	close(far);
}

void test_states(void)
{
	one_state("dialled", dialled);
	one_state("accepted", accepted);
}

static void say_edge(const char *what, int n, uint32_t events)
{
	say("%s: %d%s%s%s%s", what, n, n > 0 && events & EPOLLIN ? " in" : "", n > 0 && events & EPOLLOUT ? " out" : "",
	    n > 0 && events & EPOLLRDHUP ? " rdhup" : "", n > 0 && events & EPOLLHUP ? " hup" : "");
}

static void wait_edge(const char *what, int ep)
{
	struct epoll_event e = { 0 };
	int n = epoll_wait(ep, &e, 1, 200);

	say_edge(what, n, e.events);
}

/* While `far` takes all that comes, and it comes by way of an emulated network, of which a moment without bytes is not the end. */
static void wait_edge_draining(const char *what, int ep, int far)
{
	static char room[1 << 16];
	struct epoll_event e = { 0 };
	int n = 0;

	for (int i = 0; i < 100 && n == 0; i++) {
		while (recv(far, room, sizeof(room), MSG_DONTWAIT) > 0)
			;
		n = epoll_wait(ep, &e, 1, 100);
	}
	say_edge(what, n, e.events);
}

void test_edges(void)
{
	struct epoll_event want = { .events = EPOLLIN | EPOLLET | EPOLLRDHUP };
	int near, far, ep = epoll_create1(0), unread;
	static char bulk[1 << 20];
	ssize_t r, sent;
	char b[64];

	accepted(&near, &far);
	epoll_ctl(ep, EPOLL_CTL_ADD, near, &want);
	wait_edge("nothing", ep);
	send(far, "abcdef", 6, 0);
	wait_edge("first", ep);
	wait_edge("no new", ep);
	result("part", recv(near, b, 2, 0));
	wait_edge("rest stays", ep);
	send(far, "ghi", 3, 0);
	wait_edge("more", ep);
	result("all", recv(near, b, sizeof(b), 0));
	result("nothing", recv(near, b, 1, MSG_DONTWAIT));
	send(far, "j", 1, 0);
	wait_edge("again", ep);
	settle();
	ioctl(near, FIONREAD, &unread);
	say("FIONREAD: %d", unread);
	result("exactly that", recv(near, b, (size_t)unread, 0));
	send(far, "k", 1, 0);
	wait_edge("behind FIONREAD", ep);
	result("peek", recv(near, b, 1, MSG_PEEK));
	send(far, "l", 1, 0);
	wait_edge("behind a peek", ep);
	shutdown(far, SHUT_WR);
	wait_edge("FIN", ep);
	close(near);
	close(far);

	accepted(&near, &far);
	want.events = EPOLLOUT | EPOLLET;
	epoll_ctl(ep, EPOLL_CTL_ADD, near, &want);
	wait_edge("writable", ep);
	wait_edge("once", ep);
	fcntl(near, F_SETFL, O_NONBLOCK);
	while ((r = send(near, bulk, sizeof(bulk), MSG_NOSIGNAL)) > 0)
		;
	result("full", r);
	do { /* until nothing moves any more; an edge that was taken is followed by a send that finds no room, which asks for the next */
		settle();
		epoll_wait(ep, &want, 1, 0);
		for (sent = 0; (r = send(near, bulk, sizeof(bulk), MSG_NOSIGNAL)) > 0; sent += r)
			;
	} while (sent);
	poll_of("poll, full", near, 0);
	wait_edge_draining("writable again", ep, far);
	poll_of("poll, empty", near, 100);
	close(near);
	close(far);
	close(ep);
}

static void get(int fd, int level, int name, const char *what)
{
	int v = -1;
	socklen_t n = sizeof(v);

	if (getsockopt(fd, level, name, &v, &n) < 0)
		result(what, -1);
	else
		say("%s: %d, %u bytes", what, v, n);
}

static void set(int fd, int level, int name, int v, const char *what)
{
	if (setsockopt(fd, level, name, &v, sizeof(v)) < 0)
		result(what, -1);
	get(fd, level, name, what);
}

static void options_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t n = sizeof(info);
	struct linger l = { 1, 5 };

	get(fd, SOL_SOCKET, SO_TYPE, "SO_TYPE");
	get(fd, SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN");
	get(fd, SOL_SOCKET, SO_PROTOCOL, "SO_PROTOCOL");
	get(fd, SOL_SOCKET, SO_ACCEPTCONN, "SO_ACCEPTCONN");
	set(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
	set(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
	set(fd, SOL_SOCKET, SO_SNDBUF, 20000, "SO_SNDBUF");
	set(fd, SOL_SOCKET, SO_RCVBUF, 20000, "SO_RCVBUF");
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
	set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 77, "TCP_KEEPIDLE");
	set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 7000, "TCP_USER_TIMEOUT");
	set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, "TCP_DEFER_ACCEPT");
	set(fd, IPPROTO_TCP, 9999, 1, "TCP option that there is not");
	set(fd, 77, 1, 1, "level that there is not");
	result("TCP_INFO", getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n));
	say("state %u", info.tcpi_state);
	result("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	result("short", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &l, 1));
	result("bad pointer", setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, (void *)8, 4));
	if (family == AF_INET6)
		get(fd, IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY");
	else
		set(fd, IPPROTO_IP, IP_TOS, 8, "IP_TOS");
}

void test_options(void)
{
	int near, far, port, fd = socket(family, SOCK_STREAM, 0), n = -1;

	options_of(fd);
	close(fd);
	fd = listener(0, &port);
	get(fd, SOL_SOCKET, SO_ACCEPTCONN, "SO_ACCEPTCONN");
	close(fd);
	accepted(&near, &far);
	options_of(near);
	send(near, "abc", 3, 0);
	settle();
	result("SIOCOUTQ", ioctl(near, SIOCOUTQ, &n));
	say("unsent: %d", n);
	close(near);
	close(far);
}

void test_dgram(void)
{
	struct sockaddr_storage a, from;
	socklen_t n = loopback(&a, 0), m;
	int fd = socket(family, SOCK_DGRAM, 0), far = native_socket(SOCK_DGRAM), unread;
	char b[2000];

	result("send, whither?", send(fd, "x", 1, 0));
	result("recv, none", recv(fd, b, sizeof(b), MSG_DONTWAIT));
	poll_of("poll, new", fd, 0);
	set(fd, IPPROTO_IP, IP_RECVERR, 1, "IP_RECVERR");
	result("nothing in the error queue", recv(fd, b, sizeof(b), MSG_ERRQUEUE));
	set(fd, IPPROTO_IP, IP_RECVERR, 0, "IP_RECVERR, off");
	(void)bind(far, (struct sockaddr *)&a, n);
	n = loopback(&a, port_of(far));
	result("sendto", sendto(fd, "hello", 5, 0, (struct sockaddr *)&a, n));
	a.ss_family = family == AF_INET ? AF_UNSPEC : (sa_family_t)family;
	result("sendto, no family", sendto(fd, "again", 5, 0, (struct sockaddr *)&a, n));
	a.ss_family = (sa_family_t)family;
	settle();
	result("recvfrom there", recv(far, b, sizeof(b), MSG_DONTWAIT));
	m = sizeof(from);
	result("recvfrom there", recvfrom(far, b, sizeof(b), 0, (struct sockaddr *)&from, &m));
	result("sendto back", sendto(far, "0123456789", 10, 0, (struct sockaddr *)&from, m));
	sendto(far, "", 0, 0, (struct sockaddr *)&from, m);
	sendto(far, "abc", 3, 0, (struct sockaddr *)&from, m);
	poll_of("poll, some", fd, 100);
	ioctl(fd, FIONREAD, &unread);
	say("FIONREAD: %d", unread);
	result("peek", recv(fd, b, 4, MSG_PEEK));
	result("recv, all of it", recv(fd, b, 4, MSG_TRUNC));
	m = sizeof(from);
	result("recv, empty", recvfrom(fd, b, sizeof(b), 0, (struct sockaddr *)&from, &m));
	say("name: %d %u", from.ss_family == family, m);
	result("recv", recv(fd, b, sizeof(b), 0));
	result("recv, none", recv(fd, b, sizeof(b), MSG_DONTWAIT));
	result("too long", sendto(fd, b, 70000, 0, (struct sockaddr *)&a, n));
	result("connect", connect(fd, (struct sockaddr *)&a, n));
	result("send", send(fd, "x", 1, 0));
	settle();
	close(far);
	settle();
	result("send to nobody", send(fd, "x", 1, 0));
	poll_of("poll, refused", fd, 100);
	result("recv, refused", recv(fd, b, sizeof(b), 0));
	poll_of("poll after it", fd, 0);
	a.ss_family = AF_UNSPEC;
	result("connect to none", connect(fd, (struct sockaddr *)&a, n));
	result("send, whither?", send(fd, "x", 1, 0));
	result("shutdown", shutdown(fd, SHUT_RD));
	close(fd);
}
