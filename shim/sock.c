// SPDX-License-Identifier: Apache-2.0
/*
 * sock.c - naming and accepting: what needs the INS's answer.
 * Trust: a slot number in a reply is bounded; addresses are copied out of the arena and checked before use.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/sock.h"
#include "chan/msg.h"
#include "lib/addr.h"
#include "lib/fdpass.h"
#include "link/sockopts.h"
#include "shim/again.h"
#include "shim/attach.h"
#include "shim/data.h"
#include "shim/dgram.h"
#include "shim/doorbell.h"
#include "shim/fdtab.h"
#include "shim/fork.h"
#include "shim/option.h"
#include "shim/plain.h"
#include "shim/roster.h"
#include "shim/route.h"
#include "shim/token.h"
#include "shim/twin.h"
#include "shim/user.h"

#define TYPE_MASK 0xf

/* What socket() answers for what we do not carry: 1 = ours, 0 = the kernel's own business, -errno = refused. */
static int classify(int domain, int type, int protocol)
{
	if (domain == AF_PACKET) {
		refused_count(MW_REFUSED_PACKET);
		return -EPERM;
	}
	if (domain != AF_INET && domain != AF_INET6)
		return 0;
	switch (type & TYPE_MASK) {
	case SOCK_STREAM:
		if (protocol == 0 || protocol == IPPROTO_TCP)
			return 1;
		refused_count(MW_REFUSED_OTHER);
		return -EPROTONOSUPPORT;
	case SOCK_RAW:
		refused_count(MW_REFUSED_RAW);
		return -EPERM;
	case SOCK_DGRAM:
		if (protocol == 0 || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE)
			return 1;
		refused_count(MW_REFUSED_DGRAM);
		return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 ? -EACCES : -EPROTONOSUPPORT;
	default:
		refused_count(MW_REFUSED_OTHER);
		return -ESOCKTNOSUPPORT;
	}
}

/* The error is in the slot before the state is, and the doorbell may have told of it already. */
static uint32_t state_of(struct sock *k)
{
	uint32_t state = SLOT_INS(k, state);

	return SLOT_INS(k, rx_state) & MW_RX_ERROR ? MW_ST_CLOSED : state;
}

void address_request(struct sock *k, struct mw_req *q)
{
	q->slot = k->slot;
	q->gen = SLOT_INS(k, gen);
}

/* Makes a socket there, or if that has just ended, on another. Its place, or -errno. */
static int socket_on(uint32_t ins, struct mw_req *q, int far)
{
	struct mw_reply r;
	int rc = ctl_call_to(ins, q, MW_OP_SOCKET, far, &r);

	if (rc == -ENETDOWN) {
		ins = roster_fallback(ins);
		rc = ctl_call_to(ins, q, MW_OP_SOCKET, far, &r);
	}
	if (rc == 0 && r.slot >= shim_views[ins].slots)
		rc = -ENETDOWN;
	return rc < 0 ? rc : (int)PLACE(ins, r.slot);
}

int sock_create(int domain, int type, int protocol, int lane)
{
	bool dgram = (type & TYPE_MASK) == SOCK_DGRAM;
	struct mw_req q = { .u.socket = { .type = !dgram ? MW_TYPE_STREAM : protocol == IPPROTO_UDPLITE ? MW_TYPE_LITE : MW_TYPE_DGRAM,
					  .family = domain == AF_INET ? MW_FAMILY_IP4 : MW_FAMILY_IP6 } };
	struct sock k;
	int pair[2], rc = classify(domain, type, protocol);

	if (domain == AF_NETLINK)
		return route_create(type, protocol);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOSYS;
	q.u.socket.lane = dgram ? (uint32_t)lane : MW_LANE_RING;
	rc = doorbell_pair((lane == MW_LANE_STREAM && !dgram ? SOCK_STREAM : SOCK_SEQPACKET) | (type & (SOCK_CLOEXEC | SOCK_NONBLOCK)),
			   pair, &q.u.socket.cookie);
	if (rc < 0)
		return rc == -ENONET ? -ENOSYS : rc; /* it has left for a network of its own */
	rc = socket_on(dgram || lane == MW_LANE_STREAM ? roster_home() : roster_choose(), &q, pair[1]);
	syscall(SYS_close, pair[1]);
	if (rc < 0) {
		syscall(SYS_close, pair[0]);
		return rc;
	}
	fdtab_set(pair[0], (uint32_t)rc);
	if (sock_get(pair[0], &k))
		mw_store(MW_WORD(&k.s->app.pid), (uint32_t)own_pid());
	return pair[0];
}

