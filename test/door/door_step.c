// SPDX-License-Identifier: Apache-2.0
/*
 * door_step.c - the worker of an INS with a door is killed behind each of its system calls, and at instructions that follow, while
 * requests are served over the door: each of them is answered, byte by byte, and what is asked of the INS is done once.
 *
 *   door_step MW-INS STEPKILL SECONDS
 *
 * Threads: the main one is the application; some clients outside with the kernel's own sockets; one that has the worker killed.
 * Trust: none needed.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pthread.h>

#include "test/door/app.h"

#define LOOPBACK 0x7f000001u
#define PORT     4030
#define CLIENTS  3
#define MOST     60000u
#define NOT_MADE 3 /* stepkill's status: the worker did not make that call */
#define ENOUGH   200u

/* Bytes of which each says where it belongs. `bytes` 0: the last request of all. */
struct request {
	uint32_t seed, bytes;
};

static struct app app;
static const char *stepkill;
static int seconds;
static atomic_bool stop;
static atomic_uint answered, kills;

static void fill(uint8_t *to, const struct request *q)
{
	for (uint32_t i = 0; i < q->bytes; i++)
		to[i] = (uint8_t)((q->seed + i) * 2654435761u >> 24);
}

/* --- outside --- */

static void get(int fd, void *to, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, (char *)to + got, n - got);

		must(r > 0);
		got += (size_t)r;
	}
}

static int dial(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void *client(void *arg)
{
	unsigned int random = (unsigned int)(mw_uintptr)arg;
	static _Thread_local uint8_t wanted[MOST], got[MOST];
	char end;

	while (!stop) {
		int fd = dial();

		for (int i = 0; i < 3; i++) {
			struct request q = { (uint32_t)rand_r(&random), 1 + (uint32_t)rand_r(&random) % MOST };

			must(write(fd, &q, sizeof(q)) == sizeof(q));
			get(fd, got, q.bytes);
			fill(wanted, &q);
			must(!memcmp(wanted, got, q.bytes));
			answered++;
		}
		shutdown(fd, SHUT_WR);
		must(read(fd, &end, 1) == 0);
		close(fd);
	}
	return NULL;
}

/* --- kills --- */

static const int calls[] = {
	-1, SYS_accept4, SYS_bind, SYS_close, SYS_connect, SYS_epoll_ctl, SYS_epoll_wait, SYS_getsockname, SYS_getsockopt, SYS_ioctl, SYS_listen,
	SYS_mmap, SYS_munmap, SYS_read, SYS_readv, SYS_recvfrom, SYS_recvmsg, SYS_sendmsg, SYS_sendto, SYS_setsockopt, SYS_shutdown, SYS_socket, SYS_write,
	SYS_writev,
};

/* Has it killed so many instructions behind that call. False: it makes no such call. */
static bool strike(int call, int steps)
{
	char pid[16], number[16], step[16];
	static int struck; /* it may not have been buried yet */
	int status, worker;
	pid_t child;

	while (!(worker = app_worker(&app)) || worker == struck)
		usleep(1000);
	snprintf(pid, sizeof(pid), "%d", worker);
	snprintf(number, sizeof(number), "%d", call);
	snprintf(step, sizeof(step), "%d", steps);
	child = fork();
	must(child >= 0);
	if (child == 0) {
		must(freopen("/dev/null", "w", stdout));
		execl(stepkill, "stepkill", pid, number, step, "300", (char *)NULL);
		_exit(127);
	}
	must(waitpid(child, &status, 0) == child && WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == NOT_MADE));
	if (WEXITSTATUS(status) == 0)
		struck = worker;
	return WEXITSTATUS(status) == 0;
}

