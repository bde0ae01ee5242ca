// SPDX-License-Identifier: GPL-2.0
/*
 * stream.c - bytes of connections, between the caller's memory and the rings, with no buffer in between.
 * Trust: indexes are ours in mwk_end, the INS's are bounded by chan/ring.c; an impossible one ends the socket and the INS.
 *
 * Edges. The INS marks the slot when rx_prod passes the position that we armed. That is where a read stopped: the end of what
 * it saw. What came meanwhile may have passed the old position and be answered late or never, so who leaves bytes unread and sees
 * more than was ever told raises the edge itself (mwk_end.edge).
 */
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include <net/tcp_states.h>

#include "chan/ring.h"
#include "kmod/end.h"
#include "kmod/ins.h"
#include "kmod/main.h"
#include "kmod/option.h"
#include "kmod/sock.h"
#include "kmod/stream.h"
#include "kmod/urgent.h"

/* --- receiving --- */

static u32 unread(struct mwk_end *e)
{
	u32 used;

	return ring_used(&e->rx, e->rx_cons, &used) < 0 ? 0 : used;
}

/* Has the position armed up to which we have seen bytes; raises the edge for bytes that stay and that nobody was told of. */
static void arm(struct mwk_sock *m, struct mwk_end *e)
{
	u32 before = unread(e), after;
	bool told = true;

	ring_arm(&e->rx, e->rx_cons + before);
	after = unread(e);
	if (!after)
		return;
	spin_lock(&m->news);
	if (e->edge - e->rx_cons < after || e->edge < e->rx_cons) {
		e->edge = e->rx_cons + after;
		told = false;
	}
	spin_unlock(&m->news);
	if (!told)
		m->sk.sk_data_ready(&m->sk);
}

/* Bytes that a read would give. */
static u32 readable(struct mwk_sock *m, struct mwk_end *e)
{
	u32 used = unread(e), hidden = used ? mwk_urgent_hidden(m, e) : 0;

	return used > hidden ? used - hidden : 0;
}

bool mwk_stream_readable(struct mwk_sock *m, struct mwk_end *e, u32 target)
{
	u32 have = readable(m, e);

	if (have < target && !have) {
		ring_arm(&e->rx, READ_ONCE(e->rx_cons) + unread(e));
		have = readable(m, e);
	}
	return have >= target && have;
}

int mwk_stream_unread(struct sock *sk)
{
	struct mwk_sock *m = mwk_sk(sk);
	int n;

	if (!m->end)
		return 0;
	n = (int)unread(m->end);
	ring_arm(&m->end->rx, m->end->rx_cons + (u32)n);
	return (int)mwk_urgent_unread(m, m->end, (u32)n);
}

void mwk_stream_space(struct mwk_end *e)
{
	u64 event;

	mw_fence(); /* pairs with the INS's, between rx_space_event and its second look */
	event = MWK_INS(e, rx_space_event);
	if (event != MW_NEVER && e->rx_cons > event && !READ_ONCE(e->dead))
		mwk_ins_mark(e);
}

/* Bytes from position `at` into the caller's memory; -EFAULT when none could be. */
static int copy_out(struct mwk_end *e, u64 at, u32 n, struct msghdr *msg, int flags)
{
	struct mw_span span[2];
	int spans = ring_spans(&e->rx, at, n, span);
	size_t done = 0, got;

	if (flags & MSG_TRUNC)
		return (int)n;
	for (int s = 0; s < spans; s++) {
		got = copy_to_iter(MW_WORD(span[s].base), span[s].bytes, &msg->msg_iter);
		done += got;
		if (got < span[s].bytes)
			break;
	}
	return done ? (int)done : -EFAULT;
}

/* Why a read that has nothing ends: 1 the end of the stream, -errno, or 0: it may wait. */
static int read_ends(struct sock *sk, int shutdown, int state, long timeo)
{
	int e;

	if (READ_ONCE(sk->sk_err)) {
		e = sock_error(sk);
		if (e)
			return e;
	}
	if (shutdown & RCV_SHUTDOWN)
		return 1;
	if (state == TCP_CLOSE)
		return -ENOTCONN;
	if (!timeo)
		return -EAGAIN;
	return signal_pending(current) ? sock_intr_errno(timeo) : 0;
}

