// SPDX-License-Identifier: GPL-2.0
/*
 * listen.c - listeners: one socket of ours, and one at every INS that serves; accept from any of them.
 * Trust: a record names a slot that mwk_end_claim checks; one that does not check ends the INS that put it there.
 *
 * The first listen() is at the INS that the socket was made on. What was set and the name that it got there are kept, and each
 * other INS, also one that comes later, is asked for the same from its chores.
 */
#include <linux/sched/signal.h>
#include <net/tcp_states.h>

#include "chan/msg.h"
#include "kmod/addr.h"
#include "kmod/end.h"
#include "kmod/ins.h"
#include "kmod/listen.h"
#include "kmod/main.h"
#include "kmod/option.h"
#include "kmod/sock.h"
#include "kmod/stream.h"

static LIST_HEAD(listeners); /* in the order of their numbers */
static u64 numbers;          /* under listeners_lock */
static DEFINE_SPINLOCK(listeners_lock);

/* 1: *c is the next record of that end, 0: none, or -EPROTO. */
static int next_record(struct mwk_end *e, struct mw_accepted *c)
{
	u8 raw[sizeof(*c)];
	u32 used;
	int r = READ_ONCE(e->dead) ? 0 : ring_used(&e->rx, e->rx_cons, &used);

	if (r < 0 || READ_ONCE(e->dead) || used < sizeof(raw))
		return r;
	ring_read(&e->rx, e->rx_cons, raw, sizeof(raw));
	e->rx_cons += sizeof(raw);
	ring_release(&e->rx, e->rx_cons);
	mwk_stream_space(e);
	return msg_accepted_check(c, raw, sizeof(raw)) < 0 ? -EPROTO : 1;
}

/* The next connection of any end; NULL: there is none. sock locked. */
static struct mwk_end *next_end(struct mwk_sock *m)
{
	struct mw_accepted c;
	struct mwk_end *e, *got;
	int r;

	list_for_each_entry(e, &m->ends, node) {
		while ((r = next_record(e, &c)) > 0) {
			got = mwk_end_claim(e->ins, c.slot, c.gen);
			if (IS_ERR(got))
				continue;
			got->told = e->told;
			list_move_tail(&e->node, &m->ends); /* the others first, next time */
			return got;
		}
		if (r < 0)
			mwk_ins_quarantine(e->ins, "a malformed record of a connection");
	}
	return NULL;
}

static bool has_record(struct mwk_end *e)
{
	u32 used;

	if (READ_ONCE(e->dead))
		return false;
	if (ring_used(&e->rx, READ_ONCE(e->rx_cons), &used) < 0 || used >= sizeof(struct mw_accepted))
		return true;
	ring_arm(&e->rx, READ_ONCE(e->rx_cons));
	return ring_used(&e->rx, READ_ONCE(e->rx_cons), &used) < 0 || used >= sizeof(struct mw_accepted);
}

static bool any_record(struct mwk_sock *m)
{
	struct mwk_end *e;
	bool any = false;

	list_for_each_entry(e, &m->ends, node)
		any |= has_record(e);
	return any;
}

bool mwk_listen_ready(struct mwk_sock *m)
{
	bool any;

	lock_sock(&m->sk);
	any = any_record(m);
	release_sock(&m->sk);
	return any;
}

/* --- accept --- */

static bool acceptable(struct sock *sk)
{
	return sk->sk_state != TCP_LISTEN || any_record(mwk_sk(sk));
}

/* As wake-ups go to one waiter each, in the order in which they came. */
static int wait_exclusive(struct sock *sk, long *timeo)
{
	DEFINE_WAIT(wait);
	int r = 0;

	for (;;) {
		prepare_to_wait_exclusive(sk_sleep(sk), &wait, TASK_INTERRUPTIBLE);
		if (acceptable(sk))
			break;
		r = !*timeo ? -EAGAIN : signal_pending(current) ? sock_intr_errno(*timeo) : 0;
		if (r)
			break;
		release_sock(sk);
		*timeo = schedule_timeout(*timeo);
		lock_sock(sk);
	}
	finish_wait(sk_sleep(sk), &wait);
	return r;
}