/* As after socket(): the same options as far as an application may have set them before it gives the socket a name. */
static void copy_options(struct sock *from, struct sock *to)
{
	for (int i = 0; sockopts_kept[i][0] >= 0; i++) {
		uint8_t was[32], is[32];
		socklen_t n = sizeof(was), m = sizeof(is);
		int level = sockopts_kept[i][0], name = sockopts_kept[i][1];

		if (option_get(from, level, name, was, &n) == 0 && option_get(to, level, name, is, &m) == 0 &&
		    (n != m || memcmp(was, is, n)))
			option_set(to, level, name, was, sockopts_settable(level, name, was, n));
	}
	option_inherit(from, to);
}

/*
 * Names are given out by one INS, so that it knows which are taken: a socket of another that is to be bound becomes one of
 * that. Its descriptors in this process do; another process that has it already keeps the old one.
 */
static void go_home(struct sock *k)
{
	struct mw_req q = { .u.socket = { .type = MW_TYPE_STREAM, .family = (uint16_t)SLOT_INS(k, family) } };
	struct sock made;
	int pair[2], place;

	if (IS_DGRAM(k) || k->ins == roster_home() || SLOT_INS(k, state) != MW_ST_OPEN || plain_on || !in_own_process() ||
	    doorbell_pair(SOCK_SEQPACKET | SOCK_CLOEXEC, pair, &q.u.socket.cookie) < 0)
		return;
	doorbell_copy_file(k->fd, pair[0]);
	place = socket_on(roster_home(), &q, pair[1]);
	syscall(SYS_close, pair[1]);
	if (place < 0) {
		syscall(SYS_close, pair[0]);
		return;
	}
	sock_at(&made, (uint32_t)place);
	made.fd = pair[0];
	fdtab_set(pair[0], (uint32_t)place);
	mw_store(MW_WORD(&made.s->app.pid), (uint32_t)own_pid());
	copy_options(k, &made);
	again_replace(k, pair[0]);
	sock_get(k->fd, k);
}

/* An address as the kernel takes it: copied first, looked at afterwards. */
static int get_addr(struct mw_addr *a, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_storage ss;

	if (len > sizeof(ss))
		return -EINVAL;
	if (user_get(&ss, sa, len) < 0)
		return -EFAULT;
	return addr_from_sockaddr(a, (struct sockaddr *)&ss, len);
}

static int named_call(struct sock *k, uint32_t op, const struct mw_addr *a)
{
	struct mw_req q;
	struct mw_reply r;

	memset(&q, 0, sizeof(q));
	q.u.addr = *a;
	address_request(k, &q);
	return ctl_call(k, &q, op, -1, &r);
}

int sock_bind(struct sock *k, const struct sockaddr *sa, socklen_t len)
{
	struct mw_addr a;
	int r = get_addr(&a, sa, len);

	if (r == 0)
		go_home(k);
	return r < 0 ? r : named_call(k, MW_OP_BIND, &a);
}

/* A listener outlives the INS that it was made on. */
static void still_served(struct sock *k)
{
	if (__builtin_expect(!roster_serves(k->ins), 0))
		fdtab_again(k);
}

int sock_listen(struct sock *k, int backlog)
{
	struct mw_req q = { .u.listen.backlog = backlog };
	struct mw_reply r;

	int rc;

	if (IS_DGRAM(k))
		return -EOPNOTSUPP;
	still_served(k);
	address_request(k, &q);
	rc = ctl_call(k, &q, MW_OP_LISTEN, -1, &r);
	if (rc == 0)
		doorbell_fill_all(k); /* a listener is never writable */
	return rc;
}

bool sock_failed(struct sock *k)
{
	return state_of(k) == MW_ST_CLOSED && mw_load(MW_WORD(&k->s->names.refused));
}

/* Once why, and if that was told already, this. */
static int why_failed(struct sock *k)
{
	int error = data_error(k);

	return error ? -error : -ECONNABORTED;
}

int sock_connected(struct sock *k)
{
	if (SLOT_INS(k, rx_state) & MW_RX_ERROR)
		return why_failed(k);
	return SLOT_INS(k, state) == MW_ST_CONNECTING ? -EINPROGRESS : 0;
}

/*
 * The connection is being made. A blocking caller waits until the INS has drained the filler (made) or closed its end
 * (failed) or made it what it was before (refused), as long as its own time-out allows; then it gets `busy`.
 */