static bool more_to_read(struct sock *sk, u32 seen)
{
	return unread(mwk_sk(sk)->end) > seen || READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN ||
	       READ_ONCE(sk->sk_state) == TCP_CLOSE;
}

static int wait_for_more(struct sock *sk, u32 seen, long *timeo)
{
	struct mwk_sock *m = mwk_sk(sk);

	ring_arm(&m->end->rx, m->end->rx_cons + seen);
	return mwk_sock_wait(sk, timeo, more_to_read, seen);
}

/* Up to where the caller has been is given back to the INS. */
static void advance(struct mwk_end *e, u64 at)
{
	WRITE_ONCE(e->rx_cons, at);
	ring_release(&e->rx, at);
	mwk_stream_space(e);
}

/* What a read does with `used` bytes at *at: how many it took, *at moved behind them and what nobody gets; 0: nothing, or -errno. */
static int take(struct mwk_sock *m, u64 *at, u32 used, struct msghdr *msg, size_t left, int flags, bool more)
{
	u32 n = (u32)min_t(size_t, mwk_urgent_cut(m, m->end, at, used, more), left);
	int r = n ? copy_out(m->end, *at, n, msg, flags) : 0;

	if (r < 0)
		return r;
	*at += (u32)r;
	if (!(flags & MSG_PEEK))
		advance(m->end, *at);
	return r;
}

static int recv_locked(struct sock *sk, struct msghdr *msg, size_t len, int flags)
{
	struct mwk_sock *m = mwk_sk(sk);
	struct mwk_end *e = m->end;
	long timeo = mwk_sock_timeo(sk, m->end, false, flags & MSG_DONTWAIT);
	size_t target = (size_t)sock_rcvlowat(sk, flags & MSG_WAITALL, (int)min_t(size_t, len, INT_MAX)), copied = 0;
	u64 at = e->rx_cons; /* which is the end of what was peeked at, or rx_cons */
	u32 used;
	int r = 0;

	while (copied < len) {
		u8 shutdown = READ_ONCE(sk->sk_shutdown), state = smp_load_acquire(&sk->sk_state);

		smp_rmb(); /* what was published before FIN or an error is in the ring by now */
		if (ring_used(&e->rx, e->rx_cons, &used) < 0) {
			mwk_sock_broken(m, e);
			used = 0;
		}
		if (at - e->rx_cons < used) {
			if (mwk_urgent_stops(m, e, at)) {
				if (copied)
					break;
				r = signal_pending(current) ? timeo ? sock_intr_errno(timeo) : -EAGAIN : 0;
				if (r)
					break;
			}
			r = take(m, &at, used - (u32)(at - e->rx_cons), msg, len - copied, flags, copied);
			if (r < 0)
				break;
			copied += (size_t)r;
			continue;
		}
		if (copied >= target)
			break;
		if (copied && (!timeo || READ_ONCE(sk->sk_err) || state == TCP_CLOSE || shutdown & RCV_SHUTDOWN || signal_pending(current)))
			break;
		r = copied ? 0 : read_ends(sk, shutdown, state, timeo);
		if (r)
			break;
		r = wait_for_more(sk, (u32)(at - e->rx_cons), &timeo);
		if (r < 0 && r != -EAGAIN)
			break;
	}
	arm(m, e);
	if (!(flags & MSG_PEEK))
		atomic64_add((s64)copied, &mwk_count.received);
	return copied ? (int)copied : r == 1 ? 0 : r;
}

int mwk_stream_recv(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = sock->sk;
	struct mwk_sock *m = mwk_sk(sk);
	int r;

	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	lock_sock(sk);
	if (m->end && mwk_option_due(m, m->end))
		mwk_option_sync(m, m->end);
	if (sk->sk_state == TCP_LISTEN || !m->end)
		r = -ENOTCONN;
	else if (flags & MSG_OOB)
		r = mwk_urgent_recv(sk, msg, len, flags);
	else
		r = recv_locked(sk, msg, len, flags);
	release_sock(sk);
	return r;
}

