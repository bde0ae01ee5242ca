// SPDX-License-Identifier: Apache-2.0
/*
 * helper.c - see helper.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/deposit.h"
#include "broker/helper.h"
#include "broker/tree.h"
#include "lib/clock.h"

#define YOUNG_MS 1000
#define FIRST_FD 3
#define ARGS_BYTES 8192

struct left {
	int32_t fd_count;
	char args[ARGS_BYTES];   /* each with its terminator; an empty one ends them */
};

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
	execv(h->path, (char *const *)(uintptr_t)h->argv);
	_exit(127);
}

void helper_leave(const struct helper *h)
{
	const struct deposit_about about = { DEPOT_HELPER, h->pid, -1 };
	struct left l = { .fd_count = h->fd_count };
	int fds[1 + HELPER_FDS];
	size_t at = 0;

	for (int i = 0; h->argv[i] && at + strlen(h->argv[i]) + 2 < sizeof(l.args); i++)
		at += strlen(strcpy(l.args + at, h->argv[i])) + 1;
	fds[0] = h->up;
	memcpy(fds + 1, h->fds, sizeof(h->fds));
	deposit_put(h->key, &l, sizeof(l), fds, 1 + h->fd_count, &about);
}

bool helper_adopt(struct helper *h)
{
	struct deposit *d = deposit_find(h->key);
	const struct left *l = d ? d->bytes : NULL;
	const char *at;

	if (!l || d->n != sizeof(*l) || l->args[ARGS_BYTES - 1] || l->fd_count < 0 || l->fd_count > HELPER_FDS)
		return false;
	at = l->args;
	for (int i = 0; i < HELPER_ARGS - 1 && *at; at += strlen(at) + 1)
		if (!(h->argv[i++] = strdup(at)))
			return false;
	h->fd_count = l->fd_count;
	h->up = d->fds[0];
	for (int i = 0; i < HELPER_FDS; i++)
		h->fds[i] = d->fds[1 + i];
	for (int i = 0; i < DEPOSIT_FDS; i++)
		d->fds[i] = -1;
	h->pid = d->pid;
	h->adopted = true;
	tree_spare(h->pid);
	return true;
}

static int start(struct helper *h)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	h->started_ms = clock_ms();
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
	h->adopted = false;
	tree_spare(h->pid);
	helper_leave(h);
	return 0;
}

int helper_start(struct helper *h, char *why, size_t why_bytes)
{
	char ready;
	int r = start(h);

	if (r == 0 && recv(h->up, &ready, 1, 0) != 1)
		r = -ECHILD;
	if (r < 0)
		snprintf(why, why_bytes, "cannot start %s (%.100s): %s", h->what, h->path,
			 r == -ECHILD ? "it ended before it was ready" : strerror(-r));
	return r;
}

static void again(struct helper *h)
{
	tree_spare(-h->pid);
	h->pid = 0;
	close(h->up);
	helper_due(h);
}

bool helper_ended(struct helper *h, pid_t pid, int status, const char *app)
{
	char how[TREE_HOW_BYTES];

	if (!h->pid || pid != h->pid)
		return false;
	fprintf(stderr, "mw: %s: %s ended (%s) and is started again: %s\n", app, h->what, tree_how(status, how), h->lost);
	again(h);
	return true;
}

bool helper_gone(struct helper *h, const char *app)
{
	if (!h->pid || !h->adopted)
		return false;
	fprintf(stderr, "mw: %s: %s ended and is started again: %s\n", app, h->what, h->lost);
	again(h);
	return true;
}

/* One that is another's child is nobody's to wait for here. */
static bool runs(const struct helper *h)
{
	return h->adopted ? kill(h->pid, 0) == 0 : waitpid(h->pid, NULL, WNOHANG) == 0;
}

int helper_wait_ms(const struct helper *h)
{
	return h->pid ? -1 : clock_until(h->started_ms + YOUNG_MS);
}

void helper_due(struct helper *h)
{
	if (helper_wait_ms(h) == 0 && start(h) < 0)
		h->started_ms = clock_ms();
}

void helper_end(struct helper *h, int limit_ms)
{
	struct timespec step = { .tv_nsec = 2000000 };

	if (!h->pid)
		return;
	deposit_drop(h->key);
	close(h->up);
	for (int64_t until = clock_ms() + limit_ms; clock_ms() < until && runs(h);)
		nanosleep(&step, NULL);
	tree_spare(-h->pid);
	h->pid = 0;
}
