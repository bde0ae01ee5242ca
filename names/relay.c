// SPDX-License-Identifier: Apache-2.0
/*
 * relay.c - a resolver on the host's loopback (127.0.0.53, ::1) is reached in the INS's network under its own address.
 * Trust: what comes from either side is passed on, never looked at.
 *
 * The INS's namespace has a loopback of its own. A process of ours, in the host's network, holds sockets bound there to the very
 * address and port that resolv.conf names, and passes datagrams and connections on to the same address of the host: so libc's
 * resolver works, and any that the application brings along. It is made only where somebody on the host has that port: a name
 * server that itself runs protected keeps it.
 *
 * A client's datagrams share one socket to the host for as long as they come (a flow); its port is the kernel's choice.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <resolv.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "names/names.h"

#define FLOWS 256
#define FLOW_NS 15000000000 /* longer than any resolver waits for one answer */
#define CONNECTIONS 64
#define IDLE_MS 60000
#define BIND_TRIES 100      /* 10 ms each: until a killed predecessor's sockets are gone */
#define DATAGRAM_MAX 65536

struct server {
	struct sockaddr_storage addr;
	socklen_t len;
	int fd[2]; /* in the INS's network: UDP, TCP; -1: not served */
};

struct flow {
	int fd; /* to the host's resolver; -1: free */
	struct server *server;
	struct sockaddr_storage client;
	socklen_t len;
	uint64_t used_ns;
};

struct link {
	int client;
	const struct server *server;
};

static struct server servers[MAXNS];
static size_t server_count;
static struct flow flows[FLOWS];
static int connections;
static const int types[2] = { SOCK_DGRAM, SOCK_STREAM };

/* --- which --- */

static bool is_loopback(const struct sockaddr *sa)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

	if (sa->sa_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	return sa->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static int bound(const struct server *s, int type)
{
	int on = 1, fd = socket(s->addr.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&s->addr, s->len) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0)) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

/* In the host's network: somebody has this port of loopback. */
static bool is_taken(const struct server *s, int type)
{
	int fd = bound(s, type);

	if (fd >= 0)
		close(fd);
	return fd == -EADDRINUSE;
}

static void add_server(const struct sockaddr *sa, socklen_t len)
{
	struct server *s = &servers[server_count];

	if (!is_loopback(sa))
		return;
	memcpy(&s->addr, sa, len);
	s->len = len;
	for (int i = 0; i < 2; i++)
		s->fd[i] = is_taken(s, types[i]) ? 0 : -1;
	if (s->fd[0] == 0 || s->fd[1] == 0)
		server_count++;
}

static void find_servers(void)
{
	struct __res_state st = { 0 };

	if (res_ninit(&st) < 0)
		return;
	for (int i = 0; i < st.nscount && i < MAXNS; i++) {
		if (st.nsaddr_list[i].sin_family == AF_INET)
			add_server((struct sockaddr *)&st.nsaddr_list[i], sizeof(st.nsaddr_list[i]));
		else if (st._u._ext.nsaddrs[i])
			add_server((struct sockaddr *)st._u._ext.nsaddrs[i], sizeof(*st._u._ext.nsaddrs[i]));
	}
	res_nclose(&st);
}

/* In the INS's network. */
static void open_servers(void)
{
	struct timespec step = { .tv_nsec = 10000000 };

	for (size_t i = 0; i < 2 * server_count; i++) {
		int *fd = &servers[i / 2].fd[i % 2];

		if (*fd < 0)
			continue;
		*fd = bound(&servers[i / 2], types[i % 2]);
		for (int tries = 0; *fd == -EADDRINUSE && tries < BIND_TRIES; tries++) {
			nanosleep(&step, NULL);
			*fd = bound(&servers[i / 2], types[i % 2]);
		}
	}
}

/* --- datagrams --- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void flow_end(struct flow *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* A free one, or the one that is idle the longest. */
static struct flow *flow_new(struct server *s, const struct sockaddr_storage *client, socklen_t len)
{
	struct flow *f = &flows[0];

