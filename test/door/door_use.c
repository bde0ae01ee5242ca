// SPDX-License-Identifier: Apache-2.0
/*
 * door_use.c - an INS with a door, used honestly: connections both ways, many of them, ends of all kinds, datagrams, options,
 * rings that come and go, and a worker killed in the midst of it.
 * Trust: none needed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/telem.h"
#include "test/door/app.h"

#define LOOPBACK 0x7f000001u
#define MEGA     (1u << 20)
#define BULK     (10 * MEGA)

static struct app app;
static uint8_t bulk[BULK], back[BULK];

/* --- peers outside, with the kernel's own sockets --- */

static struct sockaddr_in at(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(LOOPBACK) };

	return a;
}

static int outside_listen(uint16_t *port, int type)
{
	int fd = socket(AF_INET, type, 0);
	struct sockaddr_in a = at(0);
	socklen_t n = sizeof(a);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && (type == SOCK_DGRAM || listen(fd, 128) == 0));
	must(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static int outside_connect(uint16_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = at(port);

	must(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

/* Accepts one, sends back all that comes, until the end of it. */
static void *echo(void *arg)
{
	int l = *(int *)arg, fd = accept(l, NULL, NULL);
	static uint8_t buffer[65536];
	ssize_t n;

	must(fd >= 0);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t done = 0, w; done < n; done += w)
			must((w = write(fd, buffer + done, (size_t)(n - done))) > 0);
	close(fd);
	return NULL;
}

/* --- inside --- */

static void grant_some(uint32_t from, uint32_t to, uint32_t rx_pages, uint32_t tx_pages)
{
	for (uint32_t i = from; i < to; i++)
		must(app_grant(&app, i, rx_pages, tx_pages) == 0);
}

static void connected(struct sock *s, uint16_t port)
{
	must(sock_new(&app, s, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0);
	must(sock_connect(&app, s, LOOPBACK, port) == 0);
}

static void listening(struct sock *l, uint16_t port)
{
	must(sock_new(&app, l, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0);
	must(sock_setopt(&app, l, SOL_SOCKET, SO_REUSEADDR, 1) == 0);
	must(sock_bind(&app, l, LOOPBACK, port) == 0 && sock_listen(&app, l, 128) == 0);
}

/* Sends all of `bulk` and reads it back, both under way at a time. */
static void through(struct sock *s)
{
	size_t sent = 0, got = 0;

	while (got < BULK) {
		ssize_t n;

		if (sent < BULK) {
			must(sock_send(&app, s, bulk + sent, 32768) == 32768);
			sent += 32768;
			if (sent == BULK)
				sock_flag(&app, s, MW_APP_SHUT_WR);
		}
		if (sent - got < 65536 && sent < BULK)
			continue;
		n = sock_recv(&app, s, back + got, BULK - got);
		must(n > 0);
		got += (size_t)n;
	}
	must(sock_recv(&app, s, back, 1) == 0 && !memcmp(bulk, back, BULK));
}

static void case_bulk(void)
{
	uint16_t port;
	int l = outside_listen(&port, SOCK_STREAM);
	pthread_t t;
	struct sock s;

	grant_some(0, 2, 16, 32);
	pthread_create(&t, NULL, echo, &l);
	connected(&s, port);
	through(&s);
	pthread_join(t, NULL);
	sock_close(&app, &s);
	close(l);
	printf("10 MB each way: %lu notifications to app, %lu to ins\n", (unsigned long)app.notified, (unsigned long)app.notifies);
}

static const struct mw_flow *flow_of(const struct sock *s)
{
	return (const struct mw_flow *)(mw_uintptr)tele_flow(&app.tele, s->slot);
}

/* Telemetry tells of them: flow records, the log of those that have ended, events. */
static void told_of(const struct sock *l, const struct sock *open, uint64_t closed)
{
	const struct mw_tele *t = (const struct mw_tele *)(mw_uintptr)tele_header(&app.tele);

	usleep(100000);
	must(mw_load_acquire(&t->log_next) == closed && mw_load_acquire(&t->event_next) > closed && mw_load(&t->slots) == APP_SLOTS);
	must(flow_of(l)->id == ((uint64_t)l->gen << 32 | l->slot) && flow_of(l)->state == MW_ST_LISTEN && flow_of(l)->local.port == 4000);
	for (uint32_t i = 0; open && i < 40; i++)
		must(flow_of(&open[i])->rx_bytes == 1 && flow_of(&open[i])->tx_bytes == 5 && flow_of(&open[i])->listener == flow_of(l)->id);
	for (uint64_t n = 0; n < closed; n++) {
		const struct mw_log_entry *e = (const struct mw_log_entry *)(mw_uintptr)tele_log(&app.tele, n);

		must(mw_load_acquire(&e->seq) == n + 1 && e->flow.rx_bytes == 1 && e->flow.end == MW_END_CLOSED);
	}
}

static void case_accept(void)
{
	struct sock l, s[40];
	int fds[40];
	char c;

	grant_some(0, 48, 4, 4);
	listening(&l, 4000);
	for (int i = 0; i < 40; i++) {
		fds[i] = outside_connect(4000);
		must(write(fds[i], &i, 1) == 1);
	}
	for (int i = 0; i < 40; i++)
		must(sock_accept(&app, &l, &s[i]) == 0 && sock_recv(&app, &s[i], &c, 1) == 1 && c == i);
	for (int i = 0; i < 40; i++) {
		must(sock_send(&app, &s[i], "hello", 5) == 5);
		must(read(fds[i], back, 5) == 5 && !memcmp(back, "hello", 5));
	}
	told_of(&l, s, 0);
	for (int i = 0; i < 40; i += 2) { /* ended from here, and from there */
		sock_close(&app, &s[i]);
		must(read(fds[i], &c, 1) == 0);
		close(fds[i + 1]);
		must(sock_recv(&app, &s[i + 1], &c, 1) == 0);
		sock_close(&app, &s[i + 1]);
		close(fds[i]);
	}
	told_of(&l, NULL, 40);
	sock_close(&app, &l);
	must(connect(fds[0] = socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons(4000), .sin_addr.s_addr = htonl(LOOPBACK) }, sizeof(struct sockaddr_in)) < 0 && errno == ECONNREFUSED);
	close(fds[0]);
}

/* More connections than slots: the rest wait in the stack, and go on as soon as there are rings. */
static void case_few_slots(void)
{
	struct sock l, s;
	int fds[20];
	char c;

	grant_some(0, 4, 1, 1);
	listening(&l, 4001);
	for (int i = 0; i < 20; i++)
		must(write(fds[i] = outside_connect(4001), "x", 1) == 1);
	for (int i = 0; i < 20; i++) {
		must(sock_accept(&app, &l, &s) == 0 && sock_recv(&app, &s, &c, 1) == 1);
		if (i % 2)
			must(app_grant(&app, 10 + (uint32_t)i, 1, 1) == 0);
		else
			sock_close(&app, &s);
	}
	for (int i = 0; i < 20; i++)
		close(fds[i]);
}

/* The listener's ring holds 85 records: more than that wait until app has taken some. */
static void case_full_queue(void)
{
	struct sock l, s;
	int fds[100];

	grant_some(0, 120, 1, 1);
	listening(&l, 4002);
	for (int i = 0; i < 100; i++)
		fds[i] = outside_connect(4002);
	for (int i = 0; i < 100; i++)
		must(sock_accept(&app, &l, &s) == 0);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
}

/* What a listener has handed and app has not taken ends with it. */
static void case_close_listener(void)
{
	struct sock l, s;
	int fds[10];
	char c;

	grant_some(0, 20, 1, 1);
	listening(&l, 4003);
	for (int i = 0; i < 10; i++)
		fds[i] = outside_connect(4003);
	for (int i = 0; i < 5; i++)
		must(sock_accept(&app, &l, &s) == 0);
	usleep(100000); /* the others are handed */
	sock_close(&app, &l);
	for (int i = 5; i < 10; i++)
		must(read(fds[i], &c, 1) <= 0);
	must(write(fds[4], "x", 1) == 1 && sock_recv(&app, &s, &c, 1) == 1); /* it was taken */
	for (int i = 0; i < 10; i++)
		close(fds[i]);
}

static void case_ends(void)
{
	struct linger none = { .l_onoff = 1 };
	struct sock l, s;
	int fd;
	char c;

	grant_some(0, 8, 4, 4);
	listening(&l, 4004);
	fd = outside_connect(4004); /* half-close from outside: still writable here */
	must(shutdown(fd, SHUT_WR) == 0 && sock_accept(&app, &l, &s) == 0);
	must(sock_recv(&app, &s, &c, 1) == 0 && sock_send(&app, &s, "bye", 3) == 3);
	must(read(fd, back, 3) == 3);
	sock_flag(&app, &s, MW_APP_SHUT_WR);
	must(read(fd, &c, 1) == 0);
	sock_close(&app, &s);
	close(fd);
	fd = outside_connect(4004); /* reset */
	must(sock_accept(&app, &l, &s) == 0);
	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) == 0);
	close(fd);
	must(sock_recv(&app, &s, &c, 1) == -ECONNRESET && mw_load(&app_slot(&app, s.slot)->ins.state) == MW_ST_CLOSED);
	sock_close(&app, &s);
	fd = outside_connect(4004); /* closed here over unread bytes: a reset there */
	must(sock_accept(&app, &l, &s) == 0 && write(fd, "unread", 6) == 6);
	while (mw_load(&app_slot(&app, s.slot)->ins.rx_prod) != 6)
		app_turn(&app, 10);
	sock_close(&app, &s);
	must(read(fd, &c, 1) < 0 && errno == ECONNRESET);
	close(fd);
	must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0); /* refused; again, by a new slot */
	must(sock_connect(&app, &s, LOOPBACK, 9) == -ECONNREFUSED);
	{
		struct mw_req q = { .slot = s.slot, .gen = s.gen, .u.stream.cookie = 8 };
		struct mw_reply r;

		must(app_call(&app, &q, MW_OP_AGAIN, NULL, 0, &r) == 0 && r.slot != s.slot);
		sock_close(&app, &s);
		s = (struct sock){ .slot = r.slot, .gen = r.gen };
	}
	must(sock_connect(&app, &s, LOOPBACK, 4004) == 0);
	sock_close(&app, &s);
	sock_close(&app, &l);
}

