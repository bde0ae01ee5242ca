// SPDX-License-Identifier: Apache-2.0
/*
 * stress_peer.c - doorbell_stress's native side: asks, checks the replies, and watches for progress.
 * Trust: a test's own processes.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "test/same/stress.h"

#define HANG_MS  10000
#define DEPTH    3
#define QUIET_MS 3000 /* the INS gives memory back 2 s after traffic */

struct conn {
	int fd, mode, id;
	uint32_t rnd;
	struct request now;    /* being sent */
	uint32_t head_left, left;
	uint64_t tx, rx;       /* pattern bytes */
	uint64_t expected;     /* rx when all replies asked for are here */
	uint64_t mark[DEPTH];  /* rx at which each request under way is answered */
	int under_way;
	int64_t stall_until, moved;
};

static struct conn conns[CONNS_MAX];
static int count;
static int stopping; /* no new requests */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int broken(const struct conn *c, const char *what)
{
	printf("# connection %d (mode %d): %s; sent %llu, received %llu of %llu: %s\n", c->id, c->mode, what,
	       (unsigned long long)c->tx, (unsigned long long)c->rx, (unsigned long long)c->expected, strerror(errno));
	return -1;
}

static void next_request(struct conn *c)
{
	c->now.bytes = roll_size(&c->rnd);
	c->now.reply = roll_size(&c->rnd);
	c->head_left = sizeof(c->now);
	c->left = c->now.bytes;
	c->expected += c->now.reply;
	c->mark[c->under_way++] = c->expected;
}

static int pump_out(struct conn *c)
{
	for (;;) {
		struct iovec iov[2];
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
		ssize_t n;

		if (!c->left && (stopping || c->under_way >= (int)(1 + roll(&c->rnd) % DEPTH)))
			return 0;
		if (!c->left)
			next_request(c);
		iov[0].iov_base = (uint8_t *)&c->now + sizeof(c->now) - c->head_left;
		iov[0].iov_len = c->head_left;
		iov[1].iov_base = (void *)(uintptr_t)stress_at(c->tx);
		iov[1].iov_len = c->left < CHUNK ? c->left : CHUNK;
		n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? 0 : broken(c, "send");
		c->moved = now_ms();
		if ((size_t)n < c->head_left) {
			c->head_left -= (uint32_t)n;
			continue;
		}
		n -= c->head_left;
		c->head_left = 0;
		c->tx += (uint64_t)n;
		c->left -= (uint32_t)n;
	}
}

static int pump_in(struct conn *c)
{
	static uint8_t b[CHUNK];
	ssize_t n = recv(c->fd, b, 1 + roll(&c->rnd) % CHUNK, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? 0 : broken(c, "recv");
	if (n == 0)
		return broken(c, "early end");
	if (memcmp(b, stress_at(c->rx), (size_t)n))
		return broken(c, "wrong bytes");
	c->rx += (uint64_t)n;
	c->moved = now_ms();
	if (c->rx > c->expected)
		return broken(c, "too many bytes");
	while (c->under_way && c->rx >= c->mark[0]) {
		memmove(c->mark, c->mark + 1, sizeof(c->mark) - sizeof(c->mark[0]));
		c->under_way--;
	}
	if (roll(&c->rnd) % 2000 == 0)
		c->stall_until = now_ms() + 1 + roll(&c->rnd) % 30;
	return 0;
}

/* --- control --- */

static int dial(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -1 : fd;
}

static int control_connection(const struct options *o, const struct control *m, int listener)
{
	struct conn *c = &conns[count];

	if (count == CONNS_MAX)
		return -1;
	c->fd = m->kind == CT_CONNECT ? accept(listener, NULL, NULL) : dial(m->arg);
	if (c->fd < 0)
		return -1;
	c->mode = m->mode;
	c->id = m->id;
	c->rnd = (o->seed + (uint32_t)m->id) * 2654435761u | 1;
	c->moved = now_ms();
	count++;
	return 0;
}

static int take_control(const struct options *o, int listener, int channel, struct control *m)
{
	if (recv(channel, m, sizeof(*m), 0) != sizeof(*m)) {
		printf("# the application is gone\n");
		return -1;
	}
	if (m->kind == CT_CONNECT || m->kind == CT_ACCEPT) {
		m->arg = control_connection(o, m, listener);
		if (m->arg < 0)
			return -1;
		m->kind = CT_OK;
		send(channel, m, sizeof(*m), 0);
	}
	return 0;
}

/* --- watching --- */

static int hung(int channel)
{
	struct control m = { .kind = CT_DUMP };
	struct pollfd p = { .fd = channel, .events = POLLIN };
	int64_t now = now_ms();
	int bad = 0;

	for (int i = 0; i < count; i++) {
		struct conn *c = &conns[i];
		int unsent = 0, unread = 0;

		if ((!c->left && !c->under_way) || now - c->moved < HANG_MS)
			continue;
		ioctl(c->fd, SIOCOUTQ, &unsent);
		ioctl(c->fd, SIOCINQ, &unread);
		printf("# connection %d (mode %d) HANGS: %d under way, %u to send, kernel unsent %d unread %d, tx %llu rx %llu\n",
		       c->id, c->mode, c->under_way, c->left, unsent, unread, (unsigned long long)c->tx,
		       (unsigned long long)c->rx);
		bad = 1;
	}
	if (bad && send(channel, &m, sizeof(m), MSG_NOSIGNAL) > 0)
		poll(&p, 1, 3000);
	return bad;
}

static int parent_of(int pid, char comm[64], long *ticks)
{
	char path[64];
	unsigned long user = 0, sys = 0;
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%*d (%63[^)]) %*c %d %*d %*d %*d %*d %*d %*d %*d %*d %*d %lu %lu", comm, &parent, &user, &sys) != 4)
		parent = 0;
	*ticks = (long)(user + sys);
	fclose(f);
	return parent;
}

