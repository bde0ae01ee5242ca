// SPDX-License-Identifier: Apache-2.0
/*
 * process_thread.c - threads and processes that share one socket; those that are cancelled or killed in a call.
 * Trust: a test's own processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/process.h"

static int sock;

/* --- cancellation: each of these blocks --- */

static void *in_recv(void *unused)
{
	char b[8];

	say("recv came back: %zd", recv(sock, b, sizeof(b), 0));
	return unused;
}

static void *in_read(void *unused)
{
	char b[8];

	say("read came back: %zd", read(sock, b, sizeof(b)));
	return unused;
}

static void *in_recvmsg(void *unused)
{
	char b[8];
	struct iovec iov = { b, sizeof(b) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	say("recvmsg came back: %zd", recvmsg(sock, &m, 0));
	return unused;
}

static void *in_send(void *unused)
{
	char b[8] = { 0 };

	say("send came back: %zd", send(sock, b, sizeof(b), 0));
	return unused;
}

static void *in_writev(void *unused)
{
	char b[8] = { 0 };
	struct iovec iov = { b, sizeof(b) };

	say("writev came back: %zd", writev(sock, &iov, 1));
	return unused;
}

static void *in_accept(void *unused)
{
	say("accept came back: %s", word(accept(sock, NULL, NULL)));
	return unused;
}

static void *in_connect(void *port)
{
	say("connect came back: %s", word(dial_port(*(int *)port, 0)));
	return NULL;
}

static void cancelled(void *(*in)(void *), void *arg, const char *what)
{
	pthread_t t;
	void *value = NULL;

	pthread_create(&t, NULL, in, arg);
	usleep(200000);
	pthread_cancel(t);
	pthread_join(t, &value);
	say("in %s: %s", what, value == PTHREAD_CANCELED ? "cancelled" : "not cancelled");
}

static void both_ways(void)
{
	cancelled(in_recv, NULL, "recv");
	cancelled(in_read, NULL, "read");
	cancelled(in_recvmsg, NULL, "recvmsg");
	talk(sock, "afterwards");
	fill(sock);
	cancelled(in_send, NULL, "send");
	cancelled(in_writev, NULL, "writev");
}

static void while_blocked(void)
{
	int port, fd;

	sock = dial();
	both_ways();
	close(sock);
	sock = listening(&port);
	cancelled(in_accept, NULL, "accept");
	peer_do(PEER, PEER_CONNECT, port);
	fd = accept(sock, NULL, NULL);
	talk(fd, "accepted afterwards");
	port = peer_do(PEER, PEER_STUFF, 0);
	cancelled(in_connect, &port, "connect");
}

static void *in_connect_of(void *a)
{
	say("connect came back: %s", word(connect(sock, a, sizeof(struct sockaddr_in))));
	return NULL;
}

/* The connection goes on being made, and somebody else sees what becomes of it. */
static void refused_later(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)peer_do(PEER, PEER_STUFF, 0)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct pollfd p = { .events = POLLOUT };
	int error = 0;
	socklen_t n = sizeof(error);

	p.fd = sock = socket(AF_INET, SOCK_STREAM, 0);
	cancelled(in_connect_of, &a, "connect");
	peer_do(PEER, PEER_REFUSE, 0);
	poll(&p, 1, 10000);
	getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &n);
	say("refused: %d %s", !!(p.revents & POLLERR), strerrorname_np(error));
	close(sock);
}

/* stdio's socket is on another lane from then on. */
static void on_stdio(void)
{
	FILE *f;

	sock = dial();
	f = fdopen(sock, "r");
	both_ways();
	fclose(f);
}

static int go[2];

/* Cancelled before the call, which would not block. */
static void *ready(void *call)
{
	int old;
	char c;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	if (read(go[0], &c, 1) != 1)
		abort();
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	return ((void *(*)(void *))(unsigned long)call)(NULL);
}

static void *in_close(void *unused)
{
	close(sock);
	say("close came back");
	return unused;
}

static void *in_name(void *unused)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);
	int one = 1;

	getsockname(sock, (struct sockaddr *)&a, &n);
	setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	shutdown(sock, SHUT_RD);
	say("calls that are no cancellation points came back");
	return unused;
}

static void *in_disabled(void *unused)
{
	int old;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	return in_recv(unused);
}

static void cancelled_before(void *(*call)(void *), const char *what)
{
	pthread_t t;
	void *value = NULL;

	pthread_create(&t, NULL, ready, (void *)(unsigned long)call);
	pthread_cancel(t);
	if (write(go[1], "g", 1) != 1)
		abort();
	pthread_join(t, &value);
	say("before %s: %s", what, value == PTHREAD_CANCELED ? "cancelled" : "not cancelled");
}

