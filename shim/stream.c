// SPDX-License-Identifier: Apache-2.0
/*
 * stream.c - sockets on the stream lane, whose descriptor carries the bytes itself, and the change of a ring socket
 * into one: for stdio and whatever else in libc reads without us.
 * Trust: as data.c; the bytes are the kernel's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/stream.h"
#include "chan/msg.h"
#include "shim/attach.h"
#include "shim/doorbell.h"
#include "shim/fdtab.h"
#include "shim/libc.h"
#include "shim/lock.h"
#include "shim/sock.h"

/* A reset is all that the pair can show: the slot knows what it was. */
static ssize_t result(struct sock *k, long r)
{
	int error;

	if (r >= 0)
		return r;
	if (errno != ECONNRESET)
		return -errno;
	error = SLOT_INS(k, error);
	return SLOT_INS(k, rx_state) & MW_RX_ERROR && error > 0 && error < 4096 ? -error : -ECONNRESET;
}

/* Both by libc, whose calls are cancellation points. */
ssize_t stream_recv(struct sock *k, const struct iovec *iov, int count, int flags)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(unsigned long)iov, .msg_iovlen = (size_t)count };

	if (count == 1 && !flags) /* the application's own call, which its own filter may be all that it allows */
		return result(k, libc()->read(k->fd, iov->iov_base, iov->iov_len));
	return result(k, libc()->recvmsg(k->fd, &m, flags & ~MSG_TRUNC)); /* which a doorbell of records would tell the length by */
}

ssize_t stream_send(struct sock *k, const struct iovec *iov, int count, int flags)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(unsigned long)iov, .msg_iovlen = (size_t)count };

	if (count == 1 && !flags)
		return result(k, libc()->write(k->fd, iov->iov_base, iov->iov_len));
	return result(k, libc()->sendmsg(k->fd, &m, flags & ~MSG_MORE));
}

ssize_t stream_sendfile(struct sock *k, int in, off_t *offset, size_t count)
{
	return result(k, syscall(SYS_sendfile, k->fd, in, offset, count));
}

ssize_t stream_splice(struct sock *k, int in, int out, size_t n, unsigned int flags)
{
	return result(k, syscall(SYS_splice, in, NULL, out, NULL, n, flags));
}

int stream_unread(struct sock *k)
{
	int n = 0;

	return syscall(SYS_ioctl, k->fd, FIONREAD, &n) < 0 ? 0 : n;
}

/* More than a quarter of the send budget, which is what makes a descriptor unwritable. */
void stream_fill(int fd)
{
	static const uint8_t filler[MW_STREAM_SNDBUF / 2 + 4096];

	syscall(SYS_sendto, fd, filler, sizeof(filler), MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
}

/* --- from ring to stream --- */

static int convert_locked(struct sock *k)
{
	struct mw_req q = { .slot = k->slot, .gen = SLOT_INS(k, gen) };
	struct mw_reply reply;
	int in_line = (int)SLOT_INS(k, urgent_inline), pair[2], r;

	if (SLOT_INS(k, lane) == MW_LANE_STREAM)
		return 0;
	r = doorbell_pair(SOCK_STREAM | SOCK_CLOEXEC, pair, &q.u.stream.cookie);
	if (r < 0)
		return r;
	doorbell_copy_file(k->fd, pair[0]);
	syscall(SYS_setsockopt, pair[0], SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof(in_line));
	r = ctl_call(k, &q, MW_OP_STREAM, pair[1], &reply);
	syscall(SYS_close, pair[1]);
	if (r == 0)
		doorbell_replace(k, pair[0], PLACE(k->ins, k->slot));
	syscall(SYS_close, pair[0]);
	return r;
}

int stream_convert(int fd)
{
	struct sock k;
	int r;

	if (!sock_get(fd, &k) || IS_DGRAM(&k) || SLOT_INS(&k, state) != MW_ST_ESTABLISHED)
		return 0;
	if (!lock_take(MW_WORD(&k.s->app.rx_lock)))
		return -EINTR; /* a handler that came in between: its host goes on with the ring */
	r = -EINTR;
	if (lock_take(MW_WORD(&k.s->app.tx_lock))) {
		r = convert_locked(&k);
		lock_drop(MW_WORD(&k.s->app.tx_lock));
	}
	lock_drop(MW_WORD(&k.s->app.rx_lock));
	return r;
}
