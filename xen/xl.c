// SPDX-License-Identifier: Apache-2.0
/*
 * xl.c - see xl.h.
 * Trust: as in the header.
 *
 * `xl create` leaves a process behind that looks after the domain, so its end is seen by its process, not by its output's.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "xen/xl.h"

static void become(const char *const *words, int out)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null >= 0)
		dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	execvp(words[0], (char *const *)(uintptr_t)words);
	fprintf(stderr, "%s cannot be run: %s; is this dom0, with Xen's tools in $PATH?\n", words[0], strerror(errno));
	_exit(127);
}

int xl_start(struct xl *x, const char *const *words)
{
	int pipes[2], r;

	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	x->pid = fork();
	if (x->pid == 0)
		become(words, pipes[1]);
	r = -errno;
	close(pipes[1]);
	x->said = pipes[0];
	x->fd = x->pid > 0 ? (int)syscall(SYS_pidfd_open, x->pid, 0) : -1; /* -1: looked at every second */
	x->bytes = 0;
	x->late_ms = clock_ms() + XL_LIMIT_MS;
	if (x->pid > 0)
		return 0;
	close(x->said);
	x->pid = 0;
	return r;
}

static void listen_to(struct xl *x)
{
	char more[512];
	ssize_t n;

	while ((n = read(x->said, more, sizeof(more))) > 0) {
		size_t keep = x->bytes + (size_t)n > sizeof(x->text) ? sizeof(x->text) - (size_t)n : x->bytes;

		memmove(x->text, x->text + x->bytes - keep, keep);
		memcpy(x->text + keep, more, (size_t)n);
		x->bytes = keep + (size_t)n;
	}
}

static void last_line(const struct xl *x, char why[XL_WHY_BYTES])
{
	size_t end = x->bytes, begin, n = 0;

	while (end && isspace((unsigned char)x->text[end - 1]))
		end--;
	for (begin = end; begin && x->text[begin - 1] != '\n'; begin--)
		;
	for (; begin < end && n < XL_WHY_BYTES - 1; begin++)
		why[n++] = isprint((unsigned char)x->text[begin]) ? x->text[begin] : '?';
	why[n] = 0;
	if (!n)
		snprintf(why, XL_WHY_BYTES, "xl failed and says nothing");
}

bool xl_turn(struct xl *x, char why[XL_WHY_BYTES])
{
	bool late = clock_ms() >= x->late_ms;
	int status;
	pid_t r;

	listen_to(x);
	if (late)
		kill(x->pid, SIGKILL);
	r = waitpid(x->pid, &status, late ? 0 : WNOHANG);
	if (r == 0 || (r < 0 && errno == EINTR))
		return false;
	listen_to(x);
	why[0] = 0;
	if (late)
		snprintf(why, XL_WHY_BYTES, "xl did not end within %d s", XL_LIMIT_MS / 1000);
	else if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		last_line(x, why);
	close(x->said);
	if (x->fd >= 0)
		close(x->fd);
	x->pid = 0;
	return true;
}
