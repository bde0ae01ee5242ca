// SPDX-License-Identifier: Apache-2.0
/*
 * stress_app.c - doorbell_stress's application side: makes the connections, starts their threads, counts.
 * Trust: a test's own processes.
 *
 * A mode is a way to wait. One thread has all connections of a mode that waits for many; blocking modes have one
 * thread each; "pair" is two processes on the same connections, which take turns by a lock in shared memory.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/same/stress_modes.h"

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
	struct conn *c = &stress_conns[stress_count];
	struct control m = { .mode = mode, .id = stress_count };
	pthread_mutexattr_t shared;

	c->mode = mode;
	c->id = stress_count;
	c->rnd = (o->seed + (uint32_t)stress_count) * 40503u | 1;
	c->fd = stress_count & 1 ? accepted(&m) : connected(&m, port);
	if (c->fd < 0)
		stress_fail(c, "no connection");
	pthread_mutexattr_init(&shared);
	pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&c->lock, &shared);
	stress_count++;
}

static uint64_t wakes(uint64_t *spurious, int print)
{
	uint64_t all = 0;

	*spurious = 0;
	for (int m = 0; m < MODES; m++) {
		uint64_t w = 0, s = 0, v = 0, b = 0;

		for (int i = 0; i < stress_count; i++) {
			if (stress_conns[i].mode != m)
				continue;
			w += __atomic_load_n(&stress_conns[i].wakes, __ATOMIC_RELAXED);
			s += stress_conns[i].spurious;
			v += stress_conns[i].vain;
			b += stress_conns[i].rx + stress_conns[i].tx;
		}
		all += w;
		*spurious += m == M_PAIR ? 0 : s + v; /* two processes wake for one arrival: inherent */
		if (print && w)
			printf("# %-8s %9llu wake-ups, %6llu with nothing to read, %6llu with no room, %5llu MB\n", stress_names[m],
			       (unsigned long long)w, (unsigned long long)s, (unsigned long long)v,
			       (unsigned long long)b >> 20);
	}
	return all;
}

static void dump(void)
{
	for (int i = 0; i < stress_count; i++) {
		struct conn *c = &stress_conns[i];
		struct pollfd p = { .fd = c->fd, .events = POLLIN | POLLOUT | POLLRDHUP };
		int unread = -1;

		poll(&p, 1, 0);
		ioctl(c->fd, FIONREAD, &unread);
		printf("#   %d %s: poll %x, unread %d, request %u+%u left, owed %llu, rx %llu tx %llu wakes %llu\n", i,
		       stress_names[c->mode], (unsigned int)p.revents, unread, c->head_got, c->left, (unsigned long long)c->owed,
		       (unsigned long long)c->rx, (unsigned long long)c->tx, (unsigned long long)c->wakes);
	}
	fflush(stdout);
}

static pid_t start(pthread_t *threads, int *n)
{
	struct conn *mine[CONNS_MAX];
	pid_t twin = 0;

	if (stress_of_mode(M_PAIR, mine, 1)) {
		fflush(NULL);
		twin = fork();
		if (twin == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(CONTROL_FD);
			for (int i = 0; i < stress_count; i++)
				if (stress_conns[i].mode != M_PAIR)
					close(stress_conns[i].fd);
			stress_threads[M_PAIR](NULL);
			_exit(0);
		}
	}
	for (int m = 0; m < MODES; m++) {
		int have = stress_of_mode(m, mine, 1);

		if (have && !stress_one_each(m))
			pthread_create(&threads[(*n)++], NULL, stress_threads[m], (void *)(intptr_t)m);
		for (int i = 0; i < have && stress_one_each(m); i++)
			pthread_create(&threads[(*n)++], NULL, stress_threads[m], mine[i]);
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

	stress_conns = mmap(NULL, sizeof(*stress_conns) * CONNS_MAX + sizeof(int), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stress_failed = (int *)(stress_conns + CONNS_MAX);
	for (int mode = 0; mode < MODES; mode++)
		for (int i = 0; i < o->conns && (!o->only || !strcmp(o->only, stress_names[mode])); i++)
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
	for (int i = 0; i < stress_count; i++)
		close(stress_conns[i].fd);
	if (twin)
		waitpid(twin, &status, 0);
	printf("# %llu wake-ups, %llu spurious (%.3f %%)\n", (unsigned long long)all, (unsigned long long)spurious,
	       100.0 * (double)spurious / (double)all);
	return *stress_failed || status || all < o->wakeups || spurious * 100 > all;
}