/* All of them, or as many as there is time for, but never less than a first step behind each. */
static void strikes(void)
{
	static const int steps[] = { 0, 1, 2, 3, 4, 5, 7, 10, 14, 20, 40, 80, 200, 1000 };
	unsigned int each[sizeof(calls) / sizeof(calls[0])] = { 0 };
	time_t end = time(NULL) + seconds;

	for (size_t n = 0; n < sizeof(steps) / sizeof(steps[0]) && (n == 0 || time(NULL) < end); n++)
		for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
			unsigned int before = answered;

			if ((n > 0 && !each[i]) || !strike(calls[i], steps[n]))
				continue; /* what it did not make at first it does not make */
			each[i]++;
			kills++;
			for (int ms = 0; answered == before; ms++) {
				must(ms < 20000);
				usleep(1000);
			}
		}
	printf("behind calls:");
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (each[i])
			printf(" %d:%u", calls[i], each[i]);
	printf("\n");
}

static void *outside(void *arg)
{
	struct request last = { 0, 0 };
	pthread_t t[CLIENTS];
	int fd;

	for (uint32_t i = 0; i < CLIENTS; i++)
		must(pthread_create(&t[i], NULL, client, (void *)(mw_uintptr)(i + 1)) == 0);
	strikes();
	while (answered < ENOUGH)
		usleep(1000);
	stop = true;
	for (uint32_t i = 0; i < CLIENTS; i++)
		pthread_join(t[i], NULL);
	fd = dial();
	must(write(fd, &last, sizeof(last)) == sizeof(last));
	return arg;
}

/* --- the application --- */

/* One request; false: the connection's end. */
static bool take(struct sock *s, struct request *q)
{
	size_t got = 0;

	while (got < sizeof(*q)) {
		ssize_t n = sock_recv(&app, s, (char *)q + got, sizeof(*q) - got);

		must(n > 0 || (n == 0 && got == 0));
		if (n == 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

/* Sockets and rings are made, used and given back beside the requests. */
static void exercise(const struct sock *s)
{
	struct sock other;
	int v;

	must(sock_setopt(&app, s, SOL_SOCKET, SO_KEEPALIVE, 1) == 0 && sock_getopt(&app, s, SOL_SOCKET, SO_KEEPALIVE, &v) == 0 && v == 1);
	must(app_grant(&app, 100, 1, 1) == 0 && app_revoke(&app, 100) == 0);
	must(sock_new(&app, &other, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0 && sock_bind(&app, &other, LOOPBACK, 0) == 0);
	sock_close(&app, &other);
}

static void serve(struct sock *l)
{
	static uint8_t answer[MOST];
	struct request q = { 0, 1 };
	struct sock s;

	while (q.bytes) {
		must(sock_accept(&app, l, &s) == 0);
		exercise(&s);
		while (take(&s, &q) && q.bytes) {
			must(q.bytes <= MOST);
			fill(answer, &q);
			must(sock_send(&app, &s, answer, q.bytes) == (ssize_t)q.bytes);
		}
		sock_close(&app, &s);
	}
	sock_close(&app, l);
}

int main(int argc, char **argv)
{
	const struct mw_tele *tele;
	struct sock l;
	pthread_t t;
	int status;

	if (argc != 4)
		return 2;
	stepkill = argv[2];
	seconds = atoi(argv[3]);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	app_own_network();
	app_start(&app, argv[1]);
	for (uint32_t i = 0; i < 16; i++)
		must(app_grant(&app, i, 16, 32) == 0);
	must(sock_new(&app, &l, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0 && sock_bind(&app, &l, LOOPBACK, PORT) == 0 && sock_listen(&app, &l, 64) == 0);
	must(pthread_create(&t, NULL, outside, NULL) == 0);
	serve(&l);
	pthread_join(t, NULL);
	tele = (const struct mw_tele *)(mw_uintptr)tele_header(&app.tele);
	printf("%u workers killed, %u requests answered, %lu violations\n", kills, answered, (unsigned long)mw_load(&tele->violations));
	must(kills >= 20 && answered >= ENOUGH && mw_load(&tele->violations) == 0);
	status = app_stop(&app);
	return status == 4 << 8 ? 0 : 1; /* EXIT_GONE: it saw us go */
}
