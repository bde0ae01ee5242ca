// SPDX-License-Identifier: GPL-2.0
/*
 * conn.c - streams: connecting, shutting down, and what poll() says of them.
 * Trust: what the INS said is in sk_state, sk_err and sk_shutdown by way of sock.c; a state that cannot be is a reset there.
 *
 * The order of what is looked at is net/ipv4/af_inet.c's and net/ipv4/tcp.c's.
 */
#include <linux/poll.h>
#include <net/tcp_states.h>

#include "chan/msg.h"
#include "kmod/addr.h"
#include "kmod/conn.h"
#include "kmod/end.h"
#include "kmod/ins.h"
#include "kmod/listen.h"
#include "kmod/sock.h"
#include "kmod/stream.h"
#include "kmod/urgent.h"

/* --- connect --- */

static int connect_begin(struct sock *sk, struct mw_req *q)
{
	struct mwk_sock *m = mwk_sk(sk);
	int e;

	if (m->end)
		atomic_or(MW_APP_CONNECT_WAITS, (atomic_t *)MWK_APP(m->end, flags));
	e = mwk_sock_ask(sk, q, MW_OP_CONNECT);
	if (e < 0 && e != -EINPROGRESS)
		return e;
	spin_lock(&m->news);
	m->failed = false;
	m->connecting = e < 0;
	smp_store_release(&sk->sk_state, e < 0 ? TCP_SYN_SENT : TCP_ESTABLISHED);
	spin_unlock(&m->news);
	return 0;
}

/* As if it had never been asked to connect. */
static void disconnect(struct sock *sk)
{
	struct mwk_sock *m = mwk_sk(sk);

	spin_lock(&m->news);
	if (m->end && !m->end->dead) {
		m->failed = false;
		sk->sk_shutdown = 0;
	}
	sk->sk_state = TCP_CLOSE;
	spin_unlock(&m->news);
}

static bool not_connecting(struct sock *sk, u32 unused)
{
	return READ_ONCE(sk->sk_state) != TCP_SYN_SENT;
}

/* AF_UNSPEC. */
static int unconnect(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct mw_req q = { };
	int e = sk->sk_state == TCP_CLOSE && !mwk_sk(sk)->failed ? 0 : mwk_sock_ask(sk, &q, MW_OP_CONNECT);

	if (e == 0) {
		disconnect(sk);
		sock->state = SS_UNCONNECTED;
	}
	return e;
}

static int connect_locked(struct socket *sock, struct mw_req *q, int flags)
{
	struct sock *sk = sock->sk;
	long timeo = mwk_sock_timeo(sk, mwk_sk(sk)->end, true, flags & O_NONBLOCK);
	bool begun = false;
	int e;

	if (sock->state == SS_CONNECTED)
		return -EISCONN;
	if (sock->state == SS_UNCONNECTED) {
		if (sk->sk_state != TCP_CLOSE)
			return -EISCONN;
		e = connect_begin(sk, q);
		if (e < 0)
			return e;
		sock->state = SS_CONNECTING;
		begun = sk->sk_state == TCP_SYN_SENT;
		e = -EINPROGRESS;
	} else {
		e = -EALREADY;
	}
	mwk_sock_news(mwk_sk(sk), mwk_sk(sk)->end);
	if (begun && !timeo)
		return e; /* whatever is known by now */
	if (sk->sk_state == TCP_SYN_SENT) {
		int waited = timeo ? mwk_sock_wait(sk, &timeo, not_connecting, 0) : -EAGAIN;

		if (waited)
			return waited == -EAGAIN ? e : waited;
	}
	if (sk->sk_state == TCP_CLOSE) {
		e = sock_error(sk) ?: -ECONNABORTED;
		sock->state = SS_UNCONNECTED;
		disconnect(sk);
		return e;
	}
	sock->state = SS_CONNECTED;
	return 0;
}

int mwk_conn_connect(struct socket *sock, struct mwk_sockaddr *addr, int len, int flags)
{
	struct mw_req q = { };
	int e;

	if (len < (int)sizeof(sa_family_t))
		return -EINVAL;
	lock_sock(sock->sk);
	if (*(sa_family_t *)addr == AF_UNSPEC) {
		e = unconnect(sock);
	} else {
		e = sock->state == SS_UNCONNECTED && sock->sk->sk_state == TCP_CLOSE ? mwk_addr_take(&q.u.addr, addr, len) : 0;
		e = e ?: connect_locked(sock, &q, flags);
	}
	release_sock(sock->sk);
	return e;
}