static int connect_wait(struct sock *k, int busy)
{
	int r = 0;

	while (r == 0 && SLOT_INS(k, state) == MW_ST_CONNECTING)
		r = doorbell_fill(k, option_timeo(k, 0));
	if (SLOT_INS(k, rx_state) & MW_RX_ERROR)
		return why_failed(k);
	if (SLOT_INS(k, state) == MW_ST_ESTABLISHED)
		doorbell_drained(k);
	if (r == -EAGAIN)
		r = SLOT_INS(k, state) == MW_ST_CONNECTING ? busy : 0;
	if (r == 0 && SLOT_INS(k, state) == MW_ST_OPEN) /* refused, and as it was before */
		return SLOT_INS(k, error) > 0 ? -SLOT_INS(k, error) : -ECONNREFUSED;
	return r == -ECONNRESET || r == -EPIPE ? 0 : r;
}

int sock_connect_begin(struct sock *k, const struct sockaddr *sa, socklen_t len)
{
	uint32_t state;
	struct mw_addr a;
	int r;

	pthread_testcancel();
	r = get_addr(&a, sa, len);
	if (r == -EFAULT || len > sizeof(struct sockaddr_storage) || len < sizeof(sa_family_t))
		return r;
	if (IS_DGRAM(k))
		return r < 0 ? r : named_call(k, MW_OP_CONNECT, &a);
	state = state_of(k);
	if (state == MW_ST_CONNECTING)
		return -EALREADY;
	if (state == MW_ST_ESTABLISHED || state == MW_ST_LISTEN)
		return -EISCONN; /* whatever the address is */
	if (state == MW_ST_CLOSED && !sock_failed(k))
		return -EISCONN;
	if (state == MW_ST_CLOSED)
		return r == 0 && a.family == MW_FAMILY_NONE ? 0 : why_failed(k);
	if (r < 0)
		return r;
	if (state == MW_ST_OPEN)
		doorbell_fill_all(k); /* "not writable" before the INS can make it writable */
	r = named_call(k, MW_OP_CONNECT, &a);
	if (r == -EINPROGRESS)
		twin_dialed(k);
	return r;
}

/* Nobody waits any more, or the thread was cancelled: the doorbell tells. */
static void waits_no_more(void *k)
{
	APP_CLR((struct sock *)k, MW_APP_CONNECT_WAITS);
}

/* A cancelled thread's unwinding leaves the sanitizer's marks of the frames below, which it would then find here. */
static __attribute__((no_sanitize("address"))) int connect_waiting(struct sock *k, const struct sockaddr *sa, socklen_t len)
{
	int r;

	pthread_cleanup_push(waits_no_more, k);
	if (SLOT_INS(k, state) == MW_ST_OPEN)
		APP_SET(k, MW_APP_CONNECT_WAITS);
	r = sock_connect_begin(k, sa, len);
	if (r == -EINPROGRESS || r == -EALREADY)
		r = connect_wait(k, r);
	pthread_cleanup_pop(1);
	return r;
}

int sock_connect(struct sock *k, const struct sockaddr *sa, socklen_t len, bool wait)
{
	int r;

	wait = wait && !option_timeo(k, 0) && !(syscall(SYS_fcntl, k->fd, F_GETFL) & O_NONBLOCK);
	r = wait ? connect_waiting(k, sa, len) : sock_connect_begin(k, sa, len);
	if (again_due(k, r))
		again_here(k);
	return r;
}

/* accept() must find a free descriptor before it takes a connection off the queue, or the connection is lost. */
static int room_for_one(int fd)
{
	long probe = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);

	if (probe < 0)
		return -errno;
	syscall(SYS_close, probe);
	return 0;
}

/* Descriptors arrive close-on-exec; accept() without SOCK_CLOEXEC wants that bit off. */
static void apply_flags(int fd, int flags)
{
	if (!(flags & SOCK_CLOEXEC))
		syscall(SYS_fcntl, fd, F_SETFD, 0);
	if (flags & SOCK_NONBLOCK)
		syscall(SYS_fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK);
}

int sock_give_name(const struct mw_addr *a, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_storage ss;
	socklen_t n = addr_to_sockaddr(a, &ss), room;

	if (user_get(&room, len, sizeof(room)) < 0)
		return -EFAULT;
	if ((int)room < 0)
		return -EINVAL;
	if (user_put(sa, &ss, room < n ? room : n) < 0 || user_put(len, &n, sizeof(n)) < 0)
		return -EFAULT;
	return 0;
}

/* The next record of the listener, waited for as the descriptor's own flags and time-outs say, cancellably. */
static ssize_t next_accepted(struct sock *k, uint8_t raw[sizeof(struct mw_accepted)], int *fd, int *count)
{
	for (;;) {
		ssize_t n = fdpass_recv(k->fd, raw, sizeof(struct mw_accepted), fd, count, MSG_DONTWAIT);
		int r;

		if (n != -EAGAIN)
			return n;
		r = doorbell_wait(k, option_timeo(k, 0));
		if (r < 0)
			return r;
		*count = 1;
	}
}

