// SPDX-License-Identifier: Apache-2.0
/* semantics_data.c - bytes: reading, bulk, passing descriptors on, waiting and signals. */
#include "semantics.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BULK (10u << 20)

void test_read(void)
{
	int near, far, n;
	char b[64] = "";
	struct iovec v[2] = { { b, 2 }, { b + 10, 3 } };

	dialled(&near, &far);
	send(far, "abcdefghij", 10, 0);
	settle();
	result("peek", recv(near, b, 4, MSG_PEEK));
	result("peek again", recv(near, b, 64, MSG_PEEK));
	say("%.10s", b);
	result("cut off", recv(near, b, 2, MSG_TRUNC));
	result("readv", readv(near, v, 2));
	say("%.2s %.3s", b, b + 10);
	result("nothing asked", recv(near, b, 0, 0));
	ioctl(near, FIONREAD, &n);
	say("FIONREAD: %d", n);
	result("all, without waiting", recv(near, b, 8, MSG_WAITALL | MSG_DONTWAIT));
	if (fork() == 0) {
		usleep(50000);
		send(far, "1234", 4, 0);
		usleep(50000);
		send(far, "5678", 4, 0);
		_exit(0);
	}
	result("all", recv(near, b, 8, MSG_WAITALL));
	say("%.8s", b);
	wait(NULL);
	send(far, "xyz", 3, 0);
	shutdown(far, SHUT_WR);
	result("all, up to the end", recv(near, b, 8, MSG_WAITALL));
	result("bad memory", recv(near, (void *)8, 4, 0));
	result("urgent, none", recv(near, b, 1, MSG_OOB));
	close(near);
	close(far);
	dialled(&near, &far);
	send(far, "ab", 2, 0);
	settle();
	result("bad memory", recv(near, (void *)8, 2, 0));
	result("it is still there", recv(near, b, 2, 0));
	result("send of bad memory", send(near, (void *)8, 2, 0));
	close(near);
	close(far);
}

static uint8_t *bulk(void)
{
	uint8_t *p = malloc(BULK);

	for (uint32_t i = 0; i < BULK; i++)
		p[i] = (uint8_t)(i * 7 + i / 251);
	return p;
}

/* In a child: reads all and says what it was. */
static pid_t reader(int fd, int other)
{
	pid_t pid = fork();
	uint32_t s = 0, total = 0;
	static uint8_t b[65536];
	ssize_t n;

	if (pid)
		return pid;
	close(other);
	while ((n = read(fd, b, sizeof(b))) > 0) {
		s = sum(s, b, (size_t)n);
		total += (uint32_t)n;
	}
	say("read %u bytes, sum %08x", total, s);
	_exit(0);
}

static void finish(int fd, pid_t pid)
{
	close(fd);
	waitpid(pid, NULL, 0);
}

static void write_all(int fd, const uint8_t *p)
{
	size_t at = 0;
	ssize_t n;

	for (; at < BULK; at += (size_t)n) {
		n = write(fd, p + at, BULK - at);
		if (n <= 0) {
			result("write", n);
			return;
		}
	}
}

static void by_file(const uint8_t *p)
{
	int near, far, file = memfd_create("bulk", 0), tube[2];
	off_t at = 0;
	size_t left = BULK;
	ssize_t n = 1;
	pid_t pid;

	write_all(file, p);
	dialled(&near, &far);
	pid = reader(far, near);
	close(far);
	while (at < (off_t)BULK && n > 0)
		n = sendfile(near, file, &at, BULK - (size_t)at);
	say("sendfile: all %d", at == (off_t)BULK);
	finish(near, pid);

	dialled(&near, &far);
	pid = reader(far, near);
	close(far);
	if (pipe(tube) < 0)
		return;
	lseek(file, 0, SEEK_SET);
	for (n = 1; left && n > 0;) {
		n = splice(file, NULL, tube[1], NULL, left < 65536 ? left : 65536, 0);
		for (ssize_t out = 0, r; n > 0 && out < n; out += r) {
			r = splice(tube[0], NULL, near, NULL, (size_t)(n - out), SPLICE_F_MORE);
			if (r <= 0) {
				result("splice out", r);
				return;
			}
		}
		left -= n > 0 ? (size_t)n : 0;
	}
	say("splice into it: left %zu", left);
	finish(near, pid);
	close(file);
	close(tube[0]);
	close(tube[1]);
}