/* --- shutdown --- */

/* Both FINs are sent and acknowledged: for Linux there is no connection any more. */
static bool both_ended(struct mwk_sock *m)
{
	struct mw_req q = { .u.option = { .level = IPPROTO_TCP, .name = TCP_INFO, .bytes = 1, .have = 1 } };
	u8 state = 0;

	if (!m->fin || !(m->sk.sk_shutdown & SEND_SHUTDOWN))
		return false;
	return mwk_end_ask(m->end, &q, MW_OP_GETSOCKOPT, &state, NULL, &state) == 0 && state == TCP_CLOSE;
}

static void shut(struct mwk_sock *m, int how)
{
	u32 bits = (how & RCV_SHUTDOWN ? MW_APP_SHUT_RD : 0) | (how & SEND_SHUTDOWN ? MW_APP_SHUT_WR : 0);

	spin_lock(&m->news);
	WRITE_ONCE(m->sk.sk_shutdown, m->sk.sk_shutdown | how);
	spin_unlock(&m->news);
	if (m->end && !READ_ONCE(m->end->dead)) {
		atomic_or((int)bits, (atomic_t *)MWK_APP(m->end, flags));
		mwk_ins_mark(m->end);
	}
}

int mwk_conn_shutdown(struct socket *sock, int how)
{
	struct sock *sk = sock->sk;
	struct mwk_sock *m = mwk_sk(sk);
	struct mw_req q = { };
	int e = 0;

	how++; /* RCV_SHUTDOWN, SEND_SHUTDOWN, both */
	if (how & ~SHUTDOWN_MASK || !how)
		return -EINVAL;
	lock_sock(sk);
	if (sock->state == SS_CONNECTING)
		sock->state = sk->sk_state == TCP_SYN_SENT || sk->sk_state == TCP_CLOSE ? SS_DISCONNECTING : SS_CONNECTED;
	switch (sk->sk_state) {
	case TCP_LISTEN:
		if (how & RCV_SHUTDOWN) {
			mwk_listen_stop(m);
			sock->state = SS_UNCONNECTED;
		}
		break;
	case TCP_SYN_SENT:
		mwk_sock_ask(sk, &q, MW_OP_CONNECT);
		disconnect(sk);
		sock->state = SS_UNCONNECTED;
		break;
	case TCP_CLOSE:
		e = -ENOTCONN;
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | how);
		break;
	default:
		if (both_ended(m))
			e = -ENOTCONN;
		else
			shut(m, how);
	}
	sk->sk_state_change(sk);
	release_sock(sk);
	return e;
}

/* --- poll --- */

__poll_t mwk_conn_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait)
{
	struct sock *sk = sock->sk;
	struct mwk_end *e;
	u8 state, shutdown;
	__poll_t mask = 0;

	sock_poll_wait(file, sock, wait);
	state = smp_load_acquire(&sk->sk_state);
	if (state == TCP_LISTEN)
		return mwk_listen_ready(mwk_sk(sk)) ? EPOLLIN | EPOLLRDNORM : 0;
	e = mwk_end_look(mwk_sk(sk)); /* listen() may come between, and then its INS may end */
	shutdown = READ_ONCE(sk->sk_shutdown);
	if (shutdown == SHUTDOWN_MASK || state == TCP_CLOSE)
		mask |= EPOLLHUP;
	if (shutdown & RCV_SHUTDOWN)
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (state != TCP_SYN_SENT && e) {
		if (mwk_stream_readable(mwk_sk(sk), e, (u32)sock_rcvlowat(sk, 0, INT_MAX)))
			mask |= EPOLLIN | EPOLLRDNORM;
		if (shutdown & SEND_SHUTDOWN || mwk_stream_writable(e))
			mask |= EPOLLOUT | EPOLLWRNORM;
		else
			mwk_stream_want_room(e);
		if (!(mask & EPOLLOUT) && mwk_stream_writable(e)) /* since we said that we wait */
			mask |= EPOLLOUT | EPOLLWRNORM;
		if (mwk_urgent_waits(mwk_sk(sk), e))
			mask |= EPOLLPRI;
	}
	if (e)
		mwk_end_put(e);
	if (READ_ONCE(sk->sk_err))
		mask |= EPOLLERR;
	return mask;
}
