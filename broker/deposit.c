// SPDX-License-Identifier: Apache-2.0
/*
 * deposit.c - see deposit.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "broker/deposit.h"
#include "lib/clock.h"
#include "lib/seldom.h"

#define PATIENCE_S 5
#define TRIES      10

static int depot_fd = -1;
static bool is_lost; /* said by who sees it in poll */
static struct deposit *found;
static size_t found_count;

/* --- records --- */

int depot_send(int sock, struct depot_msg *m, const int *fds, int flags)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(DEPOT_FDS * sizeof(int))];
	} c = { 0 };
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	int list[DEPOT_FDS], n = 0;

	m->version = DEPOT_VERSION;
	m->mask = 0;
	for (int i = 0; fds && i < DEPOT_FDS; i++)
		if (fds[i] >= 0) {
			list[n++] = fds[i];
			m->mask |= 1u << i;
		}
	if (n) {
		h.msg_control = c.bytes;
		h.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		c.head.cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
		memcpy(CMSG_DATA(&c.head), list, (size_t)n * sizeof(int));
	}
	return sendmsg(sock, &h, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Those that came, where the mask says; too few (no more descriptors to be had): none. */
static int place(const struct depot_msg *m, const int *list, int n, int fds[DEPOT_FDS])
{
	int used = 0;

	for (int i = 0; i < DEPOT_FDS; i++)
		if (m->mask >> i & 1 && used < n)
			fds[i] = list[used++];
	if (n == __builtin_popcount(m->mask) && !(m->mask >> DEPOT_FDS))
		return 1;
	for (int i = 0; i < n; i++)
		close(list[i]);
	for (int i = 0; i < DEPOT_FDS; i++)
		fds[i] = -1;
	return -EMFILE;
}

int depot_recv(int sock, struct depot_msg *m, int fds[DEPOT_FDS], int flags)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(DEPOT_FDS * sizeof(int))];
	} c = { 0 };
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = sizeof(c) };
	ssize_t n = recvmsg(sock, &h, flags | MSG_CMSG_CLOEXEC);
	int list[DEPOT_FDS], count = 0;

	for (int i = 0; i < DEPOT_FDS; i++)
		fds[i] = -1;
	if (n <= 0)
		return n < 0 ? -errno : 0;
	for (struct cmsghdr *p = CMSG_FIRSTHDR(&h); p; p = CMSG_NXTHDR(&h, p))
		if (p->cmsg_level == SOL_SOCKET && p->cmsg_type == SCM_RIGHTS) {
			count = (int)((p->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(list, CMSG_DATA(p), (size_t)count * sizeof(int));
		}
	if (n != sizeof(*m) || h.msg_flags & MSG_TRUNC) {
		while (count)
			close(list[--count]);
		return -EPROTO;
	}
	m->key[DEPOT_KEY - 1] = 0;
	return place(m, list, count, fds);
}

/* --- to the depot --- */

void deposit_to(int depot)
{
	struct timeval limit = { .tv_sec = PATIENCE_S };

	depot_fd = depot;
	is_lost = false;
	if (depot >= 0)
		setsockopt(depot, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

int deposit_depot(void)
{
	return depot_fd;
}

static void lost(void)
{
	shutdown(depot_fd, SHUT_RDWR);
	is_lost = true;
}

/* For want of memory what was not sent is only not kept; an answer stays to be read. EINTR: we were stopped, and go on. */
static int ask(struct depot_msg *m, const int *fds)
{
	int none[DEPOT_FDS], r, tries = 0;

	while ((r = depot_send(depot_fd, m, fds, 0)) == -EINTR)
		;
	if (r == -ENOBUFS || r == -ENOMEM)
		return r;
	if (r == 0)
		while ((r = depot_recv(depot_fd, m, none, 0)) == -EINTR || (r == -ENOMEM && ++tries < TRIES))
			;
	if (r == 1)
		return m->status;
	lost();
	return -ECHILD;
}

static int memory_of(const void *bytes, size_t n)
{
	int fd = memfd_create("mwcomms-deposit", MFD_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	if (write(fd, bytes, n) == (ssize_t)n)
		return fd;
	r = -ENOSPC;
	close(fd);
	return r;
}

void deposit_put(const char *key, const void *bytes, size_t n, const int *fds, int count, const struct deposit_about *about)
{
	static struct seldom lines; /* whatever an INS asks for may want a place */
	struct depot_msg m = { .kind = DEPOT_PUT };
	int all[DEPOT_FDS], r;

	if (depot_fd < 0 || is_lost)
		return;
	for (int i = 0; i < DEPOT_FDS; i++)
		all[i] = i > 0 && i <= count ? fds[i - 1] : -1;
	snprintf(m.key, sizeof(m.key), "%s", key);
	if (about) {
		m.life = (uint32_t)about->life;
		m.pid = about->pid;
		m.status = about->status;
	}
	r = all[0] = memory_of(bytes, n);
	if (r >= 0)
		r = ask(&m, all);
	if (r < 0 && !is_lost && seldom_may(&lines, clock_ms()))
		fprintf(stderr, "mw: what an adopter would need (%s) cannot be kept: %s\n", key, strerror(-r));
	if (all[0] >= 0)
		close(all[0]);
}

void deposit_drop(const char *key)
{
	struct depot_msg m = { .kind = DEPOT_DROP };

	if (depot_fd < 0 || is_lost)
		return;
	snprintf(m.key, sizeof(m.key), "%s", key);
	ask(&m, NULL);
}

const char *deposit_key(char key[DEPOT_KEY], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(key, DEPOT_KEY, fmt, ap);
	va_end(ap);
	return key;
}

struct deposit_words *deposit_words(void)
{
	static struct deposit_words plain, *words;
	struct deposit *left = deposit_find("words");
	void *base = MAP_FAILED;
	int fd;

	if (words)
		return words;
	fd = left ? left->fds[0] : memfd_create("mwcomms-words", MFD_CLOEXEC);
	if (fd >= 0 && (left || ftruncate(fd, sizeof(plain)) == 0))
		base = mmap(NULL, sizeof(plain), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	words = base == MAP_FAILED ? &plain : base;
	if (!left && fd >= 0) {
		deposit_put("words", "", 0, &fd, 1, NULL);
		close(fd);
	}
	return words;
}

void deposit_end(void)
{
	struct depot_msg m = { .kind = DEPOT_END };
	int none[DEPOT_FDS];

	if (depot_fd < 0)
		return;
	if (depot_send(depot_fd, &m, NULL, 0) == 0)
		depot_recv(depot_fd, &m, none, 0); /* it says nothing: it closes */
	close(depot_fd);
	depot_fd = -1;
}

/* --- from the depot --- */

static int read_all(struct deposit *d, int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -EPROTO;
	d->n = (size_t)st.st_size;
	d->bytes = calloc(1, d->n + 1);
	if (!d->bytes)
		return -ENOMEM;
	return pread(fd, d->bytes, d->n, 0) == (ssize_t)d->n ? 0 : -EPROTO;
}

static int take(const struct depot_msg *m, int fds[DEPOT_FDS])
{
	struct deposit *d = &found[found_count];
	int r;

	if (found_count == DEPOT_LOTS)
		return -EPROTO;
	found_count++;
	memcpy(d->key, m->key, sizeof(d->key));
	d->pid = m->pid;
	d->status = m->status;
	memcpy(d->fds, fds + 1, sizeof(d->fds));
	r = read_all(d, fds[0]);
	if (fds[0] >= 0)
		close(fds[0]);
	return r;
}

static int take_all(int depot, pid_t *pid, uint32_t *version)
{
	int fds[DEPOT_FDS], r;
	struct depot_msg m;

	for (;;) {
		r = depot_recv(depot, &m, fds, 0);
		if (r <= 0)
			return r < 0 ? r : -ECONNRESET;
		*version = m.version;
		*pid = m.pid;
		if (m.version != DEPOT_VERSION || (m.kind != DEPOT_LOT && m.kind != DEPOT_ALL))
			return m.version == DEPOT_VERSION && m.kind == DEPOT_BUSY ? -EBUSY : -EPROTO;
		if (m.kind == DEPOT_ALL)
			return 0;
		r = take(&m, fds);
		if (r < 0)
			return r;
	}
}

int deposit_adopt(int depot, pid_t front, int *deaths, pid_t *pid, uint32_t *version)
{
	struct depot_msg hello = { .kind = DEPOT_HELLO };
	int fds[DEPOT_FDS], pair[2], r;

	for (int i = 0; i < DEPOT_FDS; i++)
		fds[i] = -1;
	found = calloc(DEPOT_LOTS, sizeof(*found));
	if (!found)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	fds[0] = pair[1];
	fds[1] = pidfd_open(front, 0);
	deposit_to(depot);
	r = depot_send(depot, &hello, fds, 0);
	close(pair[1]);
	if (fds[1] >= 0)
		close(fds[1]);
	if (r == 0)
		r = take_all(depot, pid, version);
	*deaths = pair[0];
	return r;
}

struct deposit *deposit_next(const char *prefix, size_t *i)
{
	while (*i < found_count) {
		struct deposit *d = &found[(*i)++];

		if (!strncmp(d->key, prefix, strlen(prefix)))
			return d;
	}
	return NULL;
}

struct deposit *deposit_find(const char *key)
{
	for (size_t i = 0; i < found_count; i++)
		if (!strcmp(found[i].key, key))
			return &found[i];
	return NULL;
}

void deposit_forget(void)
{
	for (size_t i = 0; i < found_count; i++) {
		free(found[i].bytes);
		for (int j = 0; j < DEPOSIT_FDS; j++)
			if (found[i].fds[j] >= 0)
				close(found[i].fds[j]);
	}
	free(found);
	found = NULL;
	found_count = 0;
}