static void while_ready(void)
{
	int port;

	if (pipe(go) < 0)
		abort();
	sock = dial();
	peer_do(PEER, PEER_SEND, 8);
	cancelled_before(in_recv, "recv");
	cancelled_before(in_read, "read");
	cancelled_before(in_send, "send");
	cancelled_before(in_writev, "writev");
	cancelled_before(in_disabled, "recv, disabled");
	cancelled_before(in_close, "close");
	talk(sock, "afterwards");
	cancelled_before(in_name, "others");
	close(sock);
	sock = listening(&port);
	peer_do(PEER, PEER_CONNECT, port);
	cancelled_before(in_accept, "accept");
	talk(accept(sock, NULL, NULL), "accepted afterwards");
	port = peer_do(PEER, PEER_PORT, 0);
}

/* To itself. */
static void datagrams(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	char b[8];

	if (pipe(go) < 0)
		abort();
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(sock, (struct sockaddr *)&a, n) < 0 || getsockname(sock, (struct sockaddr *)&a, &n) < 0 || connect(sock, (struct sockaddr *)&a, n) < 0)
		say("bind: %s", word(-1));
	cancelled(in_recv, NULL, "recv");
	cancelled(in_read, NULL, "read");
	cancelled(in_recvmsg, NULL, "recvmsg");
	say("send: %s", word(send(sock, "one", 3, 0)));
	cancelled_before(in_recv, "recv");
	cancelled_before(in_recvmsg, "recvmsg");
	cancelled_before(in_send, "send");
	say("there is one: %zd", recv(sock, b, sizeof(b), 0));
	say("and no more: %s", word(recv(sock, b, sizeof(b), MSG_DONTWAIT)));
	close(sock);
}

static int ends[2];

static void *sends_always(void *unused)
{
	static char b[3000];
	int old;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old); /* NOLINT(cert-pos47-c,concurrency-*): what is tested */
	for (;;)
		send(ends[0], b, sizeof(b), MSG_DONTWAIT);
	return unused;
}

static void *receives_always(void *unused)
{
	static char b[3000];
	int old;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old); /* NOLINT(cert-pos47-c,concurrency-*): what is tested */
	for (;;)
		recv(ends[1], b, sizeof(b), MSG_DONTWAIT);
	return unused;
}

static void nap(int i)
{
	struct timespec t = { .tv_nsec = 200000 + i % 17 * 31000 };

	nanosleep(&t, NULL);
}

/* Ends anywhere, also in the middle of a copy. */
static void asynchronous(void)
{
	struct timeval second = { .tv_sec = 1 };
	char b[3000] = { 0 };
	pthread_t t[2];
	ssize_t n;
	int ended = 0;

	pair_of(ends);
	for (int i = 0; i < 100; i++) {
		void *value[2];

		pthread_create(&t[0], NULL, sends_always, NULL);
		pthread_create(&t[1], NULL, receives_always, NULL);
		nap(i);
		for (int j = 0; j < 2; j++) {
			pthread_cancel(t[j]);
			pthread_join(t[j], &value[j]);
			ended += value[j] == PTHREAD_CANCELED;
		}
	}
	setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	while (recv(ends[1], b, sizeof(b), 0) > 0)
		;
	memcpy(b, "at the end", 10);
	send(ends[0], b, 10, 0);
	memset(b, 0, 10);
	n = recv(ends[1], b, 10, MSG_WAITALL);
	say("%d ended; %zd bytes: %s", ended, n, b);
}

const struct script cancel_scripts[] = {
	{ "while-blocked", while_blocked }, { "refused-later", refused_later }, { "on-stdio", on_stdio }, { "while-ready", while_ready }, { "datagrams", datagrams },
	{ "asynchronous", asynchronous }, { NULL, NULL },
};

/* --- sharing --- */

#define SHARERS 4
#define EACH    (4 << 20)

static long sums[SHARERS], counts[SHARERS];

static void *writer(void *at)
{
	unsigned char b[1000];
	long i = (long *)at - sums;

	memset(b, (int)i + 1, sizeof(b));
	for (int left = EACH; left > 0;) {
		ssize_t n = send(ends[0], b, sizeof(b) < (size_t)left ? sizeof(b) : (size_t)left, 0);

		if (n < 0)
			break;
		left -= (int)n;
	}
	return NULL;
}

static void *reader(void *at)
{
	unsigned char b[1500];
	long i = (long *)at - counts;
	ssize_t n;

	while ((n = recv(ends[1], b, sizeof(b), 0)) > 0) {
		counts[i] += n;
		for (ssize_t k = 0; k < n; k++)
			sums[i] += b[k];
	}
	return NULL;
}