static void out_by_splice(const uint8_t *p)
{
	int near, far, tube[2];
	static uint8_t b[65536];
	uint32_t s = 0, total = 0;
	ssize_t n;
	pid_t pid;

	dialled(&near, &far);
	pid = fork();
	if (pid == 0) {
		close(near);
		write_all(far, p);
		_exit(0);
	}
	close(far);
	if (pipe(tube) < 0)
		return;
	while ((n = splice(near, NULL, tube[1], NULL, sizeof(b), 0)) > 0) {
		for (ssize_t in = 0, r; in < n; in += r) {
			r = read(tube[0], b, (size_t)(n - in));
			s = sum(s, b, (size_t)r);
		}
		total += (uint32_t)n;
	}
	result("splice out of it, at the end", n);
	say("%u bytes, sum %08x", total, s);
	finish(near, pid);
	close(tube[0]);
	close(tube[1]);
}

void test_bulk(void)
{
	uint8_t *p = bulk();
	int near, far;
	pid_t pid;

	accepted(&near, &far);
	pid = reader(far, near);
	close(far);
	write_all(near, p);
	finish(near, pid);
	accepted(&near, &far);
	pid = reader(near, far);
	close(near);
	write_all(far, p);
	finish(far, pid);
	by_file(p);
	out_by_splice(p);
	free(p);
}

/* --- descriptors --- */

