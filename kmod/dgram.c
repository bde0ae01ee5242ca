// SPDX-License-Identifier: GPL-2.0
/*
 * dgram.c - UDP and UDP-Lite: records in the rings.
 * Trust: a record's length, header and control data are copied and checked (msg_dgram_check); one that does not check ends the
 * socket and the INS.
 *
 * A datagram is sent when its record is published; what the stack said of it is asked for (FLUSH) unless one not shorter to the
 * same destination went well and nothing has changed since.
 */
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include <net/tcp_states.h>

#include "chan/msg.h"
#include "chan/ring.h"
#include "kmod/addr.h"
#include "kmod/dgram.h"
#include "kmod/end.h"
#include "kmod/ins.h"
#include "kmod/main.h"
#include "kmod/option.h"
#include "kmod/sock.h"
#include "kmod/stream.h"

#define HEAD 8u /* u32 bytes of what follows, u32 zero */

static u32 padded(u32 bytes)
{
	return ALIGN(HEAD + bytes, 8);
}

/* --- errors --- */

void mwk_dgram_news(struct mwk_sock *m, struct mwk_end *e)
{
	struct sock *sk = &m->sk;
	u32 errors;
	u64 prod;

	if (READ_ONCE(e->dead)) {
		mwk_sock_fail(m, ECONNRESET);
		return;
	}
	errors = mw_load_acquire(MW_WORD(&e->words->ins.rx_state));
	if (errors != READ_ONCE(e->errors)) {
		int error = MWK_INS(e, error);

		WRITE_ONCE(e->errors, errors);
		mw_store(MWK_APP(e, seeded), errors);
		WRITE_ONCE(sk->sk_err, error > 0 && error < MAX_ERRNO ? error : EIO);
		sk_error_report(sk);
	}
	prod = mw_load_acquire(MW_WORD(&e->words->ins.rx_prod));
	if (prod != e->edge) {
		e->edge = prod;
		sk->sk_data_ready(sk);
	}
	if (READ_ONCE(e->tx_wait) && mwk_stream_writable(e)) {
		WRITE_ONCE(e->tx_wait, false);
		sk->sk_write_space(sk);
	}
}

/* --- receiving --- */

/* Bytes behind the head of the first record, its header in *d; 0: none, -EPROTO. */
static int first_record(struct mwk_end *e, struct mw_dgram *d)
{
	u8 raw[sizeof(*d)];
	u32 used, head[2];
	int r = ring_used(&e->rx, e->rx_cons, &used);

	if (r < 0 || !used)
		return r;
	if (used < HEAD + sizeof(raw))
		return -EPROTO;
	ring_read(&e->rx, e->rx_cons, head, sizeof(head));
	if (head[1] || head[0] < sizeof(raw) || head[0] > sizeof(raw) + MW_DGRAM_PAYLOAD || padded(head[0]) > used)
		return -EPROTO;
	ring_read(&e->rx, e->rx_cons + HEAD, raw, sizeof(raw));
	if (msg_dgram_check(d, raw, head[0]) < 0 || d->kind != MW_DG_DATA)
		return -EPROTO;
	return (int)head[0];
}

static bool readable(struct sock *sk, u32 unused)
{
	struct mwk_end *e = mwk_sk(sk)->end;
	u32 used;

	if (READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN)
		return true;
	if (ring_used(&e->rx, READ_ONCE(e->rx_cons), &used) < 0 || used)
		return true;
	ring_arm(&e->rx, READ_ONCE(e->rx_cons));
	return ring_used(&e->rx, READ_ONCE(e->rx_cons), &used) < 0 || used;
}

static void give_control(struct msghdr *msg, struct mw_dgram *d)
{
	struct mw_control c;
	u32 at = 0, before = 0;

	while (msg_control_next(&c, d->control, d->control_bytes, &at) > 0) {
		put_cmsg(msg, c.level, c.type, (int)(c.bytes - sizeof(c)), d->control + before + sizeof(c));
		before = at;
	}
	if (d->flags & MW_DGF_CTRUNC)
		msg->msg_flags |= MSG_CTRUNC;
}

static int give_payload(struct mwk_end *e, struct msghdr *msg, u32 n)
{
	struct mw_span span[2];
	int spans = ring_spans(&e->rx, e->rx_cons + HEAD + sizeof(struct mw_dgram), n, span);

	for (int s = 0; s < spans; s++)
		if (copy_to_iter(MW_WORD(span[s].base), span[s].bytes, &msg->msg_iter) < span[s].bytes)
			return -EFAULT;
	return 0;
}

