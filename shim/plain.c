// SPDX-License-Identifier: Apache-2.0
/*
 * plain.c - processes that have given up most system calls: the doorbell by read, write and poll alone.
 * Trust: none.
 *
 * A program that sandboxes itself with a seccomp filter (sshd before a login) allows what it needs natively: to read,
 * write and poll its sockets. Any other call of ours would end it. So from then on the doorbell is served by those
 * three, and what else it needs is learnt before: who does not block, and a small send budget.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/plain.h"
#include "shim/doorbell.h"
#include "shim/fdtab.h"
#include "shim/sock.h"

#define FDS 1024 /* a higher one counts as blocking */

bool plain_on;
static bool impatient[FDS];

static int ready(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	long r = syscall(SYS_poll, &p, 1, timeout_ms);

	return r < 0 ? -errno : r > 0 && p.revents & events;
}

static bool waits(int fd, int flags)
{
	return !(flags & MSG_DONTWAIT) && !(fd < FDS && impatient[fd]);
}

bool plain_take(int fd)
{
	char c;

	return ready(fd, POLLIN, 0) > 0 && syscall(SYS_read, fd, &c, 1) > 0;
}

int plain_wait(int fd, int flags)
{
	int r = ready(fd, POLLIN, waits(fd, flags) ? -1 : 0);

	return r == 0 ? -EAGAIN : r;
}

int plain_send(int fd, const void *from, size_t n, int flags)
{
	int r = ready(fd, POLLOUT, 0);
	long sent;

	if (r == 0 && waits(fd, flags)) {
		r = ready(fd, POLLOUT, -1); /* what fills it is there already */
		return r < 0 ? r : 0;
	}
	if (r <= 0)
		return r < 0 ? r : -EAGAIN;
	sent = syscall(SYS_write, fd, from, n);
	return sent < 0 ? -errno : (int)sent;
}

void plain_prepare(void)
{
	struct sock k;

	for (int fd = 0; fd < FDS; fd++) {
		if (!sock_get(fd, &k))
			continue;
		impatient[fd] = syscall(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK;
		if (SLOT_INS(&k, lane) != MW_LANE_STREAM && !IS_DGRAM(&k))
			doorbell_shrink(&k); /* those two carry bytes in it, and have no filler */
	}
}
