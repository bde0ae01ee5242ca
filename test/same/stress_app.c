// SPDX-License-Identifier: Apache-2.0
/*
 * stress_app.c - doorbell_stress's application side: answers requests on connections of every mode.
 * Trust: a test's own processes.
 *
 * A mode is a way to wait. One thread has all connections of a mode that waits for many; blocking modes have one
 * thread each; "pair" is two processes on the same connections, which take turns by a lock in shared memory.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/same/stress.h"

enum mode { M_EDGE, M_LEVEL, M_POLL, M_SELECT, M_BLOCK, M_WAITALL, M_PEEK, M_PAIR, MODES };
static const char *const names[MODES] = { "edge", "level", "poll", "select", "block", "waitall", "peek", "pair" };

struct conn {
	int fd, mode, id, ended;
	uint32_t rnd;
	struct request head;
	uint32_t head_got, left;   /* of the request being read */
	uint64_t rx, tx, owed;     /* owed: reply bytes not sent yet */
	uint64_t wakes, spurious, vain; /* vain: OUT, and nothing could be sent */
	pthread_mutex_t lock;      /* M_PAIR */
};

static struct conn *conns;         /* shared with the second process of M_PAIR */
static int count;
static int *failed;

static void fail(const struct conn *c, const char *what)
{
	fprintf(stderr, "# app: connection %d (%s): %s: %s\n", c->id, names[c->mode], what, strerror(errno));
	*failed = 1;
	_exit(1);
}

/* Says where, and what came instead: zeros, or another part of the stream. */
static void wrong(const struct conn *c, const uint8_t *b, uint32_t n)
{
	uint32_t at = 0, i;

	while (b[at] == stress_at(c->rx)[at])
		at++;
	fprintf(stderr, "# app: at byte %llu of a run of %u from %llu:", (unsigned long long)c->rx + at, n,
		(unsigned long long)c->rx);
	for (i = at; i < n && i < at + 16; i++)
		fprintf(stderr, " %02x", b[i]);
	fprintf(stderr, " expected");
	for (i = at; i < n && i < at + 16; i++)
		fprintf(stderr, " %02x", stress_at(c->rx)[i]);
	fprintf(stderr, ", head %u %u\n", c->head.bytes, c->head.reply);
	fail(c, "wrong bytes");
}

static void maybe_stall(struct conn *c)
{
	if (roll(&c->rnd) % 4000 == 0)
		usleep(1000 + roll(&c->rnd) % 20000);
}

/* Bytes of the stream, request heads included. */
static void eat(struct conn *c, const uint8_t *b, size_t n)
{
	while (n) {
		uint32_t part;

		if (c->head_got < sizeof(c->head)) {
			((uint8_t *)&c->head)[c->head_got++] = *b++;
			n--;
			c->left = c->head.bytes;
			continue;
		}
		part = c->left < n ? c->left : (uint32_t)n;
		if (memcmp(b, stress_at(c->rx), part))
			wrong(c, b, part);
		c->rx += part;
		c->left -= part;
		b += part;
		n -= part;
		if (!c->left) {
			c->owed += c->head.reply;
			c->head_got = 0;
		}
	}
}