static void send_fd(int by, int fd)
{
	union {
		struct cmsghdr c;
		char room[CMSG_SPACE(sizeof(int))];
	} u = { .c = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec v = { (char[]){ "x" }, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };

	memcpy(CMSG_DATA(&u.c), &fd, sizeof(fd));
	result("pass it", sendmsg(by, &m, 0));
}

static int take_fd(int by)
{
	char room[CMSG_SPACE(sizeof(int))], x;
	struct iovec v = { &x, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	int fd = -1;

	if (recvmsg(by, &m, 0) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static void *pump(void *p)
{
	int fd = *(int *)p;
	char b[1000];
	uint32_t total = 0;
	ssize_t n;

	while ((n = read(fd, b, sizeof(b))) > 0)
		total += (uint32_t)n;
	return (void *)(uintptr_t)total;
}

static void two_threads(void)
{
	int near, far;
	pthread_t t[2];
	void *got;
	uint32_t all = 0;
	static char b[1000];
	pid_t pid;

	dialled(&near, &far);
	pid = fork();
	if (pid == 0) { /* the echo */
		close(near);
		for (ssize_t n; (n = read(far, b, sizeof(b))) > 0;)
			for (ssize_t at = 0; at < n;)
				at += write(far, b + at, (size_t)(n - at));
		_exit(0);
	}
	close(far);
	pthread_create(&t[0], NULL, pump, &near);
	pthread_create(&t[1], NULL, pump, &near);
	for (int i = 0; i < 1000; i++)
		if (write(near, b, sizeof(b)) != sizeof(b))
			say("short");
	shutdown(near, SHUT_WR);
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], &got);
		all += (uint32_t)(uintptr_t)got;
	}
	say("two threads read %u", all);
	close(near);
	waitpid(pid, NULL, 0);
}

static int both_ends[2];

static void *write_some(void *unused)
{
	static char b[1000];

	for (int i = 0; i < 1000; i++)
		if (write(both_ends[0], b, sizeof(b)) != sizeof(b))
			say("short");
	return unused;
}

/* A writer that is done leaves others behind that wait for room. */
static void many_threads(void)
{
	pthread_t readers[4], writers[4];
	uint32_t all = 0;
	void *got;

	dialled(&both_ends[0], &both_ends[1]);
	for (int i = 0; i < 4; i++) {
		pthread_create(&readers[i], NULL, pump, &both_ends[1]);
		pthread_create(&writers[i], NULL, write_some, NULL);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(writers[i], NULL);
	shutdown(both_ends[0], SHUT_WR);
	for (int i = 0; i < 4; i++) {
		pthread_join(readers[i], &got);
		all += (uint32_t)(uintptr_t)got;
	}
	say("four threads wrote, four read %u", all);
	close(both_ends[0]);
	close(both_ends[1]);
}

void test_pass(void)
{
	int near, far, pair[2], copy, status;
	char b[64];
	pid_t pid;

	accepted(&near, &far);
	copy = dup(near);
	close(near);
	result("a duplicate", send(copy, "dup", 3, 0));
	result("there", recv(far, b, sizeof(b), 0));
	pid = fork();
	if (pid == 0)
		_exit(send(copy, "child", 5, 0) == 5 ? 0 : 1);
	waitpid(pid, &status, 0);
	result("a child", status);
	settle();
	result("there", recv(far, b, sizeof(b), MSG_DONTWAIT));
	poll_of("its end is not the connection's", copy, 50);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	pid = fork();
	if (pid == 0) {
		close(copy);
		copy = take_fd(pair[1]);
		_exit(send(copy, "passed", 6, 0) == 6 ? 0 : 1);
	}
	send_fd(pair[0], copy);
	waitpid(pid, &status, 0);
	result("passed", status);
	result("there", recv(far, b, sizeof(b), 0));
	pid = fork();
	if (pid == 0) {
		close(far);
		dup2(copy, 1);
		execl("/bin/busybox", "echo", "from exec", NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	result("exec", status);
	result("there", recv(far, b, sizeof(b), 0));
	send_fd(pair[0], copy); /* in flight while the descriptor is closed */
	close(copy);
	settle();
	result("still open", recv(far, b, sizeof(b), MSG_DONTWAIT));
	copy = take_fd(pair[1]);
	result("send", send(copy, "x", 1, 0));
	close(copy);
	result("there", recv(far, b, 1, 0));
	result("the end", recv(far, b, sizeof(b), 0));
	close(far);
	two_threads();
	many_threads();
}

/* --- waiting --- */

static volatile sig_atomic_t signals;

static void count(int sig)
{
	(void)sig;
	signals++;
}

static void catch_signals(int flags)
{
	struct sigaction a = { .sa_handler = count, .sa_flags = flags };

	sigaction(SIGALRM, &a, NULL);
	sigaction(SIGPIPE, &a, NULL);
}

static void alarm_in(int ms)
{
	struct itimerval t = { .it_value = { ms / 1000, ms % 1000 * 1000 } };

	setitimer(ITIMER_REAL, &t, NULL);
}

static void timeout(int fd, int name, int ms)
{
	struct timeval t = { ms / 1000, ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, name, &t, sizeof(t));
}

static long ms_since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - t->tv_sec) * 1000 + (now.tv_nsec - t->tv_nsec) / 1000000;
}

static void send_later(int fd, int ms)
{
	if (fork())
		return;
	usleep((useconds_t)ms * 1000);
	send(fd, "late", 4, 0);
	_exit(0);
}

void test_wait(void)
{
	static char b[1 << 20];
	struct timespec began;
	int near, far, port, l;
	long ms;
	ssize_t r;

	catch_signals(0);
	accepted(&near, &far);
	alarm_in(100);
	result("recv, signal", recv(near, b, 1, 0));
	catch_signals(SA_RESTART);
	alarm_in(100);
	send_later(far, 400);
	result("recv, signal, restarted", recv(near, b, 10, 0));
	wait(NULL);
	timeout(near, SO_RCVTIMEO, 300);
	clock_gettime(CLOCK_MONOTONIC, &began);
	result("recv, time-out", recv(near, b, 1, 0));
	ms = ms_since(&began);
	say("after its time: %d", ms >= 290 && ms < 1500);
	alarm_in(100);
	result("recv, time-out and signal", recv(near, b, 1, 0));
	timeout(near, SO_SNDTIMEO, 300);
	while ((r = send(near, b, sizeof(b), 0)) > 0)
		;
	result("send, time-out", r);
	result("send, full", send(near, b, 1 << 17, MSG_DONTWAIT));
	timeout(near, SO_SNDTIMEO, 0);
	alarm_in(100);
	catch_signals(0);
	result("send, signal", send(near, b, 1 << 17, 0));
	shutdown(near, SHUT_WR);
	signals = 0;
	result("send, shut down", send(near, b, 1, 0));
	say("SIGPIPE: %d", (int)signals);
	result("send, shut down, no signal", send(near, b, 1, MSG_NOSIGNAL));
	say("SIGPIPE: %d", (int)signals);
	close(near);
	close(far);
	l = listener(0, &port);
	alarm_in(100);
	result("accept, signal", accept(l, NULL, NULL));
	timeout(l, SO_RCVTIMEO, 200);
	result("accept, time-out", accept(l, NULL, NULL));
	close(l);
	accepted(&near, &far);
	if (fork() == 0) {
		usleep(200000);
		shutdown(near, SHUT_RD);
		_exit(0);
	}
	result("recv, shut down by another", recv(near, b, 1, 0));
	wait(NULL);
	close(near);
	close(far);
}
