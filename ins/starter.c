// SPDX-License-Identifier: Apache-2.0
/*
 * starter.c - the process that makes workers, because a process has at least the system calls of the one that made it: so the
 * keeper, who holds everything, may do with fewer.
 * Trust: nobody; it reads the keeper's order, a byte, and does one thing.
 *
 * A worker is the keeper's child (CLONE_PARENT), and is as the starter was when it began: before any worker. All three have one
 * table of descriptors. When the starter is killed the INS goes on, and ends with its worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ins/starter.h"
#include "ins/uplink.h"

#define LOOK_MS 100

enum { KEEPERS, ITS };

static pid_t starter = -1;

static pid_t copy(unsigned long flags)
{
	return (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
}

/* Ends when the keeper does. */
static void begin(pid_t keeper, const char *name)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != keeper)
		_exit(EXIT_LOST);
	prctl(PR_SET_NAME, name);
}

_Noreturn static void serve(pid_t keeper, void (*work)(void))
{
	char order;

	begin(keeper, "mw-ins-starter");
	while (read(ins.fd->starter[ITS], &order, 1) == 1) {
		pid_t pid = copy(CLONE_FILES | CLONE_PARENT | SIGCHLD);

		if (pid == 0) {
			begin(keeper, "mw-ins");
			work();
		}
		if (write(ins.fd->starter[ITS], &pid, sizeof(pid)) != sizeof(pid))
			break;
	}
	_exit(EXIT_LOST);
}

/* Of an INS that is taken over, to the numbers of the old one's. */
int starter_pair(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		if (!ins.taken) {
			ins.fd->starter[i] = pair[i];
			ins.fd->last = pair[i] > ins.fd->last ? pair[i] : ins.fd->last;
			continue;
		}
		if (dup3(pair[i], ins.fd->starter[i], O_CLOEXEC) < 0)
			return -errno;
		close(pair[i]);
	}
	return 0;
}

int starter_begin(void (*work)(void))
{
	pid_t self = getpid();
	int r = ins.taken ? 0 : starter_pair();

	if (r < 0)
		return r;
	starter = copy(CLONE_FILES | SIGCHLD);
	if (starter == 0)
		serve(self, work);
	return starter < 0 ? -errno : 0;
}

pid_t starter_worker(void)
{
	struct pollfd p = { .fd = ins.fd->starter[KEEPERS], .events = POLLIN };
	pid_t pid;

	if (write(p.fd, "", 1) != 1)
		return -1;
	while (poll(&p, 1, LOOK_MS) <= 0)
		if (waitpid(starter, NULL, WNOHANG) != 0)
			return -1;
	return read(p.fd, &pid, sizeof(pid)) == sizeof(pid) ? pid : -1;
}

void starter_end(void)
{
	kill(starter, SIGKILL);
	waitpid(starter, NULL, 0);
}
