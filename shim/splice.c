// SPDX-License-Identifier: Apache-2.0
/*
 * splice.c - splice() between a pipe and a socket of ours.
 * Trust: as data.c.
 *
 * Ring memory cannot be lent to a pipe, because it is written again: bytes are copied, once by way of the stack from
 * a socket, straight into the ring to one. What is taken from a socket must fit the pipe, and what is taken from a
 * pipe must fit the socket's order, so room is looked at first. Others who fill the same pipe meanwhile make us wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/splice.h"
#include "shim/data.h"
#include "shim/fdtab.h"
#include "shim/fork.h"
#include "shim/libc.h"
#include "shim/sock.h"
#include "shim/stream.h"

#define KNOWN (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)
#define PART 16384u

static bool is_pipe(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

static int unread(int pipe)
{
	int n = 0;

	return syscall(SYS_ioctl, pipe, FIONREAD, &n) < 0 ? 0 : n;
}

/* Waits for one of the events, or only looks. What poll said of it, 0 for none, or -errno. */
static int look(int fd, short events, bool wait)
{
	struct pollfd p = { .fd = fd, .events = events };
	long r = syscall(SYS_poll, &p, 1, wait ? -1 : 0);

	return r < 0 ? -errno : p.revents;
}

/* How much surely fits: all of an empty pipe, else what "writable" promises. 0: it is full; -errno. */
static ssize_t pipe_room(int pipe, bool wait)
{
	int seen = look(pipe, POLLOUT, wait);
	long size;

	if (seen <= 0)
		return seen;
	if (seen & POLLERR) {
		syscall(SYS_tkill, own_tid(), SIGPIPE);
		return -EPIPE;
	}
	if (unread(pipe))
		return PIPE_BUF;
	size = syscall(SYS_fcntl, pipe, F_GETPIPE_SZ);
	return size > 0 ? size : PIPE_BUF;
}

/* As Linux: waits for room in the pipe, then for a first byte; then takes what is there and fits. */
static ssize_t to_pipe(struct sock *k, int pipe, size_t want, bool wait)
{
	uint8_t part[PART];
	size_t done = 0;

	while (done < want) {
		ssize_t n = pipe_room(pipe, wait && !done), got;

		if (n <= 0)
			return done ? (ssize_t)done : n < 0 ? n : -EAGAIN;
		if ((size_t)n > want - done)
			n = (ssize_t)(want - done);
		if (n > (ssize_t)PART)
			n = PART;
		got = data_recv(k, &(struct iovec){ part, (size_t)n }, 1, done ? MSG_DONTWAIT : 0);
		if (got <= 0)
			return done ? (ssize_t)done : got;
		syscall(SYS_write, pipe, part, got);
		done += (size_t)got;
		if (got < n)
			break;
	}
	return (ssize_t)done;
}

static ssize_t from_pipe(struct sock *k, int pipe, size_t want, bool wait)
{
	int n = unread(pipe);

	if (!n) {
		int seen = look(pipe, POLLIN, wait);

		n = unread(pipe);
		if (seen < 0)
			return seen;
		if (!n)
			return seen & POLLHUP ? 0 : -EAGAIN;
	}
	return data_sendfile(k, pipe, NULL, (size_t)n < want ? (size_t)n : want);
}

/* The errors that Linux finds before it moves anything, in its order. `pipe` is the other end. */
static int refused(int pipe, bool pipe_offset, bool sock_offset, bool reads_pipe)
{
	struct sock other;
	long flags = syscall(SYS_fcntl, pipe, F_GETFL);
	int wrong = reads_pipe ? O_WRONLY : O_RDONLY;

	if (flags < 0)
		return -EBADF;
	if (is_pipe(pipe) && pipe_offset)
		return -ESPIPE;
	if (!sock_get(pipe, &other) && (flags & O_ACCMODE) == wrong)
		return -EBADF;
	return is_pipe(pipe) && !sock_offset ? 0 : -EINVAL;
}

ssize_t splice_sock(int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned int flags)
{
	struct sock k;
	bool reads_pipe = !sock_get(in, &k);
	int pipe = reads_pipe ? in : out, r;
	bool wait;

	if (!n)
		return 0;
	if (flags & ~KNOWN)
		return -EINVAL;
	r = reads_pipe ? refused(pipe, in_at, out_at, true) : refused(pipe, out_at, in_at, false);
	if (r < 0)
		return r;
	if (reads_pipe && !sock_get(out, &k))
		return -EBADF; /* closed meanwhile */
	wait = !(flags & SPLICE_F_NONBLOCK) && !(syscall(SYS_fcntl, pipe, F_GETFL) & O_NONBLOCK);
	if (SLOT_INS(&k, lane) == MW_LANE_STREAM)
		return stream_splice(&k, in, out, n, flags);
	return reads_pipe ? from_pipe(&k, pipe, n, wait) : to_pipe(&k, pipe, n, wait);
}