/* Sends what is owed. 1: all of it. 0: would block. */
static int pay(struct conn *c, int flags, int *calls)
{
	while (c->owed) {
		size_t want = 1 + roll(&c->rnd) % CHUNK;
		ssize_t n = send(c->fd, stress_at(c->tx), want < c->owed ? want : c->owed, flags | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			fail(c, "send");
		++*calls;
		c->tx += (uint64_t)n;
		c->owed -= (uint64_t)n;
	}
	return 1;
}

/* Reads once. 1: got some, 0: would block. Sets `ended`. */
static int gulp(struct conn *c, int flags)
{
	static __thread uint8_t b[CHUNK];
	ssize_t n = recv(c->fd, b, 1 + roll(&c->rnd) % CHUNK, flags);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		fail(c, "recv");
	if (n == 0) {
		c->ended = 1;
		if (c->head_got || c->owed)
			fail(c, "ended within a request");
		return 1;
	}
	eat(c, b, (size_t)n);
	return 1;
}

/* One wake-up. With `all` reads until there is nothing, as edge triggering demands; else sometimes less. */
static void serve(struct conn *c, uint32_t mask, int all)
{
	int calls = 0, got = 0, more = 1;

	__atomic_add_fetch(&c->wakes, 1, __ATOMIC_RELAXED);
	maybe_stall(c);
	if (mask & (POLLOUT | POLLIN) && c->owed) {
		pay(c, MSG_DONTWAIT, &calls);
		if (mask & POLLOUT && !(mask & POLLIN) && !calls)
			c->vain++;
	}
	while (more && !c->ended && (all || mask & (POLLIN | POLLHUP | POLLERR))) {
		more = gulp(c, MSG_DONTWAIT);
		got += more;
		if (more && !all && roll(&c->rnd) % 4 == 0)
			break;
	}
	if (mask & POLLIN && !got && !calls && !c->ended)
		c->spurious++;
	pay(c, MSG_DONTWAIT, &calls);
}

static int of_mode(int mode, struct conn *mine[], int all)
{
	int n = 0;

	for (int i = 0; i < count; i++)
		if (conns[i].mode == mode && (all || !conns[i].ended))
			mine[n++] = &conns[i];
	return n;
}

/* --- the modes --- */

static void *with_epoll(void *arg)
{
	int mode = (int)(intptr_t)arg, ep = epoll_create1(EPOLL_CLOEXEC), left;
	uint32_t edge = mode == M_EDGE ? EPOLLET | EPOLLOUT : 0;
	struct conn *mine[CONNS_MAX];
	struct epoll_event e[CONNS_MAX];

	left = of_mode(mode, mine, 1);
	for (int i = 0; i < left; i++) {
		e[0].events = EPOLLIN | EPOLLRDHUP | edge;
		e[0].data.ptr = mine[i];
		epoll_ctl(ep, EPOLL_CTL_ADD, mine[i]->fd, &e[0]);
	}
	while (left) {
		int n = epoll_wait(ep, e, CONNS_MAX, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = e[i].data.ptr;
			uint64_t owed = c->owed;

			serve(c, e[i].events, edge != 0);
			if (c->ended) {
				epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
				close(c->fd);
				left--;
			} else if (!edge && !owed != !c->owed) {
				e[i].events = EPOLLIN | EPOLLRDHUP | (c->owed ? EPOLLOUT : 0u);
				epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e[i]);
			}
		}
	}
	close(ep);
	return NULL;
}

static void *with_poll(void *arg)
{
	struct conn *mine[CONNS_MAX];
	int n;

	(void)arg;
	while ((n = of_mode(M_POLL, mine, 0)) > 0) {
		struct pollfd p[CONNS_MAX];

		for (int i = 0; i < n; i++) {
			p[i].fd = mine[i]->fd;
			p[i].events = (short)(POLLIN | (mine[i]->owed ? POLLOUT : 0));
		}
		if (poll(p, (nfds_t)n, -1) < 0)
			fail(mine[0], "poll");
		for (int i = 0; i < n; i++)
			if (p[i].revents)
				serve(mine[i], (uint16_t)p[i].revents, 0);
	}
	return NULL;
}

static void *with_select(void *arg)
{
	struct conn *mine[CONNS_MAX];
	int n;

	(void)arg;
	while ((n = of_mode(M_SELECT, mine, 0)) > 0) {
		fd_set in, out;
		int max = 0;

		FD_ZERO(&in);
		FD_ZERO(&out);
		for (int i = 0; i < n; i++) {
			FD_SET(mine[i]->fd, &in);
			if (mine[i]->owed)
				FD_SET(mine[i]->fd, &out);
			max = mine[i]->fd > max ? mine[i]->fd : max;
		}
		if (select(max + 1, &in, &out, NULL, NULL) < 0)
			fail(mine[0], "select");
		for (int i = 0; i < n; i++) {
			uint32_t m = (FD_ISSET(mine[i]->fd, &in) ? POLLIN : 0) | (FD_ISSET(mine[i]->fd, &out) ? POLLOUT : 0);

			if (m)
				serve(mine[i], m, 0);
		}
	}
	return NULL;
}

static size_t read_all(struct conn *c, void *to, size_t n)
{
	ssize_t r = recv(c->fd, to, n, MSG_WAITALL);

	if (r < 0)
		fail(c, "recv");
	if ((size_t)r != n && r)
		fail(c, "MSG_WAITALL was short");
	return (size_t)r;
}