bool sock_accepted(const struct mw_accepted *c, int fd)
{
	uint64_t cookie;
	struct sock k;

	if (attach_to(c->ins) < 0 || c->slot >= shim_views[c->ins].slots)
		return false;
	sock_at(&k, PLACE(c->ins, c->slot));
	return roster_high() == 1 || (doorbell_cookie(fd, &cookie) == 0 && SLOT_INS(&k, cookie) == cookie);
}

int sock_accept(struct sock *k, struct sockaddr *sa, socklen_t *len, int flags)
{
	struct mw_accepted c;
	struct sock made;
	uint8_t raw[sizeof(c)];
	int fd = -1, count = 1, r;
	ssize_t n;

	pthread_testcancel();
	still_served(k);
	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	if (SLOT_INS(k, state) != MW_ST_LISTEN || APP_FLAGS(k) & MW_APP_SHUT_RD)
		return IS_DGRAM(k) ? -EOPNOTSUPP : -EINVAL;
	r = room_for_one(k->fd);
	if (r < 0)
		return r;
	n = next_accepted(k, raw, &fd, &count);
	if (n < 0 && n != -EMSGSIZE)
		return (int)(n == -ECONNRESET ? -ENETDOWN : n);
	if (n < 0 || count != 1 || msg_accepted_check(&c, raw, (size_t)n) < 0 || !sock_accepted(&c, fd)) {
		if (count == 1)
			syscall(SYS_close, fd);
		return n == 0 ? -EINVAL : count ? -ECONNABORTED : -EMFILE;
	}
	apply_flags(fd, flags);
	fdtab_set(fd, PLACE(c.ins, c.slot));
	if (sock_get(fd, &made)) {
		option_inherit(k, &made);
		twin_accepted(&made);
		APP_SET(&made, APP_FLAGS(k) & MW_APP_LINGER_SET);
		mw_store(MW_WORD(&made.s->app.pid), (uint32_t)own_pid());
	}
	r = sa ? sock_give_name(&c.peer, sa, len) : 0;
	if (r < 0) { /* as in Linux, the connection is lost with it */
		fdtab_clear(fd);
		syscall(SYS_close, fd);
	}
	return r < 0 ? r : fd;
}

/* Both FINs are sent and acknowledged: for Linux there is no connection any more. */
static bool both_ended(struct sock *k)
{
	uint8_t state; /* tcp_info's first byte */
	socklen_t n = sizeof(state);

	if (!(SLOT_INS(k, rx_state) & MW_RX_FIN) || !(APP_FLAGS(k) & MW_APP_SHUT_WR))
		return false;
	return option_get(k, IPPROTO_TCP, TCP_INFO, &state, &n) == 0 && state == TCP_CLOSE;
}

int sock_shutdown(struct sock *k, int how)
{
	uint32_t state;

	still_served(k);
	state = state_of(k);
	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (IS_DGRAM(k))
		return dgram_shutdown(k, how);
	if (state == MW_ST_OPEN || state == MW_ST_CLOSED || both_ended(k))
		return -ENOTCONN;
	if (state == MW_ST_LISTEN) {
		if (how == SHUT_WR)
			return 0; /* as Linux: nothing */
		APP_SET(k, MW_APP_SHUT_RD);
		syscall(SYS_shutdown, k->fd, SHUT_RD); /* wakes who waits in accept() */
		token_service(k);
		return 0;
	}
	if (how != SHUT_WR)
		APP_SET(k, MW_APP_SHUT_RD);
	if (how != SHUT_RD) {
		APP_SET(k, MW_APP_SHUT_WR);
		syscall(SYS_shutdown, k->fd, SHUT_WR); /* the INS sees it behind the last byte's publication */
	}
	token_service(k);
	twin_settle(k);
	return 0;
}

int sock_name(struct sock *k, struct sockaddr *sa, socklen_t *len, bool peer)
{
	struct mw_slot __peer *s = k->s;
	uint32_t state = state_of(k);
	const uint8_t __peer *from = peer ? (const uint8_t __peer *)&s->names.peer : (const uint8_t __peer *)&s->names.local;
	struct mw_addr a;

	if (peer && ((state != MW_ST_ESTABLISHED && state != MW_ST_CLOSING) || both_ended(k)))
		return -ENOTCONN;
	for (size_t i = 0; i < sizeof(a); i++)
		((uint8_t *)&a)[i] = mw_load((const uint8_t *)(mw_uintptr)(from + i));
	if (!msg_addr_ok(&a, false))
		return -ENOTCONN;
	return sock_give_name(&a, sa, len);
}
