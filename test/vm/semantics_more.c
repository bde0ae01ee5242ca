// SPDX-License-Identifier: Apache-2.0
/* semantics_more.c - urgent data, listeners that listen again, lingering, and every call that waits. */
#include "semantics.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t urgent, alarms;

static void on_urgent(int sig)
{
	(void)sig;
	urgent++;
}

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void took(const char *what, int fd, size_t n, int flags)
{
	char b[64] = "";
	ssize_t r = recv(fd, b, n, flags | MSG_DONTWAIT);

	if (r < 0)
		result(what, r);
	else
		say("%s: %zd %.*s", what, r, (int)r, b);
}

static void marks(const char *what, int fd)
{
	int at = -1, unread = -1;

	ioctl(fd, SIOCATMARK, &at);
	ioctl(fd, FIONREAD, &unread);
	say("%s: at the mark %d, unread %d", what, at, unread);
	poll_of(what, fd, 0);
}

static void put(int fd, const char *text, int flags)
{
	if (send(fd, text, strlen(text), flags) < 0)
		result("send", -1);
	settle();
}

/* --- urgent data --- */

static void urgent_in(int near, int far)
{
	struct msghdr m = { 0 };
	char c;
	struct iovec v = { &c, 1 };

	put(far, "abc", MSG_OOB);
	marks("urgent", near);
	took("before it", near, 10, 0);
	marks("at it", near);
	took("a look at it", near, 1, MSG_OOB | MSG_PEEK);
	m.msg_iov = &v;
	m.msg_iovlen = 1;
	result("by itself", recvmsg(near, &m, MSG_OOB));
	say("%c, MSG_OOB %d", c, !!(m.msg_flags & MSG_OOB));
	took("once only", near, 1, MSG_OOB);
	marks("taken", near);
	put(far, "de", 0);
	took("behind it", near, 10, 0);
	marks("all read", near);

	put(far, "xyz", MSG_OOB);
	put(far, "uvw", 0);
	took("peek before it", near, 10, MSG_PEEK);
	took("before it", near, 10, 0);
	took("it is left out", near, 10, 0);
	took("it was passed", near, 1, MSG_OOB);

	put(far, "1", MSG_OOB);
	marks("nothing but it", near);
	took("nothing else", near, 10, 0);
	marks("passed", near);
	put(far, "a", MSG_OOB);
	put(far, "b", MSG_OOB);
	put(far, "c", 0);
	marks("a newer one", near);
	took("read", near, 10, 0);
	took("read", near, 10, 0);
	took("by itself", near, 1, MSG_OOB);
	took("by itself", near, 0, MSG_OOB);
}

