// SPDX-License-Identifier: Apache-2.0
/*
 * hold.c - a call that waits again after it has moved bytes sees a signal that came since.
 * Trust: none.
 *
 * In the kernel a handler runs when the call is over or asleep: a send that has sent some and is to wait for more room
 * returns what it has sent, whenever the signal came. Our calls run in the application, where a handler runs at once,
 * and the wait behind it would not know. So a call that surely moves less than it is asked to holds signals off from
 * there on, and lets them in while it sleeps, in one step. Before it has moved anything it waits as ever: the kernel
 * knows what is to be started again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/hold.h"
#include "shim/libc.h"
#include "shim/plain.h"

/* Faults are taken as ever: see user.c. */
static const int FAULTS[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS };

sigset_t *hold(int fd, int flags, sigset_t *theirs)
{
	sigset_t all;

	if (plain_on || flags & MSG_DONTWAIT || syscall(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK)
		return NULL;
	memset(&all, 0xff, sizeof(all));
	for (size_t i = 0; i < sizeof(FAULTS) / sizeof(FAULTS[0]); i++)
		sigdelset(&all, FAULTS[i]);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, theirs, _NSIG / 8);
	return theirs;
}

sigset_t *hold_end(const sigset_t *theirs)
{
	if (theirs)
		syscall(SYS_rt_sigprocmask, SIG_SETMASK, theirs, NULL, _NSIG / 8);
	return NULL;
}

/* A thread that is cancelled in its sleep goes on in its cleanup, with its own mask. */
static void cancelled(void *theirs)
{
	hold_end(theirs);
}

int hold_wait(int fd, short events, int timeout_option, sigset_t *theirs)
{
	struct pollfd p = { .fd = fd, .events = events };
	struct timeval limit = { 0, 0 };
	socklen_t n = sizeof(limit);
	struct timespec t;
	int r, saved = errno;

	syscall(SYS_getsockopt, fd, SOL_SOCKET, timeout_option, &limit, &n);
	t.tv_sec = limit.tv_sec;
	t.tv_nsec = limit.tv_usec * 1000;
	pthread_cleanup_push(cancelled, theirs);
	r = libc()->ppoll(&p, 1, t.tv_sec || t.tv_nsec ? &t : NULL, theirs);
	pthread_cleanup_pop(0);
	if (r < 0)
		r = -errno;
	else
		r = r ? 0 : -EAGAIN;
	errno = saved;
	return r;
}