/* A whole request, by MSG_WAITALL. */
static void whole(struct conn *c)
{
	static __thread uint8_t b[CHUNK];
	struct request head;

	if (!read_all(c, &head, sizeof(head))) {
		c->ended = 1;
		return;
	}
	eat(c, (uint8_t *)&head, sizeof(head));
	while (c->left) {
		uint32_t part = c->left < CHUNK ? c->left : CHUNK;

		read_all(c, b, part);
		eat(c, b, part);
	}
}

/* Peeks, sometimes twice, then reads what it saw. */
static void peeked(struct conn *c)
{
	static __thread uint8_t seen[CHUNK], b[CHUNK];
	ssize_t n = recv(c->fd, seen, 1 + roll(&c->rnd) % CHUNK, MSG_PEEK);

	if (n > 0 && roll(&c->rnd) % 8 == 0 && recv(c->fd, b, (size_t)n, MSG_PEEK | MSG_DONTWAIT) != n)
		fail(c, "second peek");
	if (n < 0 || recv(c->fd, b, (size_t)n, n ? 0 : MSG_DONTWAIT) != n || memcmp(b, seen, (size_t)n))
		fail(c, "read after peek");
	if (n == 0)
		c->ended = 1;
	eat(c, b, (size_t)n);
}

static void *with_blocking(void *arg)
{
	struct conn *c = arg;
	int calls = 0;

	while (!c->ended) {
		if (c->mode == M_WAITALL)
			whole(c);
		else if (c->mode == M_PEEK)
			peeked(c);
		else
			gulp(c, 0);
		__atomic_add_fetch(&c->wakes, 1, __ATOMIC_RELAXED);
		maybe_stall(c);
		pay(c, 0, &calls);
	}
	return NULL;
}

/* Both processes wait for the same connections; whoever comes first serves. */
static void *with_pair(void *arg)
{
	struct conn *mine[CONNS_MAX];
	int n;

	(void)arg;
	while ((n = of_mode(M_PAIR, mine, 0)) > 0) {
		struct pollfd p[CONNS_MAX];

		for (int i = 0; i < n; i++) {
			p[i].fd = mine[i]->fd;
			p[i].events = (short)(POLLIN | (mine[i]->owed ? POLLOUT : 0));
		}
		/* the other process may come to owe while we wait: it stays awake for that, we may not */
		if (poll(p, (nfds_t)n, -1) < 0)
			fail(mine[0], "poll");
		for (int i = 0; i < n; i++) {
			if (!p[i].revents)
				continue;
			pthread_mutex_lock(&mine[i]->lock);
			if (!mine[i]->ended)
				serve(mine[i], (uint16_t)p[i].revents, 0);
			pthread_mutex_unlock(&mine[i]->lock);
		}
	}
	return NULL;
}

/* --- set up --- */

static void tell(int kind, struct control *m)
{
	m->kind = kind;
	if (send(CONTROL_FD, m, sizeof(*m), 0) < 0)
		_exit(1);
}

static void hear(struct control *m)
{
	if (recv(CONTROL_FD, m, sizeof(*m), 0) != sizeof(*m))
		_exit(1);
}

