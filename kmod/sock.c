// SPDX-License-Identifier: GPL-2.0
/*
 * sock.c - sockets: making, naming, ending, and what the INS says of them.
 * Trust: of an INS's words each is loaded once; states and errors that cannot be are a reset.
 *
 * States are TCP's (sk_state), as far as the kernel's own code and a program can see them: CLOSE, SYN_SENT, ESTABLISHED,
 * CLOSE_WAIT (the peer's FIN), LISTEN. An error ends in CLOSE with both directions shut down.
 */
#include <linux/file.h>
#include <linux/in.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <net/ip.h>
#include <net/tcp_states.h>

#include "chan/msg.h"
#include "kmod/addr.h"
#include "kmod/compat.h"
#include "kmod/conn.h"
#include "kmod/dgram.h"
#include "kmod/end.h"
#include "kmod/ins.h"
#include "kmod/listen.h"
#include "kmod/main.h"
#include "kmod/option.h"
#include "kmod/sock.h"
#include "kmod/stream.h"
#include "kmod/urgent.h"

static const struct proto_ops stream_ops, stream6_ops, dgram_ops, dgram6_ops;

static void destruct(struct sock *sk)
{
	mwk_option_forget(mwk_sk(sk));
}

struct proto mwk_proto = {
	.name = "MWCOMMS",
	.owner = THIS_MODULE,
	.obj_size = sizeof(struct mwk_sock),
	.keepalive = mwk_option_keepalive,
};

struct mwk_sock *mwk_sock_new(struct net *net, int family, bool dgram, int protocol)
{
	struct sock *sk = sk_alloc(net, family, GFP_KERNEL, &mwk_proto, 0);
	struct mwk_sock *m = mwk_sk(sk);

	if (!sk)
		return NULL;
	sock_init_data(NULL, sk);
	sk->sk_type = dgram ? SOCK_DGRAM : SOCK_STREAM;
	sk->sk_protocol = (u16)protocol;
	sk->sk_destruct = destruct;
	sk->sk_state = TCP_CLOSE;
	if (!dgram) {
		sk->sk_sndbuf = 16384; /* as a new TCP socket says */
		sk->sk_rcvbuf = 131072;
	}
#if IS_ENABLED(CONFIG_IPV6)
	if (family == AF_INET6)
		inet_sk(sk)->pinet6 = &m->tcp.inet6;
#endif
	INIT_LIST_HEAD(&m->ends);
	INIT_LIST_HEAD(&m->listener);
	INIT_LIST_HEAD(&m->sets);
	spin_lock_init(&m->news);
	m->dgram = dgram;
	m->first_sndbuf = sk->sk_sndbuf;
	m->first_rcvbuf = sk->sk_rcvbuf;
	m->wire_type = !dgram ? MW_TYPE_STREAM : protocol == IPPROTO_UDPLITE ? MW_TYPE_LITE : MW_TYPE_DGRAM;
	return m;
}