/* The processor time, in ticks, of mw's descendants that are called mw-ins. -1: there is none. */
static long ins_ticks(int mw_pid)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	long all = -1;

	while (d && (e = readdir(d))) {
		char comm[64] = "", other[64];
		long ticks = 0, ignored;
		int pid = atoi(e->d_name), up = pid > 0 ? parent_of(pid, comm, &ticks) : 0;

		if (strcmp(comm, "mw-ins"))
			continue;
		while (up > 1 && up != mw_pid)
			up = parent_of(up, other, &ignored);
		if (up == mw_pid)
			all = (all < 0 ? 0 : all) + ticks;
	}
	if (d)
		closedir(d);
	return all;
}

static int all_quiet(void)
{
	for (int i = 0; i < count; i++)
		if (conns[i].left || conns[i].under_way)
			return 0;
	return 1;
}

static int step(void)
{
	struct pollfd p[CONNS_MAX];
	int64_t now = now_ms();

	for (int i = 0; i < count; i++) {
		struct conn *c = &conns[i];

		p[i].fd = c->fd;
		p[i].events = (short)((c->stall_until > now ? 0 : POLLIN) | (c->left ? POLLOUT : 0));
	}
	if (poll(p, (nfds_t)count, 5) < 0)
		return -1;
	for (int i = 0; i < count; i++) {
		struct conn *c = &conns[i];

		if (p[i].revents & (POLLIN | POLLERR | POLLHUP) && c->stall_until <= now && pump_in(c) < 0)
			return -1;
		if (pump_out(c) < 0)
			return -1;
	}
	return 0;
}

/* Until mw-ins, which has memory to give back after traffic, used no processor time for a while. */
static void settle(int mw_pid)
{
	long before;

	for (int i = 0; i < 10; i++) {
		before = ins_ticks(mw_pid);
		usleep(QUIET_MS * 1000);
		if (ins_ticks(mw_pid) == before)
			return;
	}
}

/* All is answered: nothing may wake for a second. The application counts its wake-ups, we mw-ins's ticks. */
static int idle(int channel, int mw_pid)
{
	struct control m = { .kind = CT_IDLE };
	long before, after;

	if (mw_pid)
		settle(mw_pid);
	before = mw_pid ? ins_ticks(mw_pid) : 0;
	send(channel, &m, sizeof(m), 0);
	if (recv(channel, &m, sizeof(m), 0) != sizeof(m) || m.kind != CT_FINISH)
		return -1;
	after = mw_pid ? ins_ticks(mw_pid) : 0;
	printf("# idle: %d wake-ups in the application, %ld ticks in mw-ins\n", m.arg, after - before);
	return before < 0 || after != before || m.arg ? -1 : 0;
}

/* Ends all streams: each must answer with its own end, and no byte more. */
static int finish(void)
{
	int bad = 0;

	for (int i = 0; i < count; i++)
		shutdown(conns[i].fd, SHUT_WR);
	for (int i = 0; i < count; i++) {
		struct pollfd p = { .fd = conns[i].fd, .events = POLLIN };
		char b;

		errno = ETIMEDOUT;
		if (poll(&p, 1, HANG_MS) < 1 || recv(conns[i].fd, &b, 1, 0) != 0)
			bad = broken(&conns[i], "no clean end");
	}
	return bad;
}

int stress_peer(const struct options *o, int listener, int channel, int mw_pid)
{
	struct control m = { 0 };
	uint64_t bytes = 0;
	int bad;

	while (m.kind != CT_START)
		if (take_control(o, listener, channel, &m) < 0)
			return 1;
	while (!stopping || !all_quiet()) {
		struct pollfd p = { .fd = channel, .events = POLLIN };

		if (step() < 0 || hung(channel))
			return 1;
		if (poll(&p, 1, 0) > 0) {
			if (take_control(o, listener, channel, &m) < 0)
				return 1;
			stopping |= m.kind == CT_ENOUGH;
		}
	}
	bad = idle(channel, mw_pid) < 0;
	if (bad)
		printf("# not idle\n");
	bad |= finish() < 0;
	for (int i = 0; i < count; i++)
		bytes += conns[i].tx + conns[i].rx;
	printf("# peer: %d connections, %llu MB\n", count, (unsigned long long)bytes >> 20);
	return bad;
}