static void case_options(void)
{
	struct mw_req stream = { 0 };
	struct sock s, low;
	int v = 0;

	grant_some(0, 4, 1, 1);
	must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0);
	must(sock_setopt(&app, &s, SOL_SOCKET, SO_KEEPALIVE, 1) == 0);
	must(sock_getopt(&app, &s, SOL_SOCKET, SO_KEEPALIVE, &v) == 0 && v == 1);
	must(sock_getopt(&app, &s, SOL_SOCKET, SO_TYPE, &v) == 0 && v == SOCK_STREAM);
	must(sock_setopt(&app, &s, IPPROTO_TCP, TCP_NODELAY, 1) == 0);
	must(sock_setopt(&app, &s, SOL_SOCKET, 9999, 1) == -ENOPROTOOPT);
	must(sock_setopt(&app, &s, SOL_SOCKET, SO_MARK, 5) == 0); /* a privilege that the keeper's helper has */
	must(sock_getopt(&app, &s, SOL_SOCKET, SO_MARK, &v) == 0 && v == 5);
	must(sock_new(&app, &low, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0);
	must(sock_bind(&app, &low, LOOPBACK, 80) == 0); /* the same */
	must(sock_bind(&app, &s, LOOPBACK, 80) == -EADDRINUSE);
	stream.slot = s.slot;
	stream.gen = s.gen;
	must(app_call(&app, &stream, MW_OP_STREAM, NULL, 0, NULL) < 0);
	stream.gen += 2;
	must(app_call(&app, &stream, MW_OP_LISTEN, NULL, 0, NULL) == -EBADF);
	sock_close(&app, &s);
	sock_close(&app, &low);
}

