// SPDX-License-Identifier: Apache-2.0
/*
 * urgent.c - TCP's urgent data: where reads stop, and the byte by itself. See ins/urgent.c.
 * Trust: the INS's words decide only what of the ring's bytes is given; each is bounded by what is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "shim/urgent.h"
#include "chan/mark.h"
#include "chan/msg.h"
#include "lib/fdpass.h"
#include "shim/attach.h"
#include "shim/data.h"
#include "shim/fdtab.h"
#include "shim/fork.h"
#include "shim/sock.h"
#include "shim/stream.h"
#include "shim/twin.h"
#include "shim/user.h"

static struct mw_mark mark_from(struct sock *k, uint64_t cons)
{
	struct mw_mark m;

	mark_see(&m, k->s, cons, VIEW(k)->rx_bytes);
	return m;
}

uint32_t urgent_cut(struct sock *k, uint64_t *cons, uint32_t used, bool more)
{
	struct mw_mark m = mark_from(k, *cons);

	return mark_cut(&m, cons, used, more);
}

uint32_t urgent_unread(struct sock *k, uint64_t cons, uint32_t used)
{
	struct mw_mark m = mark_from(k, cons);

	return mark_unread(&m, cons, used);
}

uint32_t urgent_hidden(struct sock *k, uint64_t cons)
{
	struct mw_mark m = mark_from(k, cons);

	return mark_hidden(&m, cons);
}

bool urgent_stops(struct sock *k)
{
	return mark_from(k, SLOT_APP(k, rx_cons)).ahead == 0;
}

bool urgent_within(struct sock *k)
{
	uint64_t cons = SLOT_APP(k, rx_cons);
	struct mw_ring r;
	uint32_t used;

	arena_rx(VIEW(k), k->slot, &r);
	return ring_used(&r, cons, &used) == 0 && mark_from(k, cons).ahead < used;
}

bool urgent_there(struct sock *k)
{
	uint64_t cons = SLOT_APP(k, rx_cons);
	struct mw_ring r;
	uint32_t used;

	arena_rx(VIEW(k), k->slot, &r);
	return ring_used(&r, cons, &used) == 0 && mark_from(k, cons).begin - cons < used;
}

static int ask(struct sock *k, uint32_t what, uint8_t byte, int pass_fd, struct mw_reply *r)
{
	struct mw_req q = { .u.urgent = { .what = what, .byte = byte } };

	address_request(k, &q);
	return ctl_call(k, &q, MW_OP_URGENT, pass_fd, r);
}

/* As tcp_recv_urg(): the byte is taken also where there is no room for it. */
ssize_t urgent_recv(struct sock *k, const struct iovec *iov, size_t want, int flags)
{
	uint32_t state = SLOT_INS(k, state);
	struct mw_reply reply;
	uint8_t byte;
	int r;

	if (state == MW_ST_LISTEN)
		return -ENOTCONN;
	if (state == MW_ST_OPEN || state == MW_ST_CONNECTING)
		return -EINVAL;
	if (SLOT_INS(k, lane) == MW_LANE_STREAM)
		return stream_recv(k, iov, 1, flags);
	r = ask(k, flags & MSG_PEEK ? MW_URGENT_PEEK : MW_URGENT_TAKE, 0, -1, &reply);
	if (r < 0)
		return r;
	if (!want || reply.length < 0)
		return 0;
	byte = (uint8_t)reply.length;
	while (!iov->iov_len)
		iov++;
	return flags & MSG_TRUNC || user_put(iov->iov_base, &byte, 1) == 0 ? 1 : -EFAULT;
}

/* The INS keeps one byte that is on its way behind others: for the next one there is no room so long. */
static int send_byte(struct sock *k, uint8_t byte, int flags)
{
	static const struct timespec moment = { .tv_nsec = 1000000 };
	bool waits = !(flags & MSG_DONTWAIT) && !(syscall(SYS_fcntl, k->fd, F_GETFL) & O_NONBLOCK);
	struct mw_reply reply;
	int r;

	while ((r = ask(k, MW_URGENT_SEND, byte, -1, &reply)) == -EAGAIN && waits)
		if (syscall(SYS_nanosleep, &moment, NULL) < 0)
			return -EINTR;
	return r;
}

/* The descriptor carries what comes before the last byte, which is the urgent one. */
ssize_t urgent_send(struct sock *k, const struct iovec *iov, int count, size_t want, int flags)
{
	struct iovec part[IOV_MAX];
	ssize_t n = 0, r;
	uint8_t byte;

	memcpy(part, iov, (size_t)count * sizeof(*iov));
	while (!part[count - 1].iov_len)
		count--;
	part[count - 1].iov_len--;
	if (user_get(&byte, (const uint8_t *)part[count - 1].iov_base + part[count - 1].iov_len, 1) < 0)
		return -EFAULT;
	if (want > 1)
		n = stream_send(k, part, count, flags & ~MSG_OOB);
	if (n < 0 || (size_t)n < want - 1)
		return n;
	r = send_byte(k, byte, flags);
	if (r < 0)
		return n ? n : r;
	twin_settle(k);
	return n + 1;
}

void urgent_inline_set(struct sock *k)
{
	int on = (int)SLOT_INS(k, urgent_inline);

	if (SLOT_INS(k, lane) == MW_LANE_STREAM) {
		syscall(SYS_setsockopt, k->fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
		return;
	}
	if (SLOT_INS(k, state) == MW_ST_ESTABLISHED) {
		data_lowat(k);
		twin_ask(k, SLOT_INS(k, gen)); /* readable at once, if it now is */
	}
}

/*
 * SIGURG. No doorbell of records makes a kernel send it, but a pair of streams does, to the owner of the end that urgent
 * data comes to. So the INS gets such a pair: one end with our descriptor's owner, waiting in the other.
 */
void urgent_owner(int fd)
{
	struct f_owner_ex owner;
	struct mw_reply reply;
	struct sock k;
	int pair[2];

	if (!in_own_process() || !sock_get(fd, &k) || IS_DGRAM(&k) || SLOT_INS(&k, lane) == MW_LANE_STREAM)
		return;
	if (attach_pair(SOCK_STREAM | SOCK_CLOEXEC, pair) < 0)
		return;
	if (syscall(SYS_fcntl, fd, F_GETOWN_EX, &owner) == 0 && syscall(SYS_fcntl, pair[0], F_SETOWN_EX, &owner) == 0 &&
	    fdpass_send(pair[0], "", 1, &pair[0], 1, MSG_DONTWAIT) == 1)
		ask(&k, MW_URGENT_OWNER, 0, pair[1], &reply);
	syscall(SYS_close, pair[0]);
	syscall(SYS_close, pair[1]);
}