/* As socket() answers. */
static int check_kind(int family, int type, int *protocol)
{
	if (family != AF_INET && family != AF_INET6)
		return -EAFNOSUPPORT;
	if (*protocol < 0 || *protocol >= IPPROTO_MAX)
		return -EINVAL;
	if (type == SOCK_RAW)
		return -EPERM;
	if (type != SOCK_STREAM && type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (!*protocol)
		*protocol = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	if (type == SOCK_STREAM)
		return *protocol == IPPROTO_TCP ? 0 : -EPROTONOSUPPORT;
	return *protocol == IPPROTO_UDP || *protocol == IPPROTO_UDPLITE ? 0 : -EPROTONOSUPPORT;
}

static const struct proto_ops *ops_of(const struct sock *sk)
{
	if (sk->sk_type == SOCK_DGRAM)
		return sk->sk_family == AF_INET6 ? &dgram6_ops : &dgram_ops;
	return sk->sk_family == AF_INET6 ? &stream6_ops : &stream_ops;
}

/* With an end at an INS that serves. */
static struct mwk_sock *make(int family, int type, int protocol)
{
	struct mwk_sock *m = mwk_sock_new(current->nsproxy->net_ns, family, type == SOCK_DGRAM, protocol);
	struct mwk_ins *i;
	struct mwk_end *e = ERR_PTR(-ENETDOWN);

	if (!m)
		return ERR_PTR(-ENOBUFS);
	for (int tries = 0; tries < 3 && e == ERR_PTR(-ENETDOWN); tries++) {
		i = mwk_ins_choose();
		if (IS_ERR(i)) {
			e = ERR_CAST(i);
			break;
		}
		e = mwk_end_new(m, i);
		mwk_ins_put(i);
	}
	if (IS_ERR(e)) {
		sk_free(&m->sk);
		return ERR_CAST(e);
	}
	m->end = e;
	return m;
}

int mwk_sock_create(int family, int type, int protocol, int flags)
{
	struct socket *sock;
	struct mwk_sock *m;
	struct file *file;
	int e = check_kind(family, type, &protocol), fd;

	if (e < 0)
		return e;
	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	e = sock_create_lite(family, type, protocol, &sock);
	if (e < 0)
		return e;
	m = make(family, type, protocol);
	if (IS_ERR(m)) {
		sock_release(sock);
		return PTR_ERR(m);
	}
	sock->ops = ops_of(&m->sk);
	__module_get(THIS_MODULE); /* given back by sock_release */
	sock_graft(&m->sk, sock);
	fd = get_unused_fd_flags(flags & O_CLOEXEC);
	if (fd < 0) {
		sock_release(sock);
		return fd;
	}
	file = sock_alloc_file(sock, flags, NULL); /* releases it when it fails */
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}

/* --- names --- */

static int name_of(struct socket *sock, struct sockaddr *to, int peer)
{
	struct sock *sk = sock->sk;
	struct mwk_sock *m = mwk_sk(sk);
	struct mw_addr a = { .family = sk->sk_family == AF_INET6 ? MW_FAMILY_IP6 : MW_FAMILY_IP4 };
	u8 state = READ_ONCE(sk->sk_state);
	int n;

	if (peer == 1 && (state == TCP_CLOSE || state == TCP_SYN_SENT || state == TCP_LISTEN)) /* 2: accept()'s own */
		return -ENOTCONN;
	lock_sock(sk);
	if (m->bound.family && (state == TCP_LISTEN || !m->end))
		a = m->bound;
	else if (m->end && !mwk_addr_of(m->end, &a, peer))
		a = (struct mw_addr){ .family = a.family };
	n = peer && !a.port ? -ENOTCONN : mwk_addr_give(&a, to);
	release_sock(sk);
	return n;
}

/* sock locked. */
int mwk_sock_ask(struct sock *sk, struct mw_req *q, u32 op)
{
	struct mwk_sock *m = mwk_sk(sk);

	if (!m->end)
		return -ENETDOWN;
	if (mwk_option_due(m, m->end))
		mwk_option_sync(m, m->end);
	return mwk_end_ask(m->end, q, op, NULL, NULL, NULL);
}

static int bind(struct socket *sock, struct mwk_sockaddr *addr, int len)
{
	struct net *net = sock_net(sock->sk);
	struct mw_req q = { };
	int e = mwk_addr_take(&q.u.addr, addr, len);

	if (e < 0)
		return e;
	if (q.u.addr.port && inet_port_requires_bind_service(net, q.u.addr.port) && !ns_capable(net->user_ns, CAP_NET_BIND_SERVICE))
		return -EACCES;
	lock_sock(sock->sk);
	e = mwk_sock_ask(sock->sk, &q, MW_OP_BIND);
	release_sock(sock->sk);
	return e;
}

/* --- what the INS said --- */

static int error_of(struct mwk_end *e, int otherwise)
{
	int error = MWK_INS(e, error);

	return error > 0 && error < MAX_ERRNO ? error : otherwise;
}

/* news held. True: it was not known yet. */
static bool fail(struct mwk_sock *m, int error)
{
	struct sock *sk = &m->sk;

	if (m->failed)
		return false;
	m->failed = true;
	m->connecting = false;
	WRITE_ONCE(sk->sk_err, error);
	WRITE_ONCE(sk->sk_shutdown, SHUTDOWN_MASK);
	smp_store_release(&sk->sk_state, TCP_CLOSE);
	return true;
}

/* news held. Bits of what the owner must be told. */
#define TOLD_ERROR 1
#define TOLD_STATE 2
#define TOLD_DATA  4
#define TOLD_URGENT 8

static int learn(struct mwk_sock *m, struct mwk_end *e)
{
	struct sock *sk = &m->sk;
	u32 rx_state, state;
	int told = 0;
	u64 prod;

	if (READ_ONCE(e->dead))
		return fail(m, ECONNRESET) ? TOLD_ERROR : 0;
	rx_state = mw_load_acquire(MW_WORD(&e->words->ins.rx_state));
	state = mw_load_acquire(MW_WORD(&e->words->ins.state));
	if (m->connecting && (state == MW_ST_ESTABLISHED || state == MW_ST_CLOSING)) {
		m->connecting = false;
		smp_store_release(&sk->sk_state, TCP_ESTABLISHED);
		told |= TOLD_STATE;
	}
	if (m->connecting && state == MW_ST_OPEN) /* refused: the INS has it as it was before */
		return fail(m, error_of(e, ECONNREFUSED)) ? TOLD_ERROR : 0;
	if (rx_state & MW_RX_ERROR && fail(m, error_of(e, ECONNRESET)))
		return TOLD_ERROR;
	if (rx_state & MW_RX_FIN && !m->fin) {
		m->fin = true;
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | RCV_SHUTDOWN);
		if (sk->sk_state == TCP_ESTABLISHED)
			smp_store_release(&sk->sk_state, TCP_CLOSE_WAIT);
		told |= TOLD_STATE;
	}
	if (mwk_urgent_learn(e))
		told |= TOLD_URGENT;
	prod = mw_load_acquire(MW_WORD(&e->words->ins.rx_prod));
	if (prod != e->edge) {
		e->edge = prod;
		told |= TOLD_DATA;
	}
	return told;
}