static void case_rings(void)
{
	struct sock s;

	must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_STREAM) == -ENOBUFS);
	must(app_grant(&app, 5, 1, 2) == 0);
	must(app_grant(&app, 5, 1, 2) == -EEXIST);
	must(app_grant(&app, APP_SLOTS, 1, 1) == -EINVAL && app_grant(&app, 6, 64, 1) == -EINVAL);
	must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_DGRAM) == -ENOBUFS);
	must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0 && s.slot == 5);
	must(app_revoke(&app, 5) == -EBUSY && app_grant(&app, 5, 1, 2) == -EEXIST && app_revoke(&app, 7) == -ENOENT);
	sock_close(&app, &s);
	must(app_revoke(&app, 5) == 0);
	must(app_revoke(&app, 5) == -ENOENT);
	must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_STREAM) == -ENOBUFS);
	for (int i = 0; i < 200; i++) {
		must(app_grant(&app, 5, 4, 2) == 0 && sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0);
		sock_close(&app, &s);
		must(app_revoke(&app, 5) == 0);
	}
	must(app_grant(&app, 9, 32, 32) == 0); /* a connection may have it too, when there is no other */
	must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0 && s.slot == 9);
	sock_close(&app, &s);
	must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_DGRAM) == 0 && s.slot == 9);
	sock_close(&app, &s);
}