static void many(void)
{
	pthread_t w[SHARERS], r[SHARERS];
	long sum = 0, total = 0;

	pair_of(ends);
	for (int i = 0; i < SHARERS; i++) {
		pthread_create(&r[i], NULL, reader, &counts[i]);
		pthread_create(&w[i], NULL, writer, &sums[i]);
	}
	for (int i = 0; i < SHARERS; i++)
		pthread_join(w[i], NULL);
	shutdown(ends[0], SHUT_WR);
	for (int i = 0; i < SHARERS; i++) {
		pthread_join(r[i], NULL);
		sum += sums[i];
		total += counts[i];
	}
	say("bytes %ld, sum %ld", total, sum);
}

static char came[64];

static void *blocked_recv(void *unused)
{
	char b[8] = { 0 };
	ssize_t n = recv(sock, b, sizeof(b), 0);

	snprintf(came, sizeof(came), "%zd %s", n, word(n));
	return unused;
}

static void *blocked_accept(void *unused)
{
	snprintf(came, sizeof(came), "%s", word(accept(sock, NULL, NULL)));
	return unused;
}

static void *blocked_send(void *unused)
{
	char b[8] = { 0 };
	ssize_t n = send(sock, b, sizeof(b), MSG_NOSIGNAL);

	snprintf(came, sizeof(came), "%zd %s", n, word(n));
	return unused;
}

static void joined(pthread_t t)
{
	pthread_join(t, NULL);
	say("the blocked call: %s", came);
}

static pthread_t blocked(void *(*in)(void *))
{
	pthread_t t;

	pthread_create(&t, NULL, in, NULL);
	usleep(200000);
	return t;
}

static void shut_down(int how, const char *what)
{
	pthread_t t;

	sock = dial();
	t = blocked(blocked_recv);
	say("%s: %s", what, word(shutdown(sock, how)));
	joined(t);
	close(sock);
}

static void shutdowns(void)
{
	int port;
	pthread_t t;

	shut_down(SHUT_RD, "SHUT_RD");
	shut_down(SHUT_RDWR, "SHUT_RDWR");
	sock = listening(&port);
	t = blocked(blocked_accept);
	say("of the listener: %s", word(shutdown(sock, SHUT_RDWR)));
	joined(t);
	say("accept again: %s", word(accept(sock, NULL, NULL)));
	close(sock);
}

/* The call goes on with the socket that it began with. */
static void close_meanwhile(void)
{
	int other;
	pthread_t t;

	sock = dial();
	t = blocked(blocked_recv);
	close(sock);
	peer_do(PEER, PEER_SEND, 5);
	joined(t);
	sock = dial();
	t = blocked(blocked_recv);
	close(sock);
	other = open("/dev/null", O_RDWR);
	say("its number is taken: %d", other == sock);
	peer_do(PEER, PEER_SEND, 5);
	joined(t);
	say("what took it: %s", word(write(other, "x", 1)));
}

static void shut_writer(void)
{
	pthread_t t;

	sock = dial();
	fill(sock);
	t = blocked(blocked_send);
	say("SHUT_WR: %s", word(shutdown(sock, SHUT_WR)));
	joined(t);
}

static void send_always(int fd)
{
	char b[3000] = { 0 };

	for (;;)
		send(fd, b, sizeof(b), 0);
}

static void receive_always(int fd)
{
	char b[3000];

	while (recv(fd, b, sizeof(b), 0) > 0)
		;
}

/* kill -9 of whoever holds a lock. */
static void killed(void)
{
	pid_t reads, sends;
	char b[10];

	pair_of(ends);
	for (int i = 0; i < 100; i++) {
		reads = child(receive_always, ends[1]);
		sends = child(send_always, ends[0]);
		nap(i);
		kill(i & 1 ? reads : sends, SIGKILL);
		nap(i);
		kill(reads, SIGKILL);
		kill(sends, SIGKILL);
		waitpid(reads, NULL, 0);
		waitpid(sends, NULL, 0);
	}
	while (recv(ends[1], b, sizeof(b), MSG_DONTWAIT) > 0)
		;
	usleep(300000);
	while (recv(ends[1], b, sizeof(b), MSG_DONTWAIT) > 0)
		;
	say("send: %s", word(send(ends[0], "at the end", 10, 0)));
	say("recv: %zd", recv(ends[1], b, sizeof(b), MSG_WAITALL));
}

const struct script thread_scripts[] = {
	{ "sharing", many }, { "shutdown", shutdowns }, { "shut-writer", shut_writer },
	{ "close-meanwhile", close_meanwhile }, { "killed", killed }, { NULL, NULL },
};