void mwk_sock_news(struct mwk_sock *m, struct mwk_end *e)
{
	struct sock *sk = &m->sk;
	int told;

	if (m->dgram) {
		mwk_dgram_news(m, e);
		return;
	}
	if (READ_ONCE(sk->sk_state) == TCP_LISTEN) {
		sk->sk_data_ready(sk);
		return;
	}
	spin_lock(&m->news);
	told = learn(m, e);
	spin_unlock(&m->news);
	if (told & TOLD_ERROR)
		sk_error_report(sk);
	if (told & (TOLD_STATE | TOLD_ERROR)) {
		sk->sk_state_change(sk);
		rcu_read_lock();
		sk_wake_async(sk, SOCK_WAKE_IO, POLL_OUT);
		rcu_read_unlock();
	}
	if (told & TOLD_URGENT) {
		read_lock_bh(&sk->sk_callback_lock); /* its file stays as long */
		sk_send_sigurg(sk);
		read_unlock_bh(&sk->sk_callback_lock);
	}
	if (told & (TOLD_DATA | TOLD_URGENT))
		sk->sk_data_ready(sk);
	if (READ_ONCE(e->tx_wait) && mwk_stream_writable(e)) {
		WRITE_ONCE(e->tx_wait, false);
		sk->sk_write_space(sk);
	}
}

void mwk_sock_fail(struct mwk_sock *m, int error)
{
	bool first;

	spin_lock(&m->news);
	first = fail(m, error);
	spin_unlock(&m->news);
	if (!first)
		return;
	sk_error_report(&m->sk);
	m->sk.sk_state_change(&m->sk);
}