static void urgent_inline(int near, int far)
{
	int on = 1;

	result("SO_OOBINLINE", setsockopt(near, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
	put(far, "123", MSG_OOB);
	marks("inline", near);
	took("by itself", near, 1, MSG_OOB);
	took("before it", near, 10, 0);
	marks("at it", near);
	took("it", near, 10, 0);
	marks("all read", near);
	on = 0;
	setsockopt(near, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	put(far, "45", MSG_OOB);
	took("not inline", near, 10, 0);
	took("by itself", near, 1, MSG_OOB);
	took("the rest", near, 10, 0);
}

static void urgent_waiting(int near, int far)
{
	struct pollfd p = { near, POLLPRI, 0 };
	char b[10];

	signal(SIGURG, on_urgent);
	fcntl(near, F_SETOWN, getpid());
	put(far, "u", MSG_OOB);
	say("SIGURG: %d", (int)urgent);
	took("by itself", near, 1, MSG_OOB);
	put(far, "v", MSG_OOB);
	say("SIGURG: %d", (int)urgent);
	took("by itself", near, 1, MSG_OOB);
	put(far, "w", 0);
	say("SIGURG: %d", (int)urgent);
	took("not urgent", near, 1, 0);
	signal(SIGURG, SIG_IGN);
	if (fork() == 0) {
		usleep(100000);
		send(far, "pq", 2, MSG_OOB);
		usleep(100000);
		send(far, "rs", 2, 0);
		_exit(0);
	}
	result("poll for it alone", poll(&p, 1, 3000));
	say("PRI %d", !!(p.revents & POLLPRI));
	result("all, up to it", recv(near, b, 3, MSG_WAITALL));
	result("all, behind it", recv(near, b, 2, MSG_WAITALL));
	wait(NULL);
}

static void urgent_out(int near, int far)
{
	put(near, "abc", MSG_OOB);
	put(near, "def", 0);
	marks("there", far);
	took("before it", far, 10, 0);
	took("by itself", far, 1, MSG_OOB);
	took("behind it", far, 10, 0);
	put(near, "x", MSG_OOB);
	took("alone", far, 1, MSG_OOB);
	marks("at it", far);
	put(near, "", MSG_OOB);
	marks("none", far);
}

void test_urgent(void)
{
	int near, far, port, fd = socket(family, SOCK_STREAM, 0);

	took("never connected", fd, 1, MSG_OOB);
	result("send, never connected", send(fd, "x", 1, MSG_OOB | MSG_NOSIGNAL));
	close(fd);
	fd = listener(0, &port);
	took("listener", fd, 1, MSG_OOB);
	close(fd);
	accepted(&near, &far);
	urgent_in(near, far);
	urgent_inline(near, far);
	urgent_waiting(near, far);
	urgent_out(near, far);
	put(far, "last", MSG_OOB);
	shutdown(far, SHUT_WR);
	settle();
	marks("FIN behind it", near);
	took("before it", near, 10, 0);
	took("by itself", near, 1, MSG_OOB);
	took("the end", near, 10, 0);
	took("none", near, 1, MSG_OOB);
	close(near);
	close(far);
	fd = socket(family, SOCK_DGRAM, 0);
	result("datagram", send(fd, "x", 1, MSG_OOB));
	took("datagram", fd, 1, MSG_OOB);
	close(fd);
}

/* --- a listener again --- */

static int dial(int port)
{
	struct sockaddr_storage a;
	socklen_t n = loopback(&a, port);
	int fd = native_socket(SOCK_STREAM);

	if (connect(fd, (struct sockaddr *)&a, n) == 0)
		return fd;
	result("connect", -1);
	close(fd);
	return -1;
}

static void serves(const char *what, int l)
{
	int far = dial(port_of(l)), near = far < 0 ? -1 : accept(l, NULL, NULL);

	say("%s: accepted %d", what, near >= 0);
	if (near >= 0)
		put(far, "hello", 0);
	if (near >= 0)
		took(what, near, 10, 0);
	close(near);
	close(far);
}

static void again_on(int l)
{
	int far = dial(port_of(l)), port = port_of(l);
	char b[4];

	result("shut down, sending only", shutdown(l, SHUT_WR));
	serves("still", l); /* takes the first, which is not the one just dialled */
	result("shut down", shutdown(l, SHUT_RD));
	settle();
	poll_of("shut down", l, 0);
	result("accept", accept4(l, NULL, NULL, SOCK_NONBLOCK));
	result("shut down twice", shutdown(l, SHUT_RD));
	if (far >= 0) {
		ssize_t n = recv(far, b, sizeof(b), MSG_DONTWAIT);

		result("who was taken from the queue", n);
		close(far);
	}
	result("refused", dial(port) < 0 ? 0 : 1);
	result("listen again", listen(l, 3));
	say("the same port: %d", port_of(l) == port);
	serves("again", l);
	result("more", listen(l, 7));
	serves("more", l);
}

void test_again(void)
{
	struct sockaddr_storage a;
	int port, l = listener(0, &port), yes = 1, far, i;
	socklen_t n;

	close(l);
	l = socket(family, SOCK_STREAM, 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	n = loopback(&a, port);
	result("bind", bind(l, (struct sockaddr *)&a, n));
	result("listen", listen(l, 16));
	for (i = 0; i < 3; i++)
		again_on(l);
	far = dial(port); /* nobody takes it */
	result("shut down both", shutdown(l, SHUT_RDWR));
	settle();
	result("whom nobody took", recv(far, &yes, 1, MSG_DONTWAIT));
	close(far);
	result("and again", listen(l, 3));
	far = dial(port);
	settle();
	result("shut down", shutdown(l, SHUT_RD));
	result("whom nobody took", recv(far, &yes, 1, MSG_DONTWAIT));
	close(far);
	far = native_listener(&port);
	n = loopback(&a, port);
	result("connect instead", connect(l, (struct sockaddr *)&a, n));
	result("send", send(l, "x", 1, MSG_NOSIGNAL));
	close(l);
	close(far);
	l = listener(0, &port);
	far = dial(port);
	settle();
	close(l);
	settle();
	result("whom nobody took, closed", recv(far, &yes, 1, MSG_DONTWAIT));
	close(far);
}

/* --- time --- */

static struct timespec began;

static void begin(void)
{
	clock_gettime(CLOCK_MONOTONIC, &began);
}

/* Whether it took about so long. On a busy machine all takes longer. */
static void lasted(const char *what, long ms)
{
	struct timespec now;
	long took_ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	took_ms = (now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000;
	say("%s: %s", what, took_ms < ms - 20 ? "too short" : took_ms > ms + 1200 ? "too long" : "as long as it should");
}

static void in_ms(int ms, int flags)
{
	struct itimerval t = { .it_value = { ms / 1000, ms % 1000 * 1000 } };
	struct sigaction a = { .sa_handler = on_alarm, .sa_flags = flags };

	sigaction(SIGALRM, &a, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

static void limit(int fd, int name, int ms)
{
	struct timeval t = { ms / 1000, ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, name, &t, sizeof(t));
}

static void lingers(int fd, int seconds)
{
	struct linger l = { 1, seconds };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static char bulk[1 << 20];

/* Nothing more fits, nor moves on. */
static void fill(int fd)
{
	for (int quiet = 0; quiet < 3; quiet++) {
		while (send(fd, bulk, sizeof(bulk), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
			quiet = 0;
		settle();
	}
}

void test_linger(void)
{
	int near, far;

	accepted(&near, &far);
	send(near, "bye", 3, 0);
	lingers(near, 5);
	begin();
	result("close, all arrives", close(near));
	lasted("close, all arrives", 0);
	took("there", far, 10, 0);
	took("the end", far, 10, 0);
	close(far);

	accepted(&near, &far);
	fill(near);
	lingers(near, 1);
	begin();
	result("close, nobody reads", close(near));
	lasted("close, nobody reads", 1000);
	close(far);

	accepted(&near, &far);
	fill(near);
	lingers(near, 5);
	in_ms(300, 0);
	begin();
	result("close, signal", close(near));
	lasted("close, signal", 300);
	close(far);

	accepted(&near, &far);
	fill(near);
	lingers(near, 5);
	fcntl(near, F_SETFL, O_NONBLOCK);
	if (fork() == 0) {
		close(near);
		usleep(400000);
		while (recv(far, bulk, sizeof(bulk), 0) > 0)
			;
		_exit(0);
	}
	close(far);
	settle();
	begin();
	result("close, read later", close(near));
	lasted("close, read later", 250);
	wait(NULL);

	accepted(&near, &far);
	send(near, "bye", 3, 0);
	settle();
	lingers(near, 0);
	begin();
	close(near);
	lasted("close, reset", 0);
	settle();
	took("reset", far, 10, 0);
	close(far);
}

/* A listener whose queue is full: who connects waits. */
static int deaf(int *port, int filler[8])
{
	int l = native_listener(port);
	struct sockaddr_storage a;
	socklen_t n = loopback(&a, *port);

	listen(l, 0);
	for (int i = 0; i < 8; i++) {
		filler[i] = native_socket(SOCK_STREAM | SOCK_NONBLOCK);
		(void)connect(filler[i], (struct sockaddr *)&a, n);
	}
	settle();
	return l;
}

static void connect_waits(void)
{
	int port, filler[8], l = deaf(&port, filler), fd = socket(family, SOCK_STREAM, 0);
	struct sockaddr_storage a;
	socklen_t n = loopback(&a, port);

	limit(fd, SO_SNDTIMEO, 300);
	begin();
	result("connect, time-out", connect(fd, (struct sockaddr *)&a, n));
	lasted("connect, time-out", 300);
	limit(fd, SO_SNDTIMEO, 0);
	in_ms(200, 0);
	begin();
	result("connect, signal", connect(fd, (struct sockaddr *)&a, n));
	lasted("connect, signal", 200);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	result("connect, still", connect(fd, (struct sockaddr *)&a, n));
	result("send", send(fd, "x", 1, MSG_NOSIGNAL));
	result("recv", recv(fd, bulk, 1, 0));
	poll_of("connecting", fd, 0);
	result("close", close(fd));
	fd = socket(family, SOCK_STREAM, 0);
	in_ms(200, 0);
	result("connect, signal first", connect(fd, (struct sockaddr *)&a, n));
	close(fd);
	for (int i = 0; i < 8; i++)
		close(filler[i]);
	close(l);
}

static void stream_waits(void)
{
	int near, far, port, l, file = open("/bin/busybox", O_RDONLY);
	off_t at = 0;

	accepted(&near, &far);
	send(far, "ab", 2, 0);
	settle();
	limit(near, SO_RCVTIMEO, 300);
	begin();
	result("all, time-out", recv(near, bulk, 10, MSG_WAITALL));
	lasted("all, time-out", 300);
	result("readv, time-out", read(near, bulk, 10));
	in_ms(100, SA_RESTART);
	result("read, time-out, signal", read(near, bulk, 10));
	limit(near, SO_RCVTIMEO, 0);
	fill(near);
	limit(near, SO_SNDTIMEO, 300);
	begin();
	result("write, time-out", write(near, bulk, 1000));
	result("sendfile, time-out", sendfile(near, file, &at, 100000));
	lasted("write, sendfile", 600);
	limit(near, SO_SNDTIMEO, 0);
	in_ms(200, 0);
	result("sendfile, signal", sendfile(near, file, &at, 100000));
	in_ms(200, 0);
	result("write, signal", write(near, bulk, 1000));
	close(near);
	close(far);
	close(file);
	l = listener(0, &port);
	in_ms(200, SA_RESTART);
	if (fork() == 0) {
		usleep(500000);
		far = dial(port);
		usleep(200000);
		_exit(0);
	}
	near = accept(l, NULL, NULL);
	say("accept, restarted: %d", near >= 0);
	wait(NULL);
	close(near);
	limit(l, SO_RCVTIMEO, 200);
	in_ms(100, SA_RESTART);
	result("accept, time-out, signal", accept(l, NULL, NULL));
	close(l);
}

static void dgram_waits(void)
{
	int fd = socket(family, SOCK_DGRAM, 0);
	struct sockaddr_storage a;
	socklen_t n = loopback(&a, 0);

	(void)bind(fd, (struct sockaddr *)&a, n);
	limit(fd, SO_RCVTIMEO, 300);
	begin();
	result("datagram, time-out", recv(fd, bulk, 10, 0));
	lasted("datagram, time-out", 300);
	in_ms(100, 0);
	result("datagram, time-out, signal", recv(fd, bulk, 10, 0));
	limit(fd, SO_RCVTIMEO, 0);
	in_ms(200, 0);
	result("datagram, signal", recv(fd, bulk, 10, 0));
	in_ms(200, 0);
	poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, -1);
	result("poll, signal", -1);
	close(fd);
}

void test_held(void)
{
	int near, far;

	accepted(&near, &far);
	sleep(3);
	put(far, "hello", 0);
	took("still", near, 10, 0);
	close(near);
	close(far);
}

/* SO_RCVLOWAT, lowered while nothing but poll() waits for what is there. */
static void lowat_waits(void)
{
	int near, far, bytes = 100;

	accepted(&near, &far);
	setsockopt(near, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
	put(far, "hello", 0);
	poll_of("too few", near, 0);
	bytes = 5;
	setsockopt(near, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
	poll_of("enough", near, 0);
	took("all", near, 10, 0);
	bytes = 3;
	setsockopt(near, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
	if (fork() == 0) {
		usleep(100000);
		send(far, "abc", 3, 0);
		_exit(0);
	}
	result("poll", poll(&(struct pollfd){ near, POLLIN, 0 }, 1, 3000));
	wait(NULL);
	close(near);
	close(far);
}

void test_waits(void)
{
	lowat_waits();
	connect_waits();
	stream_waits();
	dgram_waits();
	say("alarms: %d", (int)alarms);
}