/* The record goes unless it is peeked at, also when the caller's memory is bad. */
static int give(struct mwk_sock *m, struct msghdr *msg, size_t len, int flags, struct mw_dgram *d, u32 bytes)
{
	struct mwk_end *e = m->end;
	u32 payload = bytes - (u32)sizeof(*d), n = (u32)min_t(size_t, payload, len);
	int r = give_payload(e, msg, n);

	if (!(flags & MSG_PEEK)) {
		WRITE_ONCE(e->rx_cons, e->rx_cons + padded(bytes));
		ring_release(&e->rx, e->rx_cons);
		mwk_stream_space(e);
		atomic64_add(n, &mwk_count.received);
	}
	if (r < 0)
		return r;
	if (n < payload)
		msg->msg_flags |= MSG_TRUNC;
	if (msg->msg_name)
		msg->msg_namelen = mwk_addr_give(&d->peer, msg->msg_name);
	give_control(msg, d);
	return (int)(flags & MSG_TRUNC ? payload : n);
}

static int recv_locked(struct mwk_sock *m, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = &m->sk;
	long timeo = mwk_sock_timeo(sk, m->end, false, flags & MSG_DONTWAIT);
	struct mw_dgram d;
	int r, n;

	for (;;) {
		r = sock_error(sk);
		if (r)
			return r;
		n = first_record(m->end, &d);
		if (n < 0) {
			mwk_sock_broken(m, m->end);
			return sock_error(sk);
		}
		if (n > 0) {
			r = give(m, msg, len, flags, &d, (u32)n);
			if (readable(sk, 0) && !READ_ONCE(sk->sk_err))
				sk->sk_data_ready(sk);
			return r;
		}
		if (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN)
			return 0;
		r = mwk_sock_wait(sk, &timeo, readable, 0);
		if (r)
			return r;
	}
}

int mwk_dgram_recv(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = sock->sk;
	int r;

	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	lock_sock(sk);
	r = recv_locked(mwk_sk(sk), msg, len, flags);
	release_sock(sk);
	return r;
}

int mwk_dgram_unread(struct sock *sk)
{
	struct mw_dgram d;
	int n = mwk_sk(sk)->end ? first_record(mwk_sk(sk)->end, &d) : 0;

	return n > 0 ? n - (int)sizeof(d) : 0;
}

/* --- sending --- */

/* The caller's control data, which the kernel has copied: Linux's layout is the record's. */
static int take_control(struct mw_dgram *d, struct msghdr *msg)
{
	struct cmsghdr *c;
	u32 at = 0;

	for_each_cmsghdr(c, msg) {
		if (!CMSG_OK(msg, c))
			return -EINVAL;
		if (at + CMSG_ALIGN(c->cmsg_len) > sizeof(d->control))
			return -EINVAL;
		memcpy(d->control + at, c, c->cmsg_len);
		at += (u32)CMSG_ALIGN(c->cmsg_len);
	}
	d->control_bytes = at;
	return 0;
}

