// SPDX-License-Identifier: Apache-2.0
/*
 * stress_modes.c - see stress_modes.h.
 * Trust: a test's own processes.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/same/stress_modes.h"

const char *const stress_names[MODES] = { "edge", "level", "poll", "select", "block", "waitall", "peek", "pair" };
struct conn *stress_conns;
int *stress_failed;
int stress_count;

void stress_fail(const struct conn *c, const char *what)
{
	fprintf(stderr, "# app: connection %d (%s): %s: %s\n", c->id, stress_names[c->mode], what, strerror(errno));
	*stress_failed = 1;
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
	stress_fail(c, "wrong bytes");
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
			stress_fail(c, "send");
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
		stress_fail(c, "recv");
	if (n == 0) {
		c->ended = 1;
		if (c->head_got || c->owed)
			stress_fail(c, "ended within a request");
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

int stress_of_mode(int mode, struct conn *mine[], int all)
{
	int n = 0;

	for (int i = 0; i < stress_count; i++)
		if (stress_conns[i].mode == mode && (all || !stress_conns[i].ended))
			mine[n++] = &stress_conns[i];
	return n;
}

/* --- the modes --- */

static void *with_epoll(void *arg)
{
	int mode = (int)(intptr_t)arg, ep = epoll_create1(EPOLL_CLOEXEC), left;
	uint32_t edge = mode == M_EDGE ? EPOLLET | EPOLLOUT : 0;
	struct conn *mine[CONNS_MAX];
	struct epoll_event e[CONNS_MAX];

	left = stress_of_mode(mode, mine, 1);
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
	while ((n = stress_of_mode(M_POLL, mine, 0)) > 0) {
		struct pollfd p[CONNS_MAX];

		for (int i = 0; i < n; i++) {
			p[i].fd = mine[i]->fd;
			p[i].events = (short)(POLLIN | (mine[i]->owed ? POLLOUT : 0));
		}
		if (poll(p, (nfds_t)n, -1) < 0)
			stress_fail(mine[0], "poll");
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
	while ((n = stress_of_mode(M_SELECT, mine, 0)) > 0) {
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
			stress_fail(mine[0], "select");
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
		stress_fail(c, "recv");
	if ((size_t)r != n && r)
		stress_fail(c, "MSG_WAITALL was short");
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
		stress_fail(c, "second peek");
	if (n < 0 || recv(c->fd, b, (size_t)n, n ? 0 : MSG_DONTWAIT) != n || memcmp(b, seen, (size_t)n))
		stress_fail(c, "read after peek");
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
	while ((n = stress_of_mode(M_PAIR, mine, 0)) > 0) {
		struct pollfd p[CONNS_MAX];

		for (int i = 0; i < n; i++) {
			p[i].fd = mine[i]->fd;
			p[i].events = (short)(POLLIN | (mine[i]->owed ? POLLOUT : 0));
		}
		/* the other process may come to owe while we wait: it stays awake for that, we may not */
		if (poll(p, (nfds_t)n, -1) < 0)
			stress_fail(mine[0], "poll");
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

void *(*const stress_threads[MODES])(void *) = { with_epoll, with_epoll, with_poll, with_select, with_blocking,
						 with_blocking, with_blocking, with_pair };