/* --- sending --- */

/* Room in tx, also when the INS's index is impossible: that is found when it is written to. */
static int room(struct mwk_end *e, u32 *free, u32 *most)
{
	u32 limit = MWK_NAME(e, tx_limit), used;
	int r = ring_free(&e->tx, READ_ONCE(e->tx_prod), free);

	*most = limit && limit < e->tx.bytes ? limit : e->tx.bytes;
	if (r < 0)
		return r;
	used = e->tx.bytes - *free;
	*free = used < *most ? *most - used : 0;
	return 0;
}

bool mwk_stream_writable(struct mwk_end *e)
{
	u32 free, most;

	return room(e, &free, &most) < 0 || free >= most / 3;
}

void mwk_stream_want_room(struct mwk_end *e)
{
	u32 free, most;

	if (room(e, &free, &most) < 0)
		return;
	WRITE_ONCE(e->tx_wait, true);
	ring_arm(&e->tx, READ_ONCE(e->tx_prod) - (most - most / 3) - 1);
}

/* Another writer may have taken the room that this one was woken for, and have gone: whoever goes on waiting says so again. */
static bool may_write(struct sock *sk, u32 unused)
{
	struct mwk_end *e = mwk_sk(sk)->end;

	if (READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN || mwk_stream_writable(e))
		return true;
	mwk_stream_want_room(e);
	return mwk_stream_writable(e);
}

static int copy_in(struct mwk_end *e, struct msghdr *msg, u32 n)
{
	struct mw_span span[2];
	int spans = ring_spans(&e->tx, e->tx_prod, n, span);
	size_t done = 0, got;

	for (int s = 0; s < spans; s++) {
		got = copy_from_iter(MW_WORD(span[s].base), span[s].bytes, &msg->msg_iter);
		done += got;
		if (got < span[s].bytes)
			break;
	}
	return done ? (int)done : -EFAULT;
}

static int send_locked(struct sock *sk, struct msghdr *msg, int flags)
{
	struct mwk_sock *m = mwk_sk(sk);
	struct mwk_end *e = m->end;
	long timeo = mwk_sock_timeo(sk, e, true, flags & MSG_DONTWAIT);
	u32 free, most;
	int copied = 0, r = 0;

	if (!((1 << sk->sk_state) & (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT)))
		r = sk_stream_wait_connect(sk, &timeo);
	while (r == 0 && msg_data_left(msg)) {
		if (READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN) {
			r = -EPIPE;
			break;
		}
		if (room(e, &free, &most) < 0) {
			mwk_sock_broken(m, e);
			r = -EPIPE;
			break;
		}
		if (!free) {
			r = mwk_sock_wait(sk, &timeo, may_write, 0);
			continue;
		}
		r = copy_in(e, msg, (u32)min_t(size_t, free, msg_data_left(msg)));
		if (r < 0)
			break;
		if (flags & MSG_OOB && !msg_data_left(msg))
			mw_store(MWK_APP(e, tx_urgent), e->tx_prod + (u32)r); /* before that byte is published */
		WRITE_ONCE(e->tx_prod, e->tx_prod + (u32)r);
		ring_publish(&e->tx, e->tx_prod);
		mwk_ins_mark(e);
		copied += r;
		r = 0;
	}
	atomic64_add(copied, &mwk_count.sent);
	return copied ?: r < 0 ? sk_stream_error(sk, flags, r) : 0;
}

int mwk_stream_send(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct sock *sk = sock->sk;
	struct mwk_sock *m = mwk_sk(sk);
	int r;

	lock_sock(sk);
	if (m->end && mwk_option_due(m, m->end))
		mwk_option_sync(m, m->end);
	if (!m->end || sk->sk_state == TCP_LISTEN)
		r = sk_stream_error(sk, (int)msg->msg_flags, -EPIPE);
	else
		r = send_locked(sk, msg, (int)msg->msg_flags);
	release_sock(sk);
	return r;
}