static void case_dgram(void)
{
	static const size_t sizes[] = { 0, 1, 7, 8, 1400, 9000, 65507 };
	uint16_t port;
	int fd = outside_listen(&port, SOCK_DGRAM), big = 1 << 20;
	struct sockaddr_in whence;
	socklen_t n = sizeof(whence);
	struct mw_addr peer;
	struct sock s;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	grant_some(0, 2, 32, 32);
	must(sock_new(&app, &s, MW_FAMILY_IP4, MW_TYPE_DGRAM) == 0 && sock_bind(&app, &s, LOOPBACK, 4005) == 0);
	for (int round = 0; round < 20; round++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			must(sock_sendto(&app, &s, bulk, sizes[i], LOOPBACK, port, round % 2 ? (uint32_t)(i + 1) << 10 : 0) == (ssize_t)sizes[i]);
			must(recvfrom(fd, back, BULK, 0, (struct sockaddr *)&whence, &n) == (ssize_t)sizes[i] && !memcmp(bulk, back, sizes[i]));
			must(ntohs(whence.sin_port) == 4005);
			must(sendto(fd, bulk + i, sizes[i], 0, (struct sockaddr *)&whence, n) == (ssize_t)sizes[i]);
			must(sock_recvfrom(&app, &s, back, BULK, &peer) == (ssize_t)sizes[i] && !memcmp(bulk + i, back, sizes[i]));
			must(peer.port == port && peer.family == MW_FAMILY_IP4);
		}
	must(sock_sendto(&app, &s, bulk, 65508, LOOPBACK, port, 1 << 10) == -EMSGSIZE);
	for (int i = 0; i < 80; i++) /* more than the ring holds wait in the stack */
		must(sendto(fd, bulk, 1000, 0, (struct sockaddr *)&whence, n) == 1000);
	for (int i = 0; i < 80; i++)
		must(sock_recvfrom(&app, &s, back, BULK, &peer) == 1000);
	must(sock_connect(&app, &s, LOOPBACK, port) == 0 && sock_sendto(&app, &s, "c", 1, 0, 0, 0) == 1);
	must(recv(fd, back, 10, 0) == 1);
	close(fd); /* ICMP says that nobody is there: counted in rx_state */
	must(sock_sendto(&app, &s, "c", 1, 0, 0, 0) == 1);
	for (int i = 0; i < 200 && !mw_load(&app_slot(&app, s.slot)->ins.rx_state); i++)
		app_turn(&app, 100);
	must(mw_load(&app_slot(&app, s.slot)->ins.rx_state) == 1 && mw_load(&app_slot(&app, s.slot)->ins.error) == ECONNREFUSED);
	sock_close(&app, &s);
}

/* --- the gate --- */

/* A connection that says nothing is not shown, and ends at its time; the next one that does is. */
static void case_gate(void)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	char text[100], c;
	struct sock l, s;
	int quiet, says;

	grant_some(0, 8, 4, 4);
	listening(&l, 4007);
	quiet = outside_connect(4007);
	says = outside_connect(4007);
	must(write(says, request, sizeof(request) - 1) == sizeof(request) - 1 && sock_accept(&app, &l, &s) == 0);
	must(sock_recv(&app, &s, text, sizeof(text)) == sizeof(request) - 1 && !memcmp(text, request, sizeof(request) - 1) && sock_send(&app, &s, "b", 1) == 1 && read(says, &c, 1) == 1 && c == 'b');
	must(read(quiet, &c, 1) <= 0);
	sock_close(&app, &s);
	sock_close(&app, &l);
	close(says);
	close(quiet);
}

/* --- a worker is killed --- */

/* An operator's order or question: its status. *number: what it says behind it. */
static int verb(uint32_t what, uint32_t ip4, uint64_t *number)
{
	struct verb_msg m = { .verb = what, .verdict = 7, .addr = { .family = MW_FAMILY_IP4 }, .prefix = 8 };
	uint8_t record[MW_VERB_BYTES] = { 0 };
	struct mw_req q = { 0 };
	struct mw_reply r;
	uint32_t net = htonl(ip4);

	memcpy(m.addr.addr, &net, 4);
	memcpy(record, &m, sizeof(m));
	must(app_call(&app, &q, MW_OP_VERB, record, sizeof(record), &r) == 0 && r.value_bytes == sizeof(record));
	memcpy(&m, app.replies[r.seq % 64].value, sizeof(m));
	must(m.seq == r.seq && m.verb == what);
	*number = m.number;
	return m.status;
}