	for (size_t i = 1; i < FLOWS && f->fd >= 0; i++)
		if (flows[i].fd < 0 || flows[i].used_ns < f->used_ns)
			f = &flows[i];
	flow_end(f);
	f->fd = socket(s->addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (f->fd < 0)
		return NULL;
	if (connect(f->fd, (struct sockaddr *)&s->addr, s->len) < 0) {
		flow_end(f);
		return NULL;
	}
	f->server = s;
	f->client = *client;
	f->len = len;
	return f;
}

static struct flow *flow_of(struct server *s, const struct sockaddr_storage *client, socklen_t len)
{
	for (size_t i = 0; i < FLOWS; i++)
		if (flows[i].fd >= 0 && flows[i].server == s && flows[i].len == len && !memcmp(&flows[i].client, client, len))
			return &flows[i];
	return flow_new(s, client, len);
}

static void datagram_out(struct server *s)
{
	static char buffer[DATAGRAM_MAX];
	struct sockaddr_storage client;
	socklen_t len = sizeof(client);
	ssize_t n = recvfrom(s->fd[0], buffer, sizeof(buffer), 0, (struct sockaddr *)&client, &len);
	struct flow *f = n < 0 ? NULL : flow_of(s, &client, len);

	if (!f)
		return;
	f->used_ns = now_ns();
	send(f->fd, buffer, (size_t)n, MSG_NOSIGNAL);
}

static void datagram_back(struct flow *f)
{
	static char buffer[DATAGRAM_MAX];
	ssize_t n = recv(f->fd, buffer, sizeof(buffer), 0);

	if (n >= 0)
		sendto(f->server->fd[0], buffer, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&f->client, f->len);
	else if (errno != EAGAIN && errno != EINTR)
		flow_end(f); /* nobody is there: the client's time-out says so */
}

/* --- connections --- */

static bool pass(int from, int to)
{
	char buffer[16384];
	ssize_t n = read(from, buffer, sizeof(buffer));

	for (ssize_t sent = 0, r; n > 0 && sent < n; sent += r) {
		r = send(to, buffer + sent, (size_t)(n - sent), MSG_NOSIGNAL);
		if (r <= 0)
			return false;
	}
	if (n <= 0)
		shutdown(to, SHUT_WR);
	return n > 0;
}

/* Both ways until both have ended, or nothing has moved for a while. */
static void pump(int a, int b)
{
	struct pollfd p[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 2, IDLE_MS) <= 0)
			return;
		if (p[0].revents && !pass(a, b))
			p[0].fd = -1;
		if (p[1].revents && !pass(b, a))
			p[1].fd = -1;
	}
}

static void *carry(void *arg)
{
	struct link l = *(struct link *)arg;
	int fd = socket(l.server->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	__atomic_store_n(&((struct link *)arg)->client, -1, __ATOMIC_RELEASE); /* taken over */
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&l.server->addr, l.server->len) == 0)
		pump(l.client, fd);
	if (fd >= 0)
		close(fd);
	close(l.client);
	__atomic_fetch_sub(&connections, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void connection(const struct server *s)
{
	struct link l = { .client = accept4(s->fd[1], NULL, NULL, SOCK_CLOEXEC), .server = s };
	pthread_attr_t attr;
	pthread_t thread;
	int client = l.client;

	if (client < 0)
		return;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	__atomic_fetch_add(&connections, 1, __ATOMIC_ACQUIRE);
	if (pthread_create(&thread, &attr, carry, &l) != 0) {
		__atomic_fetch_sub(&connections, 1, __ATOMIC_RELAXED);
		close(client);
	} else {
		while (__atomic_load_n(&l.client, __ATOMIC_ACQUIRE) >= 0)
			sched_yield();
	}
	pthread_attr_destroy(&attr);
}

/* --- the process --- */

/* Returns how many; p[2 * i + type] are the servers' sockets, then come the flows. */
static nfds_t watch(struct pollfd p[2 * MAXNS + FLOWS])
{
	bool full = __atomic_load_n(&connections, __ATOMIC_ACQUIRE) >= CONNECTIONS;
	nfds_t n = 0;

	for (size_t i = 0; i < 2 * server_count; i++)
		p[n++] = (struct pollfd){ .fd = i % 2 && full ? -1 : servers[i / 2].fd[i % 2], .events = POLLIN };
	for (size_t i = 0; i < FLOWS; i++)
		p[n++] = (struct pollfd){ .fd = flows[i].fd, .events = POLLIN };
	return n;
}

static void loop(void)
{
	static struct pollfd p[2 * MAXNS + FLOWS];

	for (;;) {
		nfds_t n = watch(p);
		uint64_t now;

		if (poll(p, n, 1000) < 0)
			continue;
		now = now_ns();
		for (size_t i = 0; i < 2 * server_count; i++) {
			if (p[i].revents && i % 2)
				connection(&servers[i / 2]);
			else if (p[i].revents)
				datagram_out(&servers[i / 2]);
		}
		for (size_t i = 0; i < FLOWS; i++) {
			if (p[2 * server_count + i].revents && p[2 * server_count + i].fd == flows[i].fd)
				datagram_back(&flows[i]);
			else if (flows[i].fd >= 0 && flows[i].used_ns + FLOW_NS < now)
				flow_end(&flows[i]);
		}
	}
}

static void relay(pid_t parent, int home)
{
	if (setns(home, CLONE_NEWNET) < 0 || sandbox_enter() < 0)
		_exit(1);
	close_range(NAMES_BROKER_FD, NAMES_LISTEN_FD, 0); /* the parent is to be alone with them */
	close(home);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* after the change of user, which clears it */
	if (getppid() != parent)
		_exit(1);
	for (size_t i = 0; i < FLOWS; i++)
		flows[i].fd = -1;
	loop();
}

static void close_servers(void)
{
	for (size_t i = 0; i < 2 * server_count; i++)
		if (servers[i / 2].fd[i % 2] >= 0)
			close(servers[i / 2].fd[i % 2]);
}

int relay_start(int ins_netns, int *pidfd)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), r = 0;
	pid_t parent = getpid(), pid;

	if (home < 0)
		return -errno;
	find_servers();
	if (setns(ins_netns, CLONE_NEWNET) < 0)
		r = -errno;
	close(ins_netns);
	*pidfd = -1;
	if (r == 0 && server_count) {
		open_servers();
		pid = fork();
		if (pid == 0)
			relay(parent, home);
		*pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
		r = *pidfd < 0 ? -errno : 0;
		close_servers();
	}
	close(home);
	return r;
}