/* What a connection has of its listener. */
static void inherit(struct sock *sk, const struct sock *from)
{
	sk->sk_rcvtimeo = from->sk_rcvtimeo;
	sk->sk_sndtimeo = from->sk_sndtimeo;
	sk->sk_lingertime = from->sk_lingertime;
	sk->sk_rcvlowat = from->sk_rcvlowat;
	sk->sk_priority = from->sk_priority;
	sk->sk_sndbuf = from->sk_sndbuf;
	sk->sk_rcvbuf = from->sk_rcvbuf;
	sk->sk_reuse = from->sk_reuse;
	sk->sk_reuseport = from->sk_reuseport;
	sk->sk_shutdown = from->sk_shutdown; /* of one that was shut down twice, and listens again */
	sk->sk_flags |= from->sk_flags & (BIT(SOCK_LINGER) | BIT(SOCK_KEEPOPEN) | BIT(SOCK_URGINLINE) | BIT(SOCK_BROADCAST) | BIT(SOCK_LOCALROUTE));
}

static int accept_locked(struct sock *sk, struct mwk_end **e, long timeo)
{
	int r;

	for (;;) {
		if (sk->sk_state != TCP_LISTEN)
			return -EINVAL;
		*e = next_end(mwk_sk(sk));
		if (*e)
			return 0;
		r = wait_exclusive(sk, &timeo);
		if (r)
			return r;
	}
}

int mwk_listen_accept(struct socket *sock, struct socket *newsock, MWK_ACCEPT_ARGS)
{
	struct sock *sk = sock->sk;
	struct mwk_sock *m = mwk_sk(sk), *made;
	struct mwk_end *e;
	int r;

	lock_sock(sk);
	r = accept_locked(sk, &e, mwk_sock_timeo(sk, m->end, false, MWK_ACCEPT_FLAGS & O_NONBLOCK));
	if (r == 0 && any_record(m))
		sk->sk_data_ready(sk); /* for the next who waits: one notification may have been for many */
	release_sock(sk);
	if (r < 0)
		return r;
	made = mwk_sock_new(sock_net(sk), sk->sk_family, false, sk->sk_protocol);
	if (!made) {
		mwk_end_close(e, false);
		return -ENOBUFS;
	}
	inherit(&made->sk, sk);
	made->end = e;
	made->sk.sk_state = TCP_ESTABLISHED;
	lock_sock(&made->sk);
	sock_graft(&made->sk, newsock);
	newsock->state = SS_CONNECTED;
	mwk_end_own(e, made);
	release_sock(&made->sk);
	mwk_sock_news(made, e);
	atomic64_inc(&mwk_count.accepted);
	return 0;
}

/* --- listen --- */

static int listen_at(struct mwk_end *e, int backlog)
{
	struct mw_req q = { .u.listen.backlog = backlog };

	return mwk_end_ask(e, &q, MW_OP_LISTEN, NULL, NULL, NULL);
}

static int first_listen(struct mwk_sock *m, int backlog)
{
	int r = m->end ? 0 : -ENETDOWN;

	if (r == 0 && mwk_option_due(m, m->end))
		mwk_option_sync(m, m->end);
	r = r ?: listen_at(m->end, backlog);
	r = r ?: mwk_end_listens(m->end);
	if (r < 0)
		return r;
	if (!mwk_addr_of(m->end, &m->bound, false))
		memset(&m->bound, 0, sizeof(m->bound));
	list_add(&m->end->node, &m->ends);
	smp_store_release(&m->sk.sk_state, TCP_LISTEN);
	spin_lock(&listeners_lock);
	m->number = ++numbers;
	list_add_tail(&m->listener, &listeners);
	spin_unlock(&listeners_lock);
	return 0;
}

int mwk_listen(struct socket *sock, int backlog)
{
	struct sock *sk = sock->sk;
	struct mwk_sock *m = mwk_sk(sk);
	struct mwk_end *e;
	int r = 0;

	lock_sock(sk);
	if (sock->state != SS_UNCONNECTED || (sk->sk_state != TCP_CLOSE && sk->sk_state != TCP_LISTEN)) {
		r = -EINVAL;
	} else if (sk->sk_state == TCP_CLOSE) {
		r = first_listen(m, backlog);
	} else {
		list_for_each_entry(e, &m->ends, node)
			listen_at(e, backlog);
	}
	if (r == 0) {
		m->backlog = backlog;
		WRITE_ONCE(sk->sk_max_ack_backlog, (u32)backlog);
	}
	release_sock(sk);
	if (r == 0)
		mwk_ins_chores_all();
	return r;
}

/* --- replicas --- */

/* A listener behind `from`, counted; NULL at the end. */
static struct mwk_sock *next_listener(u64 *seen)
{
	struct mwk_sock *m, *found = NULL;