static bool has_room(struct sock *sk, u32 bytes)
{
	struct mwk_end *e = mwk_sk(sk)->end;
	u32 free;

	if (READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
		return true;
	return ring_free(&e->tx, e->tx_prod, &free) < 0 || free >= bytes;
}

static int wait_for_room(struct sock *sk, u32 bytes, long *timeo)
{
	mwk_stream_want_room(mwk_sk(sk)->end);
	return mwk_sock_wait(sk, timeo, has_room, bytes);
}

static int copy_in(struct mwk_end *e, struct msghdr *msg, u64 at, u32 n)
{
	struct mw_span span[2];
	int spans = ring_spans(&e->tx, at, n, span);

	for (int s = 0; s < spans; s++)
		if (copy_from_iter(MW_WORD(span[s].base), span[s].bytes, &msg->msg_iter) < span[s].bytes)
			return -EFAULT;
	return 0;
}

static bool went_well(struct mwk_end *e, const struct mw_dgram *d, u32 len)
{
	return e->good_bytes >= len + 1 && e->good_seed == MWK_INS(e, want_seed) && !d->control_bytes && !d->flags &&
	       memcmp(&e->good, &d->peer, sizeof(e->good)) == 0;
}

static int outcome(struct mwk_end *e, const struct mw_dgram *d, u32 len, u32 seed)
{
	struct mw_req q = { .u.flush.tag = d->tag };
	int r = mwk_end_ask(e, &q, MW_OP_FLUSH, NULL, NULL, NULL);

	if (r == 0) {
		e->good = d->peer;
		e->good_bytes = len + 1;
		e->good_seed = seed;
	}
	return r;
}

static int send_locked(struct mwk_sock *m, struct msghdr *msg, struct mw_dgram *d, u32 len)
{
	struct sock *sk = &m->sk;
	struct mwk_end *e = m->end;
	long timeo = mwk_sock_timeo(sk, e, true, msg->msg_flags & MSG_DONTWAIT);
	u32 free, bytes = (u32)sizeof(*d) + len, head[2] = { bytes, 0 }, seed;
	int r;

	if (d->peer.family == MW_FAMILY_NONE && sk->sk_state != TCP_ESTABLISHED)
		return -EDESTADDRREQ;
	for (;;) {
		r = sock_error(sk);
		if (r)
			return r;
		if (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
			return -EPIPE;
		r = ring_free(&e->tx, e->tx_prod, &free);
		if (r < 0) {
			mwk_sock_broken(m, e);
			return sock_error(sk) ?: -EPIPE;
		}
		if (free >= padded(bytes))
			break;
		r = wait_for_room(sk, padded(bytes), &timeo);
		if (r)
			return r;
	}
	seed = MWK_INS(e, want_seed);
	d->tag = went_well(e, d, len) ? 0 : ++e->tag ?: ++e->tag;
	ring_write(&e->tx, e->tx_prod, head, sizeof(head));
	ring_write(&e->tx, e->tx_prod + HEAD, d, sizeof(*d));
	r = copy_in(e, msg, e->tx_prod + HEAD + sizeof(*d), len);
	if (r < 0)
		return r;
	WRITE_ONCE(e->tx_prod, e->tx_prod + padded(bytes));
	ring_publish(&e->tx, e->tx_prod);
	mwk_ins_mark(e);
	atomic64_add(len, &mwk_count.sent);
	r = d->tag ? outcome(e, d, len, seed) : 0;
	return r ?: (int)len;
}

/* To an IPv4 socket no family is its own, as in Linux. */
static int take_peer(const struct sock *sk, struct mw_addr *a, const struct msghdr *msg)
{
	struct sockaddr_in in;

	if (sk->sk_family != AF_INET || msg->msg_namelen < (int)sizeof(in) || *(const u16 *)msg->msg_name != AF_UNSPEC)
		return mwk_addr_take(a, msg->msg_name, msg->msg_namelen);
	memcpy(&in, msg->msg_name, sizeof(in));
	in.sin_family = AF_INET;
	return mwk_addr_take(a, &in, sizeof(in));
}

int mwk_dgram_send(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct sock *sk = sock->sk;
	struct mwk_sock *m = mwk_sk(sk);
	struct mw_dgram d = { .kind = MW_DG_DATA };
	int r = 0;

	if (len > MW_DGRAM_PAYLOAD)
		return -EMSGSIZE;
	if (msg->msg_flags & MSG_OOB && sk->sk_family == AF_INET) /* as udp_sendmsg(), and as udpv6_sendmsg() does not */
		return -EOPNOTSUPP;
	if (msg->msg_name)
		r = take_peer(sock->sk, &d.peer, msg);
	if (r == 0 && msg->msg_controllen)
		r = take_control(&d, msg);
	if (r < 0)
		return r;
	d.flags = (u16)((msg->msg_flags & MSG_MORE ? MW_DGF_MORE : 0) | (msg->msg_flags & MSG_DONTROUTE ? MW_DGF_DONTROUTE : 0) |
			(msg->msg_flags & MSG_CONFIRM ? MW_DGF_CONFIRM : 0));
	lock_sock(sk);
	if (mwk_option_due(m, m->end))
		mwk_option_sync(m, m->end);
	r = send_locked(m, msg, &d, (u32)len);
	release_sock(sk);
	return r;
}

/* --- the rest --- */

int mwk_dgram_connect(struct socket *sock, struct mwk_sockaddr *addr, int len, int flags)
{
	struct sock *sk = sock->sk;
	struct mw_req q = { };
	int r;

	if (len < (int)sizeof(sa_family_t))
		return -EINVAL;
	r = mwk_addr_take(&q.u.addr, addr, len);
	if (r < 0)
		return r;
	lock_sock(sk);
	r = mwk_sock_ask(sk, &q, MW_OP_CONNECT);
	if (r == 0)
		sk->sk_state = q.u.addr.family ? TCP_ESTABLISHED : TCP_CLOSE;
	release_sock(sk);
	return r;
}

int mwk_dgram_shutdown(struct socket *sock, int how)
{
	struct sock *sk = sock->sk;
	struct mw_req q = { .u.shutdown.how = (u32)how };
	int r;

	if (how < 0 || how > 2)
		return -EINVAL;
	lock_sock(sk);
	r = mwk_sock_ask(sk, &q, MW_OP_SHUTDOWN);
	if (r == 0 || r == -ENOTCONN)
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | (how + 1));
	sk->sk_state_change(sk);
	release_sock(sk);
	return r;
}

__poll_t mwk_dgram_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait)
{
	struct sock *sk = sock->sk;
	struct mwk_end *e = mwk_sk(sk)->end;
	u8 shutdown;
	__poll_t mask = 0;

	sock_poll_wait(file, sock, wait);
	shutdown = READ_ONCE(sk->sk_shutdown);
	if (READ_ONCE(sk->sk_err))
		mask |= EPOLLERR;
	if (shutdown & RCV_SHUTDOWN)
		mask |= EPOLLRDHUP | EPOLLIN | EPOLLRDNORM;
	if (shutdown == SHUTDOWN_MASK)
		mask |= EPOLLHUP;
	if (mwk_stream_readable(mwk_sk(sk), e, 1))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (mwk_stream_writable(e))
		return mask | EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
	mwk_stream_want_room(e);
	return mwk_stream_writable(e) ? mask | EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND : mask;
}
