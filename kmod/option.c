// SPDX-License-Identifier: GPL-2.0
/*
 * option.c - socket options and ioctls.
 * Trust: of a reply no more is written than the caller asked for (msg_reply_check); lengths and addresses are the caller's.
 *
 * SOL_SOCKET is the kernel's own: it keeps those options in struct sock and answers for them. What of it matters to the stack
 * (address reuse, buffers, linger, ...) the INS is told before the next request or data. All other levels are the INS's.
 */
#include <linux/filter.h>
#include <linux/in.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/tcp_states.h>
#include <asm/ioctls.h>

#include "chan/msg.h"
#include "kmod/dgram.h"
#include "kmod/end.h"
#include "kmod/ins.h"
#include "kmod/option.h"
#include "kmod/sock.h"
#include "kmod/stream.h"

#define KEPT_MAX 512 /* bytes of an option that a listener's replicas get too */

/* An option that was set through us, for the listener's sockets at other INSs. */
struct set {
	struct list_head node;
	int level, name;
	u32 bytes;
	u8 value[];
};

/* --- the kernel's own --- */

static void current_of(const struct sock *sk, struct mwk_told *t)
{
	memset(t, 0, sizeof(*t));
	t->reuse = sk->sk_reuse;
	t->reuseport = sk->sk_reuseport;
	t->keepalive = sock_flag(sk, SOCK_KEEPOPEN);
	t->sndbuf = READ_ONCE(sk->sk_sndbuf);
	t->rcvbuf = READ_ONCE(sk->sk_rcvbuf);
	t->linger_on = sock_flag(sk, SOCK_LINGER);
	t->linger = t->linger_on ? (int)(sk->sk_lingertime / HZ) : 0;
	t->broadcast = sock_flag(sk, SOCK_BROADCAST);
	t->inline_urgent = sock_flag(sk, SOCK_URGINLINE);
	t->priority = (int)READ_ONCE(sk->sk_priority);
	t->lowat = READ_ONCE(sk->sk_rcvlowat);
	t->dontroute = sock_flag(sk, SOCK_LOCALROUTE);
}

void mwk_option_fresh(const struct mwk_sock *m, struct mwk_end *e)
{
	memset(&e->told, 0, sizeof(e->told));
	e->told.sndbuf = m->first_sndbuf;
	e->told.rcvbuf = m->first_rcvbuf;
	e->told.lowat = 1;
}

bool mwk_option_due(const struct mwk_sock *m, const struct mwk_end *e)
{
	struct mwk_told now;

	current_of(&m->sk, &now);
	return memcmp(&now, &e->told, sizeof(now)) != 0;
}

static int set_at(struct mwk_end *e, int level, int name, const void *value, u32 bytes)
{
	struct mw_req q = { .u.option = { .level = level, .name = name, .bytes = (int)bytes, .have = bytes } };

	return mwk_end_ask(e, &q, MW_OP_SETSOCKOPT, value, NULL, NULL);
}

/* Those that are one number, where it is in mwk_told, and by what the kernel has multiplied it. */
static const struct {
	int name;
	size_t at;
	int times;
} plain[] = {
	{ SO_REUSEADDR, offsetof(struct mwk_told, reuse), 1 },
	{ SO_REUSEPORT, offsetof(struct mwk_told, reuseport), 1 },
	{ SO_KEEPALIVE, offsetof(struct mwk_told, keepalive), 1 },
	{ SO_SNDBUF, offsetof(struct mwk_told, sndbuf), 2 },
	{ SO_RCVBUF, offsetof(struct mwk_told, rcvbuf), 2 },
	{ SO_BROADCAST, offsetof(struct mwk_told, broadcast), 1 },
	{ SO_OOBINLINE, offsetof(struct mwk_told, inline_urgent), 1 },
	{ SO_PRIORITY, offsetof(struct mwk_told, priority), 1 },
	{ SO_RCVLOWAT, offsetof(struct mwk_told, lowat), 1 },
	{ SO_DONTROUTE, offsetof(struct mwk_told, dontroute), 1 },
};

