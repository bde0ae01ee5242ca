// SPDX-License-Identifier: Apache-2.0
/*
 * option_use.c - what options do, natively and under `mw run`: inheritance, SO_RCVLOWAT, corks, filters, linger.
 * Trust: a test's own processes.
 *
 * Usage: option_use MW [PART]. Runs itself twice as `--script` and compares the transcripts. option_walk.c has the values.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/transcript.h"

#define PEER 0
#define A_MOMENT_US 100000 /* in which what must not happen would have happened */

static const char *part;

static void say(const char *what, long r)
{
	printf("%s/%s: %ld %s\n", part, what, r < 0 ? -1 : r, r < 0 ? strerrorname_np(errno) : "ok");
}

static void must(int good, const char *what)
{
	if (good)
		return;
	printf("FAILED %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in loopback(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return a;
}

static int port_of(int fd)
{
	struct sockaddr_in a;
	socklen_t n = sizeof(a);

	must(getsockname(fd, (struct sockaddr *)&a, &n) == 0, "getsockname");
	return ntohs(a.sin_port);
}

static int bound(int port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0, "bind");
	return fd;
}

static int dial(int fd)
{
	struct sockaddr_in a = loopback(peer_do(PEER, PEER_PORT, 0));

	must(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0, "connect");
	must(peer_do(PEER, PEER_ACCEPT, 0) == 0, "the peer's accept");
	return fd;
}

static int connection(void)
{
	return dial(socket(AF_INET, SOCK_STREAM, 0));
}

static void set_int(int fd, const char *what, int level, int name, int value)
{
	say(what, setsockopt(fd, level, name, &value, sizeof(value)));
}

static void show(int fd, const char *what, int level, int name)
{
	uint8_t v[32] = { 0 };
	socklen_t n = sizeof(v);
	int r = getsockopt(fd, level, name, v, &n);

	printf("%s/%s: %s %u ", part, what, r ? strerrorname_np(errno) : "0", n);
	for (socklen_t i = 0; r == 0 && i < n && i < sizeof(v); i++)
		printf("%02x", v[i]);
	putchar('\n');
}

