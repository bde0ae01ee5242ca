// SPDX-License-Identifier: GPL-2.0
/*
 * sock.c - sockets: making, naming, connecting, ending, and what the INS says of them.
 * Trust: of an INS's words each is loaded once; states and errors that cannot be are a reset. Addresses are copied and checked.
 *
 * States are TCP's (sk_state), as far as the kernel's own code and a program can see them: CLOSE, SYN_SENT, ESTABLISHED,
 * CLOSE_WAIT (the peer's FIN), LISTEN. An error ends in CLOSE with both directions shut down. The order of what is looked at in
 * connect, poll, shutdown and close is net/ipv4/af_inet.c's and net/ipv4/tcp.c's.
 */
#include <linux/file.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ipv6.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <net/ip.h>
#include <net/tcp_states.h>

#include "kmod/mwk.h"

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
		return sk->sk_family == AF_INET6 ? &mwk_dgram6_ops : &mwk_dgram_ops;
	return sk->sk_family == AF_INET6 ? &mwk_stream6_ops : &mwk_stream_ops;
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

/* --- addresses --- */

int mwk_sock_addr(struct mw_addr *a, const void *sa, int len)
{
	const struct sockaddr_in *in = sa;
	const struct sockaddr_in6 *in6 = sa;
	u16 family = *(const u16 *)sa;

	memset(a, 0, sizeof(*a));
	if (len < (int)sizeof(family))
		return -EINVAL;
	switch (family) {
	case AF_UNSPEC:
		return 0;
	case AF_INET:
		if (len < (int)sizeof(*in))
			return -EINVAL;
		a->family = MW_FAMILY_IP4;
		a->port = ntohs(in->sin_port);
		memcpy(a->addr, &in->sin_addr, 4);
		return 0;
	case AF_INET6:
		if (len < SIN6_LEN_RFC2133)
			return -EINVAL;
		a->family = MW_FAMILY_IP6;
		a->port = ntohs(in6->sin6_port);
		a->flowinfo = ntohl(in6->sin6_flowinfo);
		a->scope_id = len >= (int)sizeof(*in6) ? in6->sin6_scope_id : 0;
		memcpy(a->addr, &in6->sin6_addr, 16);
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

int mwk_sock_give(const struct mw_addr *a, void *to)
{
	struct sockaddr_in *in = to;
	struct sockaddr_in6 *in6 = to;

	if (a->family == MW_FAMILY_IP6) {
		memset(in6, 0, sizeof(*in6));
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(a->port);
		in6->sin6_flowinfo = htonl(a->flowinfo);
		in6->sin6_scope_id = a->scope_id;
		memcpy(&in6->sin6_addr, a->addr, 16);
		return sizeof(*in6);
	}
	memset(in, 0, sizeof(*in));
	in->sin_family = AF_INET;
	in->sin_port = htons(a->port);
	memcpy(&in->sin_addr, a->addr, 4);
	return sizeof(*in);
}

bool mwk_sock_name(struct mwk_end *e, struct mw_addr *a, bool peer)
{
	u8 __peer *from = peer ? (u8 __peer *)&e->words->names.peer : (u8 __peer *)&e->words->names.local;

	for (size_t n = 0; n < sizeof(*a); n++)
		((u8 *)a)[n] = mw_load(MW_WORD(from + n));
	return msg_addr_ok(a, false);
}

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
	else if (m->end && !mwk_sock_name(m->end, &a, peer))
		a = (struct mw_addr){ .family = a.family };
	n = peer && !a.port ? -ENOTCONN : mwk_sock_give(&a, to);
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
	int e = mwk_sock_addr(&q.u.addr, addr, len);

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

static int connect(struct socket *sock, struct mwk_sockaddr *addr, int len, int flags)
{
	struct mw_req q = { };
	int e;

	if (len < (int)sizeof(sa_family_t))
		return -EINVAL;
	lock_sock(sock->sk);
	if (*(sa_family_t *)addr == AF_UNSPEC) {
		e = unconnect(sock);
	} else {
		e = sock->state == SS_UNCONNECTED && sock->sk->sk_state == TCP_CLOSE ? mwk_sock_addr(&q.u.addr, addr, len) : 0;
		e = e ?: connect_locked(sock, &q, flags);
	}
	release_sock(sock->sk);
	return e;
}

/* --- the end --- */

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

static int shutdown_stream(struct socket *sock, int how)
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

/* --- poll --- */

static __poll_t poll_listener(struct mwk_sock *m)
{
	return mwk_listen_ready(m) ? EPOLLIN | EPOLLRDNORM : 0;
}

static __poll_t poll_stream(struct file *file, struct socket *sock, struct poll_table_struct *wait)
{
	struct sock *sk = sock->sk;
	struct mwk_end *e = mwk_sk(sk)->end;
	u8 state, shutdown;
	__poll_t mask = 0;

	sock_poll_wait(file, sock, wait);
	state = smp_load_acquire(&sk->sk_state);
	if (state == TCP_LISTEN)
		return poll_listener(mwk_sk(sk));
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
	if (READ_ONCE(sk->sk_err))
		mask |= EPOLLERR;
	return mask;
}


#define COMMON(fam)                                                                                    \
	.family = (fam), .owner = THIS_MODULE, .release = release, .bind = bind, .socketpair = sock_no_socketpair, \
	.getname = name_of, .ioctl = mwk_option_ioctl, .gettstamp = sock_gettstamp, .setsockopt = mwk_option_set,  \
	.getsockopt = mwk_option_get, .mmap = sock_no_mmap, MWK_SENDPAGE

#define STREAM(fam)                                                                                    \
	{ COMMON(fam) .connect = connect, .accept = mwk_listen_accept, .poll = poll_stream, .listen = mwk_listen,  \
	  .shutdown = shutdown_stream, .sendmsg = mwk_stream_send, .recvmsg = mwk_stream_recv, .set_rcvlowat = mwk_option_lowat }

#define DGRAM(fam)                                                                                     \
	{ COMMON(fam) .connect = mwk_dgram_connect, .accept = sock_no_accept, .poll = mwk_dgram_poll,              \
	  .listen = sock_no_listen, .shutdown = mwk_dgram_shutdown, .sendmsg = mwk_dgram_send,                     \
	  .recvmsg = mwk_dgram_recv }

const struct proto_ops mwk_stream_ops = STREAM(PF_INET), mwk_stream6_ops = STREAM(PF_INET6);
const struct proto_ops mwk_dgram_ops = DGRAM(PF_INET), mwk_dgram6_ops = DGRAM(PF_INET6);
