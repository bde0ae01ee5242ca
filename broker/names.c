// SPDX-License-Identifier: Apache-2.0
/*
 * names.c - see names.h.
 * Trust: as in the header.
 *
 * The listening socket stays here, so that no lookup is lost between two resolvers but those that the dead one had begun. One that
 * dies young is started again a second later.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/names.h"
#include "broker/tree.h"
#include "link/names.h"

#define YOUNG_MS 1000

static struct {
	pid_t pid;
	int up, listen, netns;
	int64_t started_ms;
} n;

pid_t names_pid(void)
{
	return n.pid;
}

static void child(int up)
{
	int listen = fcntl(n.listen, F_DUPFD, 10), netns = n.netns < 0 ? -1 : fcntl(n.netns, F_DUPFD, 10);
	sigset_t none;

	up = fcntl(up, F_DUPFD, 10);
	if (up < 0 || listen < 0 || dup2(up, NAMES_BROKER_FD) < 0 || dup2(listen, NAMES_LISTEN_FD) < 0)
		_exit(1);
	if (n.netns >= 0 && (netns < 0 || dup2(netns, NAMES_NETNS_FD) < 0))
		_exit(1);
	close_range(n.netns < 0 ? NAMES_NETNS_FD : NAMES_NETNS_FD + 1, ~0u, 0);
	setsid(); /* a terminal's signals are the application's */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl(spawn_names_path(), "mw-names", n.netns < 0 ? "host" : "isolated", (char *)NULL);
	_exit(127);
}

static int start(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	n.started_ms = tree_clock_ms();
	n.pid = fork();
	if (n.pid == 0)
		child(pair[1]);
	close(pair[1]);
	if (n.pid < 0) {
		n.pid = 0;
		close(pair[0]);
		return -EAGAIN;
	}
	n.up = pair[0];
	tree_spare(n.pid);
	return 0;
}

int names_start(int listen, int netns, char *why, size_t why_bytes)
{
	char ready;
	int r;

	n.listen = listen;
	n.netns = netns;
	r = start();
	if (r == 0 && recv(n.up, &ready, 1, 0) != 1)
		r = -ECHILD;
	if (r < 0)
		snprintf(why, why_bytes, "cannot start the resolver (%.100s)", spawn_names_path());
	return r;
}

bool names_ended(pid_t pid, int status, const char *app)
{
	if (!n.pid || pid != n.pid)
		return false;
	fprintf(stderr, "mw: %s: the resolver ended (%s %d) and is started again: lookups under way failed\n", app,
		WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	n.pid = 0;
	tree_spare(0);
	close(n.up);
	names_due();
	return true;
}

int names_wait_ms(void)
{
	int64_t left = n.started_ms + YOUNG_MS - tree_clock_ms();

	return n.pid ? -1 : left < 0 ? 0 : (int)left;
}

void names_due(void)
{
	if (names_wait_ms() == 0 && start() < 0)
		n.started_ms = tree_clock_ms();
}
