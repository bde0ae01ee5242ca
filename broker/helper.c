// SPDX-License-Identifier: Apache-2.0
/*
 * helper.c - see helper.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/helper.h"
#include "broker/tree.h"

#define YOUNG_MS 1000
#define FIRST_FD 3

/* Out of the way first: what is copied to a low number may lie there. */
static void place(const struct helper *h, int up)
{
	int high[1 + HELPER_FDS];

	for (int i = 0; i <= h->fd_count; i++) {
		int fd = i == 0 ? up : h->fds[i - 1];

		high[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD, FIRST_FD + 1 + HELPER_FDS);
		if (fd >= 0 && high[i] < 0)
			_exit(1);
	}
	for (int i = 0; i <= h->fd_count; i++) {
		if (high[i] < 0)
			close(FIRST_FD + i);
		else if (dup2(high[i], FIRST_FD + i) < 0)
			_exit(1);
	}
	close_range((unsigned int)(FIRST_FD + 1 + h->fd_count), ~0u, 0);
}

static void child(struct helper *h, int up)
{
	sigset_t none;

	place(h, up);
	setsid(); /* a terminal's signals are the application's */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(h->path, h->argv);
	_exit(127);
}

static int start(struct helper *h)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	h->started_ms = tree_clock_ms();
	h->pid = fork();
	if (h->pid == 0)
		child(h, pair[1]);
	close(pair[1]);
	if (h->pid < 0) {
		h->pid = 0;
		close(pair[0]);
		return -EAGAIN;
	}
	h->up = pair[0];
	tree_spare(h->pid);
	return 0;
}

int helper_start(struct helper *h, char *why, size_t why_bytes)
{
	char ready;
	int r = start(h);

	if (r == 0 && recv(h->up, &ready, 1, 0) != 1)
		r = -ECHILD;
	if (r < 0)
		snprintf(why, why_bytes, "cannot start %s (%.100s)", h->what, h->path);
	return r;
}

bool helper_ended(struct helper *h, pid_t pid, int status, const char *app)
{
	if (!h->pid || pid != h->pid)
		return false;
	fprintf(stderr, "mw: %s: %s ended (%s %d) and is started again: %s\n", app, h->what,
		WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), h->lost);
	tree_spare(-h->pid);
	h->pid = 0;
	close(h->up);
	helper_due(h);
	return true;
}

int helper_wait_ms(const struct helper *h)
{
	int64_t left = h->started_ms + YOUNG_MS - tree_clock_ms();

	return h->pid ? -1 : left < 0 ? 0 : (int)left;
}

void helper_due(struct helper *h)
{
	if (helper_wait_ms(h) == 0 && start(h) < 0)
		h->started_ms = tree_clock_ms();
}

void helper_end(struct helper *h, int limit_ms)
{
	struct timespec step = { .tv_nsec = 2000000 };

	if (!h->pid)
		return;
	close(h->up);
	for (int64_t until = tree_clock_ms() + limit_ms; tree_clock_ms() < until && waitpid(h->pid, NULL, WNOHANG) == 0;)
		nanosleep(&step, NULL);
	tree_spare(-h->pid);
	h->pid = 0;
}