static const struct {
	const char *name;
	int level, number, value;
} inherited[] = {
	{ "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1 }, { "SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 50000 },
	{ "SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 40000 }, { "SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 7 },
	{ "SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 5 }, { "SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1 },
	{ "SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1 }, { "SO_DONTROUTE", SOL_SOCKET, SO_DONTROUTE, 1 },
	{ "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1 }, { "TCP_CORK", IPPROTO_TCP, TCP_CORK, 1 },
	{ "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 77 }, { "TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 7 },
	{ "TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 3 }, { "TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 9000 },
	{ "TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 5 }, { "TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1000 },
	{ "IP_TOS", IPPROTO_IP, IP_TOS, 0x10 }, { "IP_TTL", IPPROTO_IP, IP_TTL, 33 },
};

static void inherit(void)
{
	struct timeval t = { 5, 250000 };
	struct linger l = { 1, 3 };
	int fd, listener = bound(0);

	for (size_t i = 0; i < sizeof(inherited) / sizeof(inherited[0]); i++)
		set_int(listener, inherited[i].name, inherited[i].level, inherited[i].number, inherited[i].value);
	say("SO_RCVTIMEO", setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	say("SO_LINGER", setsockopt(listener, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	must(listen(listener, 5) == 0, "listen");
	must(peer_do(PEER, PEER_CONNECT, port_of(listener)) == 0, "the peer's connect");
	fd = accept(listener, NULL, NULL);
	must(fd >= 0, "accept");
	for (size_t i = 0; i < sizeof(inherited) / sizeof(inherited[0]); i++)
		show(fd, inherited[i].name, inherited[i].level, inherited[i].number);
	show(fd, "SO_RCVTIMEO, old form", SOL_SOCKET, SO_RCVTIMEO_OLD);
	show(fd, "SO_RCVTIMEO, new form", SOL_SOCKET, SO_RCVTIMEO_NEW);
	show(fd, "SO_SNDTIMEO", SOL_SOCKET, SO_SNDTIMEO);
	show(fd, "SO_LINGER", SOL_SOCKET, SO_LINGER);
	show(fd, "SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN);
	show(listener, "SO_ACCEPTCONN of the listener", SOL_SOCKET, SO_ACCEPTCONN);
	must(write(fd, "0123456789", 10) == 10, "write");
	set_int(fd, "uncork what the listener corked", IPPROTO_TCP, TCP_CORK, 0);
	say("the peer reads", peer_do(PEER, PEER_READ, 10));
	close(fd);
	close(listener);
}

/* Posted options read back at once; a cork set before the connection was there comes off. */
static void cork(void)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	set_int(fd, "cork before", IPPROTO_TCP, TCP_CORK, 1);
	dial(fd);
	show(fd, "corked", IPPROTO_TCP, TCP_CORK);
	say("write", write(fd, "0123456789", 10));
	set_int(fd, "uncork", IPPROTO_TCP, TCP_CORK, 0);
	show(fd, "uncorked", IPPROTO_TCP, TCP_CORK);
	say("the peer reads", peer_do(PEER, PEER_READ, 10));
	for (int on = 1; on >= 0; on--) {
		set_int(fd, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, on);
		show(fd, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY);
		set_int(fd, "TCP_CORK", IPPROTO_TCP, TCP_CORK, on);
		show(fd, "TCP_CORK", IPPROTO_TCP, TCP_CORK);
	}
	say("NULL", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, NULL, sizeof(one)));
	say("bad address", setsockopt(fd, IPPROTO_TCP, TCP_CORK, (void *)8, sizeof(one)));
	say("short", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, 3));
	say("negative", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, (socklen_t)-4));
	show(fd, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY);
	close(fd);
}

static void readable(int fd, const char *what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	usleep(A_MOMENT_US);
	poll(&p, 1, 0);
	printf("%s/%s: readable=%d\n", part, what, !!(p.revents & POLLIN));
}

/* The peer sends two pieces, a moment apart, while we wait. */
static void piecewise(int fd, const char *what, int first, int second, size_t want, int flags)
{
	char b[100];
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		usleep(A_MOMENT_US);
		peer_do(PEER, PEER_SEND, first);
		usleep(A_MOMENT_US);
		peer_do(PEER, PEER_SEND, second);
		_exit(0);
	}
	say(what, recv(fd, b, want, flags));
	waitpid(child, NULL, 0);
}

static void lowat(void)
{
	char b[100];
	int fd = connection(), n = 0;

	set_int(fd, "SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 10);
	peer_do(PEER, PEER_SEND, 4);
	readable(fd, "4 of 10");
	say("FIONREAD", ioctl(fd, FIONREAD, &n) < 0 ? -1 : n);
	say("read without waiting", recv(fd, b, sizeof(b), MSG_DONTWAIT));
	say("and nothing", recv(fd, b, sizeof(b), MSG_DONTWAIT));
	peer_do(PEER, PEER_SEND, 4);
	readable(fd, "4 again");
	peer_do(PEER, PEER_SEND, 6);
	readable(fd, "10 of 10");
	say("read 3", recv(fd, b, 3, 0));
	readable(fd, "7 left");
	peer_do(PEER, PEER_SEND, 3);
	readable(fd, "10 again");
	say("read all", recv(fd, b, sizeof(b), 0));
	piecewise(fd, "waits for 10", 4, 6, sizeof(b), 0);
	piecewise(fd, "waits for 10, wants 5", 3, 7, 5, 0);
	say("the other 5", recv(fd, b, sizeof(b), MSG_DONTWAIT));
	piecewise(fd, "waits for all 25", 11, 14, 25, MSG_WAITALL);
	set_int(fd, "down to 1", SOL_SOCKET, SO_RCVLOWAT, 1);
	peer_do(PEER, PEER_SEND, 4);
	readable(fd, "4 of 1");
	set_int(fd, "up to 20", SOL_SOCKET, SO_RCVLOWAT, 20);
	readable(fd, "4 of 20");
	set_int(fd, "down to 2", SOL_SOCKET, SO_RCVLOWAT, 2);
	readable(fd, "4 of 2");
	set_int(fd, "up to 30", SOL_SOCKET, SO_RCVLOWAT, 30);
	peer_do(PEER, PEER_FIN, 0);
	readable(fd, "the end");
	say("the last", recv(fd, b, sizeof(b), 0));
	say("the end", recv(fd, b, sizeof(b), 0));
	close(fd);
}

/* A close that lingers holds up nobody but its caller. */
static void linger(void)
{
	static char much[1 << 20];
	struct linger l = { 1, 600 };
	int fd = connection(), other, first[2];
	pid_t child;

	say("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	while (send(fd, much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	fflush(stdout);
	if (pipe(first) < 0)
		return;
	child = fork();
	if (child == 0) {
		close(first[1]);
		while (read(first[0], much, 1) > 0)
			;
		close(fd); /* the last, which lingers */
		pause();
	}
	close(fd);
	close(first[0]);
	close(first[1]);
	usleep(A_MOMENT_US);
	other = socket(AF_INET, SOCK_STREAM, 0);
	show(other, "another socket", SOL_SOCKET, SO_TYPE);
	set_int(other, "another socket", SOL_SOCKET, SO_KEEPALIVE, 1);
	close(other);
	kill(child, SIGKILL);
	peer_do(PEER, PEER_CLOSE, 0);
	waitpid(child, NULL, 0);
}

static void sharing(void)
{
	struct sockaddr_in a;
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	int one = 1, first = socket(AF_INET, SOCK_STREAM, 0), second = socket(AF_INET, SOCK_STREAM, 0), third, six;

	a = loopback(0);
	setsockopt(first, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(second, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	must(bind(first, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(first, 5) == 0, "bind");
	a = loopback(port_of(first));
	say("SO_REUSEPORT, the second", bind(second, (struct sockaddr *)&a, sizeof(a)));
	say("both listen", listen(second, 5));
	third = socket(AF_INET, SOCK_STREAM, 0);
	say("one without it", bind(third, (struct sockaddr *)&a, sizeof(a)));
	a6.sin6_port = a.sin_port;
	six = socket(AF_INET6, SOCK_STREAM, 0);
	say("IPv6 for both", bind(six, (struct sockaddr *)&a6, sizeof(a6)));
	set_int(six, "IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, 1);
	say("IPv6 alone", bind(six, (struct sockaddr *)&a6, sizeof(a6)));
	show(six, "IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY);
	set_int(six, "IPV6_V6ONLY when bound", IPPROTO_IPV6, IPV6_V6ONLY, 0);
	close(first);
	close(second);
	close(third);
	close(six);
}

/* The value points to instructions: they go along, and a bad pointer is EFAULT. */
static void filters(int name, const char *what)
{
	static struct sock_filter all[BPF_MAXINSNS + 1];
	struct sock_fprog f = { BPF_MAXINSNS, all };
	uint8_t *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	char line[80];

	must(edge != MAP_FAILED && munmap(edge + 4096, 4096) == 0, "mmap");
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	for (size_t i = 0; i < BPF_MAXINSNS + 1; i++)
		all[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0xffffffffu);
#define TRY(n, at, how) do { \
		f = (struct sock_fprog){ (n), (at) }; \
		snprintf(line, sizeof(line), "%s set %s", what, how); \
		say(line, setsockopt(fd, SOL_SOCKET, name, &f, sizeof(f))); \
	} while (0)
	TRY(BPF_MAXINSNS, all, "the longest");
	TRY(BPF_MAXINSNS + 1, all, "too long");
	TRY(1, all, "one");
	TRY(0, all, "none");
	TRY(1, NULL, "at NULL");
	TRY(1, (struct sock_filter *)16, "at a bad address");
	TRY(512, (struct sock_filter *)(void *)edge, "of zeros up to the end of memory");
	memcpy(edge, all, 4096);
	TRY(512, (struct sock_filter *)(void *)edge, "up to the end of memory");
	TRY(513, (struct sock_filter *)(void *)edge, "across the end of memory");
	snprintf(line, sizeof(line), "%s set by a struct at the end of memory", what);
	say(line, setsockopt(fd, SOL_SOCKET, name, edge + 4092, sizeof(f)));
#undef TRY
	snprintf(line, sizeof(line), "SO_GET_FILTER after %s set", what);
	show(fd, line, SOL_SOCKET, SO_GET_FILTER);
	say("by descriptor, a socket", setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof(fd)));
	one = -1;
	say("by descriptor, none", setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &one, sizeof(one)));
	close(fd);
	munmap(edge, 4096);
}

/* As nobody: there are kernels that let only root attach filters to sockets. */
static void filter(void)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		must(geteuid() || setresuid(65534, 65534, 65534) == 0, "become nobody");
		filters(SO_ATTACH_FILTER, "SO_ATTACH_FILTER");
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static void group_filter(void)
{
	filters(SO_ATTACH_REUSEPORT_CBPF, "SO_ATTACH_REUSEPORT_CBPF");
}

static void info(void)
{
	int fd = connection();
	struct tcp_info i;
	socklen_t n = sizeof(i);

	must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n) == 0, "TCP_INFO");
	printf("%s/TCP_INFO: %u state %u options %x wscale %u,%u mss %u,%u advmss %u pmtu %u cwnd %u\n", part, n, i.tcpi_state,
	       i.tcpi_options, i.tcpi_snd_wscale, i.tcpi_rcv_wscale, i.tcpi_snd_mss, i.tcpi_rcv_mss, i.tcpi_advmss,
	       i.tcpi_pmtu, i.tcpi_snd_cwnd);
	show(fd, "TCP_CONGESTION", IPPROTO_TCP, TCP_CONGESTION);
	say("reno", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
	show(fd, "TCP_CONGESTION", IPPROTO_TCP, TCP_CONGESTION);
	say("no such", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nosuch", 6));
	say("TCP_ULP", setsockopt(fd, IPPROTO_TCP, TCP_ULP, "nosuch", 6));
	peer_do(PEER, PEER_RESET, 0);
	usleep(A_MOMENT_US);
	n = sizeof(i);
	must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n) == 0, "TCP_INFO");
	printf("%s/TCP_INFO when reset: state %u\n", part, i.tcpi_state);
	say("SO_ERROR at a bad address", getsockopt(fd, SOL_SOCKET, SO_ERROR, (void *)8, &n));
	show(fd, "SO_ERROR was taken", SOL_SOCKET, SO_ERROR);
	close(fd);
}

/* Both directions are over, and the socket is still asked: one that was bound to a port, too. */
static void ended(void)
{
	struct tcp_info i = { 0 };
	socklen_t n = sizeof(i);
	int fd = connection(), unsent = -1;

	peer_do(PEER, PEER_FIN, 0);
	must(shutdown(fd, SHUT_WR) == 0, "shutdown");
	usleep(A_MOMENT_US);
	show(fd, "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE);
	set_int(fd, "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1);
	show(fd, "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE);
	set_int(fd, "SO_MARK", SOL_SOCKET, SO_MARK, 7);
	show(fd, "SO_MARK", SOL_SOCKET, SO_MARK);
	say("TCP_INFO", getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n));
	printf("%s/TCP_INFO: state %u\n", part, i.tcpi_state);
	say("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &unsent));
	printf("%s/SIOCOUTQ: %d\n", part, unsent);
	show(fd, "SO_ERROR", SOL_SOCKET, SO_ERROR);
	close(fd);
}

/* What natively is control data of a stream, and the kernel's TLS, which is not there. */
static void extras(void)
{
	char bytes[16], control[256];
	struct iovec v = { bytes, sizeof(bytes) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	const struct cmsghdr *h;
	int fd = connection();

	set_int(fd, "SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, 1);
	peer_do(PEER, PEER_SEND, 5);
	say("recvmsg", recvmsg(fd, &m, 0));
	h = CMSG_FIRSTHDR(&m);
	printf("%s/control: %d %d flags %x\n", part, h ? h->cmsg_level : -1, h ? h->cmsg_type : -1, (unsigned int)m.msg_flags);
	say("TCP_ULP tls", setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4));
	set_int(fd, "TLS_TX", 282, 1, 0); /* SOL_TLS */
	show(fd, "TCP_ULP", IPPROTO_TCP, TCP_ULP);
	close(fd);
}

static void deferred(void)
{
	int fd, listener = bound(0);
	struct pollfd p = { .fd = listener, .events = POLLIN };

	set_int(listener, "TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, 30);
	must(listen(listener, 5) == 0, "listen");
	must(peer_do(PEER, PEER_CONNECT, port_of(listener)) == 0, "the peer's connect");
	readable(listener, "nothing sent");
	peer_do(PEER, PEER_SEND, 3);
	must(poll(&p, 1, 10000) == 1, "poll");
	fd = accept(listener, NULL, NULL);
	show(fd, "SO_TYPE", SOL_SOCKET, SO_TYPE);
	close(fd);
	close(listener);
}

static const struct {
	const char *name;
	void (*go)(void);
} parts[] = {
	{ "inherit", inherit }, { "cork", cork }, { "lowat", lowat }, { "linger", linger }, { "sharing", sharing },
	{ "filter", filter }, { "group filter", group_filter }, { "info", info }, { "deferred", deferred },
	{ "ended", ended }, { "extras", extras },
};

static void script(const char *only)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (only && strcmp(only, parts[i].name))
			continue;
		part = parts[i].name;
		parts[i].go();
		peer_do(PEER, PEER_CLOSE, 0);
	}
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