void mwk_sock_broken(struct mwk_sock *m, struct mwk_end *e)
{
	atomic64_inc(&mwk_count.broken);
	mwk_sock_fail(m, ECONNABORTED);
	mwk_ins_quarantine(e->ins, "an impossible index or record in a ring");
}

long mwk_sock_timeo(struct sock *sk, struct mwk_end *e, bool sending, bool no_wait)
{
	u32 ms;

	if (!no_wait && e && MWK_NAME(e, timeo)) {
		ms = sending ? MWK_NAME(e, sndtimeo) : MWK_NAME(e, rcvtimeo);
		no_wait = MWK_NAME(e, timeo) & MW_TIMEO_NO_WAIT;
		if (ms > 1 && !no_wait)
			return max(1L, (long)msecs_to_jiffies(ms - 1));
		if (ms == 1 && !no_wait)
			return MAX_SCHEDULE_TIMEOUT;
	}
	return sending ? sock_sndtimeo(sk, no_wait) : sock_rcvtimeo(sk, no_wait);
}

int mwk_sock_wait(struct sock *sk, long *timeo, bool (*ready)(struct sock *sk, u32 n), u32 n)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int e = 0;

	add_wait_queue(sk_sleep(sk), &wait);
	while (!ready(sk, n)) {
		e = !*timeo ? -EAGAIN : signal_pending(current) ? sock_intr_errno(*timeo) : 0;
		if (e)
			break;
		release_sock(sk);
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
		lock_sock(sk);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return e;
}

/* --- the end --- */

static int release(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct mwk_sock *m = mwk_sk(sk);
	bool linger;

	if (!sk)
		return 0;
	lock_sock(sk);
	linger = sock_flag(sk, SOCK_LINGER) && sk->sk_lingertime && !(current->flags & PF_EXITING) &&
		 (sk->sk_state == TCP_ESTABLISHED || sk->sk_state == TCP_CLOSE_WAIT) && !m->dgram;
	if (m->end && !READ_ONCE(m->end->dead) && mwk_option_due(m, m->end))
		mwk_option_sync(m, m->end);
	spin_lock(&m->news);
	sk->sk_shutdown = SHUTDOWN_MASK;
	spin_unlock(&m->news);
	if (!list_empty(&m->ends) || sk->sk_state == TCP_LISTEN)
		mwk_listen_close(m);
	else if (m->end)
		mwk_end_close(m->end, linger);
	m->end = NULL;
	sk->sk_state = TCP_CLOSE;
	sock_orphan(sk);
	sock->sk = NULL;
	release_sock(sk);
	sock_put(sk);
	return 0;
}

#define COMMON(fam)                                                                                    \
	.family = (fam), .owner = THIS_MODULE, .release = release, .bind = bind, .socketpair = sock_no_socketpair, \
	.getname = name_of, .ioctl = mwk_option_ioctl, .gettstamp = sock_gettstamp, .setsockopt = mwk_option_set,  \
	.getsockopt = mwk_option_get, .mmap = sock_no_mmap, MWK_SENDPAGE

#define STREAM(fam)                                                                                    \
	{ COMMON(fam) .connect = mwk_conn_connect, .accept = mwk_listen_accept, .poll = mwk_conn_poll, .listen = mwk_listen,  \
	  .shutdown = mwk_conn_shutdown, .sendmsg = mwk_stream_send, .recvmsg = mwk_stream_recv, .set_rcvlowat = mwk_option_lowat }

#define DGRAM(fam)                                                                                     \
	{ COMMON(fam) .connect = mwk_dgram_connect, .accept = sock_no_accept, .poll = mwk_dgram_poll,              \
	  .listen = sock_no_listen, .shutdown = mwk_dgram_shutdown, .sendmsg = mwk_dgram_send,                     \
	  .recvmsg = mwk_dgram_recv }

static const struct proto_ops stream_ops = STREAM(PF_INET), stream6_ops = STREAM(PF_INET6);
static const struct proto_ops dgram_ops = DGRAM(PF_INET), dgram6_ops = DGRAM(PF_INET6);