/* More of them than are reset at once: the answer comes when the last is. */
static void case_verbs(void)
{
	struct sock l, s[40];
	uint64_t number;
	int fds[40];
	char c;

	grant_some(0, 48, 4, 4);
	listening(&l, 4007);
	for (int i = 0; i < 40; i++)
		fds[i] = outside_connect(4007);
	for (int i = 0; i < 40; i++)
		must(sock_accept(&app, &l, &s[i]) == 0);
	must(verb(99, 0, &number) == -EINVAL && verb(VERB_UNBLOCK, LOOPBACK, &number) == -ENOENT);
	must(verb(VERB_BLOCK, LOOPBACK & 0xff000000u, &number) == 0 && number == 40);
	for (int i = 0; i < 40; i++) {
		must(recv(fds[i], &c, 1, 0) <= 0 && sock_recv(&app, &s[i], &c, 1) == -ECONNRESET);
		sock_close(&app, &s[i]);
		close(fds[i]);
	}
	must(verb(VERB_UNBLOCK, LOOPBACK & 0xff000000u, &number) == 0);
	fds[0] = outside_connect(4007);
	must(sock_accept(&app, &l, &s[0]) == 0);
	close(fds[0]);
	sock_close(&app, &s[0]);
	sock_close(&app, &l);
}

static uint32_t kills;

static void *killer(void *arg)
{
	const volatile bool *stop = arg;

	while (!*stop) {
		int worker;

		usleep(4000 + (unsigned int)rand() % 12000);
		worker = app_worker(&app);
		if (worker && kill(worker, SIGKILL) == 0)
			kills++;
	}
	return NULL;
}

static void case_kill(void)
{
	volatile bool stop = false;
	uint16_t port;
	int l = outside_listen(&port, SOCK_STREAM);
	const struct mw_tele *t;
	struct sock s, q, c1;
	uint64_t n;
	pthread_t k, e;
	char c;

	grant_some(0, 16, 16, 32);
	listening(&q, 4006);
	pthread_create(&k, NULL, killer, (void *)(mw_uintptr)&stop);
	for (int round = 0; round < 5; round++) {
		pthread_create(&e, NULL, echo, &l);
		connected(&s, port);
		through(&s);
		pthread_join(e, NULL);
		sock_close(&app, &s);
	}
	for (int i = 0; i < 1000; i++) { /* replies, accepted records and slots: each exactly once */
		int fd = outside_connect(4006), v;

		must(sock_accept(&app, &q, &c1) == 0 && sock_getopt(&app, &c1, SOL_SOCKET, SO_TYPE, &v) == 0 && v == SOCK_STREAM);
		must(app_grant(&app, 100, 1, 1) == 0 && app_revoke(&app, 100) == 0);
		must(verb(VERB_BLOCK, 10u << 24, &n) == 0 && verb(VERB_UNBLOCK, 10u << 24, &n) == 0);
		must(write(fd, "x", 1) == 1 && sock_recv(&app, &c1, &c, 1) == 1 && sock_send(&app, &c1, "y", 1) == 1 && read(fd, &c, 1) == 1 && c == 'y');
		sock_close(&app, &c1);
		must(read(fd, &c, 1) == 0);
		close(fd);
	}
	stop = true;
	pthread_join(k, NULL);
	usleep(700000); /* the last one has begun, and told */
	t = (const struct mw_tele *)(mw_uintptr)tele_header(&app.tele);
	printf("%u workers killed\n", kills);
	must(mw_load(&t->workers) <= kills + 1 && mw_load(&t->violations) == 0); /* none died by itself; a dead one may be killed again */
	sock_close(&app, &q);
	close(l);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "bulk", case_bulk }, { "accept", case_accept }, { "few-slots", case_few_slots }, { "full-queue", case_full_queue },
	{ "close-listener", case_close_listener }, { "ends", case_ends }, { "options", case_options }, { "rings", case_rings },
	{ "dgram", case_dgram }, { "verbs", case_verbs }, { "gate", case_gate }, { "kill", case_kill },
};

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc < 2)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	app_own_network();
	for (uint32_t i = 0; i < BULK; i++)
		bulk[i] = (uint8_t)(i * 2654435761u >> 24);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status;

		if (argc > 2 && strcmp(argv[2], cases[i].name) != 0)
			continue;
		app.word = cases[i].run == case_gate ? "gate=4007=http,deadline=500ms" : NULL;
		app_start(&app, argv[1]);
		cases[i].run();
		status = app_stop(&app);
		failed += status != 4 << 8; /* EXIT_GONE: it saw us go */
		printf("%s: %s\n", cases[i].name, status == 4 << 8 ? "ok" : "mw-ins ended wrongly");
	}
	return failed != 0;
}
