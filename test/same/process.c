// SPDX-License-Identifier: Apache-2.0
/*
 * process.c - processes and sockets: natively and under `mw run`, the transcripts are compared.
 * Trust: a test's own processes.
 *
 * Usage: process MW GROUP. Each script runs in a process of its own with a time limit, so that one which hangs is one
 * bad line.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/process.h"
#include "test/same/transcript.h"

#define LIMIT_SECONDS 60

static const struct {
	const char *name;
	const struct script *scripts;
} groups[] = {
	{ "exec", exec_scripts }, { "pass", pass_scripts }, { "own", own_scripts }, { "leave", leave_scripts },
	{ "signal", signal_scripts }, { "cancel", cancel_scripts }, { "thread", thread_scripts },
	{ "space", space_scripts },
};

static char path[4096];
static const char *current = "";

const char *self(void)
{
	return path;
}

void say(const char *format, ...)
{
	char text[512];
	va_list ap;
	int n;

	n = snprintf(text, sizeof(text), "%s, ", current);
	va_start(ap, format);
	n += vsnprintf(text + n, sizeof(text) - (size_t)n - 1, format, ap);
	va_end(ap);
	text[n++] = '\n';
	if (write(1, text, (size_t)n) != n)
		abort();
}

const char *word(long r)
{
	return r < 0 ? strerrorname_np(errno) : "ok";
}

int dial_port(int port, int type_flags)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | type_flags, 0), error;

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EINPROGRESS)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int dial(void)
{
	int fd = dial_port(peer_do(PEER, PEER_PORT, 0), 0);

	if (fd < 0) {
		say("cannot connect: %s", word(-1));
		_exit(1);
	}
	peer_do(PEER, PEER_ACCEPT, 0);
	return fd;
}

int listening(int *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) < 0) {
		say("cannot listen: %s", word(-1));
		_exit(1);
	}
	*port = ntohs(a.sin_port);
	return fd;
}

void pair_of(int ends[2])
{
	int port, l = listening(&port);

	ends[0] = dial_port(port, 0);
	ends[1] = accept(l, NULL, NULL);
	if (ends[0] < 0 || ends[1] < 0) {
		say("cannot make a pair: %s", word(-1));
		_exit(1);
	}
	close(l);
}

int pending(void)
{
	return dial_port(peer_do(PEER, PEER_STUFF, 0), SOCK_NONBLOCK);
}

static int read_all(int fd, int want)
{
	char b[256];
	int got = 0;

	while (got < want) {
		ssize_t r = recv(fd, b, (size_t)(want - got), 0);

		if (r <= 0)
			break;
		got += (int)r;
	}
	return got;
}

void talk(int fd, const char *what)
{
	ssize_t out = send(fd, "hello", 5, MSG_NOSIGNAL);
	const char *why = word(out);
	int there, here;

	if (out < 0) {
		say("%s: send: %s", what, why);
		return;
	}
	there = peer_do(PEER, PEER_READ, 5);
	peer_do(PEER, PEER_SEND, 7);
	here = read_all(fd, 7);
	say("%s: %d bytes out, %d in", what, there, here);
}

void fill(int fd)
{
	static char b[60000];
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	int full = 0; /* what was not acknowledged yet is room a moment later */

	while (full < 2)
		if (send(fd, b, sizeof(b), MSG_DONTWAIT | MSG_NOSIGNAL) > 0 || poll(&p, 1, 250) > 0)
			full = 0;
		else
			full++;
}

pid_t child(void (*run)(int), int arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		run(arg);
		_exit(0);
	}
	return pid;
}

const char *end_of(pid_t pid)
{
	static char text[64];
	int status;

	if (waitpid(pid, &status, 0) < 0)
		return word(-1);
	if (WIFSIGNALED(status))
		return strsignal(WTERMSIG(status));
	snprintf(text, sizeof(text), "ended with %d", WEXITSTATUS(status));
	return text;
}

/* Without reaping it; by no timer of its own, for those are what some scripts are about. */
static bool ends_in_time(pid_t pid)
{
	for (int i = 0; i < LIMIT_SECONDS * 100; i++) {
		siginfo_t info = { .si_pid = 0 };

		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid)
			return true;
		usleep(10000);
	}
	return false;
}

/* False when it did not end well: natively that is no result to compare with. */
static bool run_script(const struct script *s)
{
	const char *end;
	pid_t pid;

	current = s->name;
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		s->run();
		_exit(0);
	}
	if (!ends_in_time(pid))
		say("does not end");
	kill(-pid, SIGKILL);
	end = end_of(pid);
	say("at the end: %s", end);
	peer_do(PEER, PEER_CLOSE, 0);
	return !strcmp(end, "ended with 0");
}

static int run_group(const char *name)
{
	bool good = true;

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		for (const struct script *s = groups[i].scripts; s->name; s++)
			if (!strcmp(name, groups[i].name) || !strcmp(name, s->name))
				good &= run_script(s);
	return !good;
}

int main(int argc, char **argv)
{
	if (readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
		return 2;
	if (argc > 3 && !strcmp(argv[1], "--child")) {
		current = "child";
		return child_main(argc, argv);
	}
	if (argc != 3) {
		fprintf(stderr, "usage: process MW GROUP\n");
		return 2;
	}
	if (!strcmp(argv[1], "--script"))
		closefrom(3);
	return strcmp(argv[1], "--script") ? transcript_compare(argv[1], argv[2]) : run_group(argv[2]);
}