static struct sockaddr_in address(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int connected(struct control *m, int port)
{
	struct sockaddr_in a = address(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	tell(CT_CONNECT, m);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -1;
	hear(m);
	return fd;
}

static int accepted(struct control *m)
{
	struct sockaddr_in a = address(0);
	socklen_t n = sizeof(a);
	int fd, l = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(l, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(l, 4) < 0 ||
	    getsockname(l, (struct sockaddr *)&a, &n) < 0)
		return -1;
	m->arg = ntohs(a.sin_port);
	tell(CT_ACCEPT, m);
	fd = accept(l, NULL, NULL);
	hear(m);
	close(l);
	return fd;
}

static void make_conn(const struct options *o, int mode, int port)
{
	struct conn *c = &conns[count];
	struct control m = { .mode = mode, .id = count };
	pthread_mutexattr_t shared;

	c->mode = mode;
	c->id = count;
	c->rnd = (o->seed + (uint32_t)count) * 40503u | 1;
	c->fd = count & 1 ? accepted(&m) : connected(&m, port);
	if (c->fd < 0)
		fail(c, "no connection");
	pthread_mutexattr_init(&shared);
	pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&c->lock, &shared);
	count++;
}

static uint64_t wakes(uint64_t *spurious, int print)
{
	uint64_t all = 0;

	*spurious = 0;
	for (int m = 0; m < MODES; m++) {
		uint64_t w = 0, s = 0, v = 0, b = 0;

		for (int i = 0; i < count; i++) {
			if (conns[i].mode != m)
				continue;
			w += __atomic_load_n(&conns[i].wakes, __ATOMIC_RELAXED);
			s += conns[i].spurious;
			v += conns[i].vain;
			b += conns[i].rx + conns[i].tx;
		}
		all += w;
		*spurious += m == M_PAIR ? 0 : s + v; /* two processes wake for one arrival: inherent */
		if (print && w)
			printf("# %-8s %9llu wake-ups, %6llu with nothing to read, %6llu with no room, %5llu MB\n", names[m],
			       (unsigned long long)w, (unsigned long long)s, (unsigned long long)v,
			       (unsigned long long)b >> 20);
	}
	return all;
}

static void dump(void)
{
	for (int i = 0; i < count; i++) {
		struct conn *c = &conns[i];
		struct pollfd p = { .fd = c->fd, .events = POLLIN | POLLOUT | POLLRDHUP };
		int unread = -1;

		poll(&p, 1, 0);
		ioctl(c->fd, FIONREAD, &unread);
		printf("#   %d %s: poll %x, unread %d, request %u+%u left, owed %llu, rx %llu tx %llu wakes %llu\n", i,
		       names[c->mode], (unsigned int)p.revents, unread, c->head_got, c->left, (unsigned long long)c->owed,
		       (unsigned long long)c->rx, (unsigned long long)c->tx, (unsigned long long)c->wakes);
	}
	fflush(stdout);
}

static pid_t start(pthread_t *threads, int *n)
{
	static void *(*const go[MODES])(void *) = { with_epoll, with_epoll, with_poll, with_select, with_blocking,
						    with_blocking, with_blocking, with_pair };
	struct conn *mine[CONNS_MAX];
	pid_t twin = 0;

	if (of_mode(M_PAIR, mine, 1)) {
		fflush(NULL);
		twin = fork();
		if (twin == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(CONTROL_FD);
			for (int i = 0; i < count; i++)
				if (conns[i].mode != M_PAIR)
					close(conns[i].fd);
			with_pair(NULL);
			_exit(0);
		}
	}
	for (int m = 0; m < MODES; m++) {
		int have = of_mode(m, mine, 1);

		if (have && go[m] != with_blocking)
			pthread_create(&threads[(*n)++], NULL, go[m], (void *)(intptr_t)m);
		for (int i = 0; i < have && go[m] == with_blocking; i++)
			pthread_create(&threads[(*n)++], NULL, go[m], mine[i]);
	}
	return twin;
}

/* Until there were wake-ups enough or time is up. */
static void run_on(const struct options *o, uint64_t *spurious)
{
	time_t end = time(NULL) + o->seconds;

	while (wakes(spurious, 0) < o->wakeups && time(NULL) < end) {
		struct pollfd p = { .fd = CONTROL_FD, .events = POLLIN };

		if (poll(&p, 1, 100) > 0) {
			struct control m;

			hear(&m); /* CT_DUMP is all that it can be */
			dump();
			tell(CT_OK, &m);
			_exit(1);
		}
	}
}

int stress_app(const struct options *o, int port)
{
	struct control m = { 0 };
	pthread_t threads[CONNS_MAX + MODES];
	uint64_t all, spurious, before;
	int n = 0, status = 0;
	pid_t twin;

	conns = mmap(NULL, sizeof(*conns) * CONNS_MAX + sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	failed = (int *)(conns + CONNS_MAX);
	for (int mode = 0; mode < MODES; mode++)
		for (int i = 0; i < o->conns && (!o->only || !strcmp(o->only, names[mode])); i++)
			make_conn(o, mode, port);
	twin = start(threads, &n);
	tell(CT_START, &m);
	run_on(o, &spurious);
	tell(CT_ENOUGH, &m);
	hear(&m);
	if (m.kind == CT_DUMP) {
		dump();
		tell(CT_OK, &m);
		return 1;
	}
	before = wakes(&spurious, 0);
	sleep(1);
	all = wakes(&spurious, 1);
	m.arg = (int32_t)(all - before);
	tell(CT_FINISH, &m);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < count; i++)
		close(conns[i].fd);
	if (twin)
		waitpid(twin, &status, 0);
	printf("# %llu wake-ups, %llu spurious (%.3f %%)\n", (unsigned long long)all, (unsigned long long)spurious,
	       100.0 * (double)spurious / (double)all);
	return *failed || status || all < o->wakeups || spurious * 100 > all;
}