	spin_lock(&listeners_lock);
	list_for_each_entry(m, &listeners, listener) {
		if (m->number <= *seen || !refcount_inc_not_zero(&m->sk.sk_refcnt))
			continue;
		*seen = m->number;
		found = m;
		break;
	}
	spin_unlock(&listeners_lock);
	return found;
}

static bool has_end_at(struct mwk_sock *m, struct mwk_ins *i)
{
	struct mwk_end *e;

	list_for_each_entry(e, &m->ends, node)
		if (e->ins == i)
			return true;
	return false;
}

static int replica(struct mwk_sock *m, struct mwk_ins *i)
{
	struct mw_req q = { .u.addr = m->bound };
	struct mwk_end *e = mwk_end_new(m, i);
	int r;

	if (IS_ERR(e))
		return PTR_ERR(e);
	r = mwk_option_replay(m, e);
	r = r ?: mwk_end_ask(e, &q, MW_OP_BIND, NULL, NULL, NULL);
	r = r ?: listen_at(e, m->backlog);
	r = r ?: mwk_end_listens(e);
	if (r < 0) {
		mwk_end_close(e, false);
		return r;
	}
	list_add_tail(&e->node, &m->ends);
	if (!m->end)
		m->end = e;
	return 0;
}

void mwk_listen_replicate(struct mwk_ins *i)
{
	struct mwk_sock *m;
	u64 seen = 0;
	bool news;
	int r;

	while (READ_ONCE(i->state) == MWK_INS_UP && (m = next_listener(&seen))) {
		lock_sock(&m->sk);
		if (m->sk.sk_state == TCP_LISTEN && m->bound.family && !has_end_at(m, i))
			r = replica(m, i);
		else
			r = 0;
		news = any_record(m);
		release_sock(&m->sk);
		if (r < 0 && r != -ENETDOWN)
			pr_warn_ratelimited("mwcomms: INS %u does not listen on port %u as others do: error %d\n", i->domain, m->bound.port, -r);
		if (news)
			m->sk.sk_data_ready(&m->sk);
		sock_put(&m->sk);
	}
}

/* --- the end --- */

static void unlist(struct mwk_sock *m)
{
	spin_lock(&listeners_lock);
	list_del_init(&m->listener);
	spin_unlock(&listeners_lock);
}

/* Connections that nobody has taken end with the listener: their INS sees from rx_cons which those are. */
static void close_others(struct mwk_sock *m, const struct mwk_end *but)
{
	struct mwk_end *e, *next;

	list_for_each_entry_safe(e, next, &m->ends, node) {
		list_del_init(&e->node);
		if (e != but)
			mwk_end_close(e, false);
	}
}

void mwk_listen_close(struct mwk_sock *m)
{
	unlist(m);
	close_others(m, NULL);
	m->end = NULL;
}

/* The answer to any request comes behind what the mark asked for. What was in the ring by then the INS has ended. */
static void stop_at(struct mwk_end *e)
{
	struct mw_req q = { .u.option = { .level = SOL_SOCKET, .name = SO_ACCEPTCONN, .bytes = sizeof(int), .have = sizeof(int) } };
	int unused = 0;
	u32 used;

	if (READ_ONCE(e->dead))
		return;
	atomic_or(MW_APP_SHUT_RD, (atomic_t *)MWK_APP(e, flags));
	mwk_ins_mark(e);
	if (mwk_end_ask(e, &q, MW_OP_GETSOCKOPT, &unused, NULL, &unused) < 0 || READ_ONCE(e->dead))
		return;
	atomic_and(~MW_APP_SHUT_RD, (atomic_t *)MWK_APP(e, flags));
	if (ring_used(&e->rx, e->rx_cons, &used) < 0)
		return;
	e->rx_cons += used;
	ring_release(&e->rx, e->rx_cons);
	e->edge = e->rx_cons;
}

void mwk_listen_stop(struct mwk_sock *m)
{
	unlist(m);
	close_others(m, m->end);
	smp_store_release(&m->sk.sk_state, TCP_CLOSE);
	WRITE_ONCE(m->sk.sk_shutdown, 0);
	if (m->end)
		stop_at(m->end);
}

void mwk_listen_lost(struct mwk_sock *m, struct mwk_end *e)
{
	struct sock *sk = &m->sk;
	bool ours = false;

	lock_sock(sk);
	if (!list_empty(&e->node) && sk->sk_state == TCP_LISTEN) {
		ours = true;
		list_del_init(&e->node);
		if (m->end == e)
			m->end = list_first_entry_or_null(&m->ends, struct mwk_end, node);
	}
	release_sock(sk);
	if (ours)
		mwk_end_close(e, false);
}