/* What the INS refuses the kernel has allowed: it stays as the kernel has it, and the connection goes on. */
void mwk_option_sync(struct mwk_sock *m, struct mwk_end *e)
{
	struct mwk_told now, was = e->told;
	struct linger l;

	current_of(&m->sk, &now);
	e->told = now;
	for (u32 n = 0; n < ARRAY_SIZE(plain); n++) {
		int value = *(int *)((u8 *)&now + plain[n].at), old = *(int *)((u8 *)&was + plain[n].at);

		value /= plain[n].times;
		if (value != old / plain[n].times)
			set_at(e, SOL_SOCKET, plain[n].name, &value, sizeof(value));
	}
	if (now.linger_on != was.linger_on || now.linger != was.linger) {
		l = (struct linger){ .l_onoff = now.linger_on, .l_linger = now.linger };
		set_at(e, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	}
}

/* The kernel calls this before it has set the flag, with the socket locked. */
void mwk_option_keepalive(struct sock *sk, int on)
{
	struct mwk_sock *m = mwk_sk(sk);

	if (!m->end || m->end->told.keepalive == !!on)
		return;
	on = !!on;
	m->end->told.keepalive = on;
	set_at(m->end, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

/* The same of SO_RCVLOWAT: who waits with poll() makes no further call that would tell the INS. */
int mwk_option_lowat(struct sock *sk, int bytes)
{
	struct mwk_sock *m = mwk_sk(sk);

	WRITE_ONCE(sk->sk_rcvlowat, bytes ?: 1);
	if (m->end && mwk_option_due(m, m->end))
		mwk_option_sync(m, m->end);
	if (m->end && sk->sk_state != TCP_LISTEN && mwk_stream_readable(m, m->end, (u32)sock_rcvlowat(sk, 0, INT_MAX)))
		sk->sk_data_ready(sk);
	return 0;
}

/* --- set --- */

static void keep(struct mwk_sock *m, int level, int name, const void *value, u32 bytes)
{
	struct set *s, *next;

	if (m->dgram || bytes > KEPT_MAX || (m->sk.sk_state != TCP_CLOSE && m->sk.sk_state != TCP_LISTEN))
		return;
	list_for_each_entry_safe(s, next, &m->sets, node) {
		if (s->level != level || s->name != name)
			continue;
		list_del(&s->node);
		kfree(s);
	}
	s = kmalloc(struct_size(s, value, bytes), GFP_KERNEL);
	if (!s)
		return;
	s->level = level;
	s->name = name;
	s->bytes = bytes;
	memcpy(s->value, value, bytes);
	list_add_tail(&s->node, &m->sets);
}

int mwk_option_replay(struct mwk_sock *m, struct mwk_end *e)
{
	struct set *s;
	int r;

	mwk_option_sync(m, e);
	list_for_each_entry(s, &m->sets, node) {
		r = set_at(e, s->level, s->name, s->value, s->bytes);
		if (r < 0)
			return r;
	}
	return 0;
}

void mwk_option_forget(struct mwk_sock *m)
{
	struct set *s, *next;

	list_for_each_entry_safe(s, next, &m->sets, node)
		kfree(s);
}

/*
 * IP_RECVERR of a datagram socket is kept here, since libc's resolver does without no name server that refuses it. What it would
 * queue stays at the INS; a connected socket is told of errors as ever.
 */
static bool *errors_wanted(struct mwk_sock *m, int level, int name)
{
	if (!m->dgram)
		return NULL;
	if (level == SOL_IP && name == IP_RECVERR)
		return &m->errors;
	return level == SOL_IPV6 && name == IPV6_RECVERR && m->sk.sk_family == AF_INET6 ? &m->errors6 : NULL;
}

static int set_errors(bool *wanted, const void *value, u32 bytes)
{
	int on = 0;

	if (!bytes)
		return -EINVAL;
	memcpy(&on, value, bytes < sizeof(on) ? 1 : sizeof(on));
	*wanted = on;
	return 0;
}

static int get_errors(const bool *wanted, char __user *value, int bytes, int __user *length)
{
	int on = *wanted, n = bytes < (int)sizeof(on) ? 1 : (int)sizeof(on);

	if (bytes <= 0)
		return bytes < 0 ? -EINVAL : put_user(0, length);
	return put_user(n, length) || copy_to_user(value, &on, n) ? -EFAULT : 0;
}

/* TCP_NODELAY and TCP_CORK of a connection go through the slot: they cannot fail there, and cost no round trip. */
static bool posted(struct mwk_sock *m, int level, int name, const void *value, u32 bytes)
{
	atomic_t *flags;
	int on;

	if (level != IPPROTO_TCP || m->dgram || (name != TCP_NODELAY && name != TCP_CORK) || bytes < sizeof(on) || !m->end ||
	    READ_ONCE(m->end->dead) || !((1 << m->sk.sk_state) & (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT)))
		return false;
	memcpy(&on, value, sizeof(on));
	flags = (atomic_t *)MWK_APP(m->end, flags);
	if (name == TCP_NODELAY) {
		if (!on)
			atomic_and(~MW_APP_NODELAY, flags);
		atomic_or(MW_APP_NODELAY_SET | (on ? MW_APP_NODELAY : 0), flags);
		return true;
	}
	if (!on)
		atomic_and(~MW_APP_CORK, flags);
	atomic_or(MW_APP_CORK_SET | (on ? MW_APP_CORK : 0), flags);
	if (!on)
		mwk_ins_mark(m->end);
	return true;
}

static u32 absent_of(const struct sock *sk, bool no_value)
{
	return (no_value ? MW_NO_VALUE : 0) | (sk_ns_capable(sk, sock_net(sk)->user_ns, CAP_NET_ADMIN) ? 0 : MW_NO_PRIVILEGE);
}

int mwk_option_set(struct socket *sock, int level, int name, sockptr_t value, unsigned int bytes)
{
	struct sock *sk = sock->sk;
	struct mwk_sock *m = mwk_sk(sk);
	struct mw_req q = { .u.option = { .level = level, .name = name, .bytes = (int)bytes, .have = min(bytes, MW_VALUE_MAX),
					  .absent = absent_of(sk, sockptr_is_null(value)) } };
	void *copy = kvzalloc(q.u.option.have + 1, GFP_KERNEL);
	int r;

	if (!copy)
		return -ENOBUFS;
	if (sockptr_is_null(value))
		q.u.option.have = 0;
	else if (sockptr_is_kernel(value))
		memcpy(copy, value.kernel, q.u.option.have);
	else
		q.u.option.have -= (u32)copy_from_user(copy, value.user, q.u.option.have);
	lock_sock(sk);
	if (errors_wanted(m, level, name)) {
		r = set_errors(errors_wanted(m, level, name), copy, q.u.option.have);
	} else if (posted(m, level, name, copy, q.u.option.have)) {
		r = 0;
	} else {
		r = m->end ? mwk_end_ask(m->end, &q, MW_OP_SETSOCKOPT, copy, NULL, NULL) : -ENETDOWN;
		if (r == 0)
			keep(m, level, name, copy, q.u.option.have);
	}
	release_sock(sk);
	kvfree(copy);
	return r;
}

/* --- get --- */

/* Asks with the caller's memory, as much as can be read, and writes back what the answer has of it. */
static int ask_with(struct sock *sk, struct mw_req *q, u32 op, char __user *value, struct mw_reply *r)
{
	struct mwk_sock *m = mwk_sk(sk);
	u8 *copy = kvzalloc(q->u.option.have + 1, GFP_KERNEL);
	int e;

	if (!copy)
		return -ENOBUFS;
	q->u.option.have -= (u32)copy_from_user(copy, value, q->u.option.have);
	lock_sock(sk);
	if (m->end && mwk_option_due(m, m->end))
		mwk_option_sync(m, m->end);
	e = m->end ? mwk_end_ask(m->end, q, op, copy, r, copy) : -ENETDOWN;
	release_sock(sk);
	if (r->value_bytes && copy_to_user(value, copy, r->value_bytes))
		e = e ?: -EFAULT;
	kvfree(copy);
	return e;
}

/* Never more than there is room for, whatever the INS says. Without any it may be a count, as SO_GET_FILTER's is. */
static int length_of(const struct mw_reply *r, int e, int room)
{
	bool lied = r->length < 0 || (room && r->length > room);

	return e == 0 && room >= 0 && lied ? room : r->length;
}

int mwk_option_get(struct socket *sock, int level, int name, char __user *value, int __user *bytes)
{
	struct mw_req q = { .u.option = { .level = level, .name = name, .absent = absent_of(sock->sk, !value) } };
	struct mw_reply r = { };
	int n, e;

	if (get_user(n, bytes))
		return -EFAULT;
	if (errors_wanted(mwk_sk(sock->sk), level, name))
		return get_errors(errors_wanted(mwk_sk(sock->sk), level, name), value, n, bytes);
	q.u.option.bytes = n;
	q.u.option.have = n < 0 || !value ? 0 : min_t(u32, (u32)n, MW_VALUE_MAX);
	r.length = n;
	e = ask_with(sock->sk, &q, MW_OP_GETSOCKOPT, value, &r);
	r.length = length_of(&r, e, n);
	if (r.length != n && put_user(r.length, bytes))
		return -EFAULT;
	return e;
}

/* --- ioctl --- */

static int out_queue(struct socket *sock, unsigned int cmd, int __user *arg)
{
	struct mwk_sock *m = mwk_sk(sock->sk);
	struct mw_req q = { .u.option = { .level = (int)cmd, .bytes = sizeof(int), .have = sizeof(int) } };
	int n = 0, r;
	u32 free;

	lock_sock(sock->sk);
	r = m->end ? mwk_end_ask(m->end, &q, MW_OP_IOCTL, &n, NULL, &n) : -ENETDOWN;
	if (r == 0 && !m->dgram && ring_free(&m->end->tx, m->end->tx_prod, &free) == 0)
		n += (int)(m->end->tx.bytes - free);
	release_sock(sock->sk);
	return r ?: put_user(n, arg);
}

static int in_queue(struct socket *sock, int __user *arg)
{
	struct sock *sk = sock->sk;
	int n;

	if (sk->sk_state == TCP_LISTEN)
		return -EINVAL;
	lock_sock(sk);
	n = mwk_sk(sk)->dgram ? mwk_dgram_unread(sk) : mwk_stream_unread(sk);
	release_sock(sk);
	return put_user(n, arg);
}

/* Bytes of its argument; 0: not the INS's. */
static u32 argument_bytes(unsigned int cmd)
{
	switch (cmd) {
	case SIOCATMARK:
		return sizeof(int);
	case SIOCGARP:
	case SIOCSARP:
	case SIOCDARP:
		return 68; /* struct arpreq */
	default: /* the interfaces' */
		return cmd >= SIOCGIFNAME && cmd <= SIOCSIFMAP && cmd != SIOCGIFBR && cmd != SIOCSIFBR ? 40 /* struct ifreq */ : 0;
	}
}

int mwk_option_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct mw_req q = { .u.option = { .level = (int)cmd, .bytes = (int)argument_bytes(cmd), .have = argument_bytes(cmd),
					  .absent = absent_of(sock->sk, false) } };
	struct mw_reply r = { };

	if (cmd == FIONREAD)
		return in_queue(sock, (int __user *)arg);
	if (cmd == SIOCOUTQ || cmd == SIOCOUTQNSD)
		return out_queue(sock, cmd, (int __user *)arg);
	return q.u.option.have ? ask_with(sock->sk, &q, MW_OP_IOCTL, (char __user *)arg, &r) : -ENOIOCTLCMD;
}
