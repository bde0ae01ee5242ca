// SPDX-License-Identifier: Apache-2.0
/*
 * call.c - each trapped system call: its arguments out of the target, the same function that the shim calls, the
 * results into it.
 * Trust: see trap.h. Lengths are bounded before anything is copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "chan/msg.h"
#include "lib/addr.h"
#include "lib/fdpass.h"
#include "shim/again.h"
#include "shim/data.h"
#include "shim/doorbell.h"
#include "shim/fdtab.h"
#include "shim/memory.h"
#include "shim/option.h"
#include "shim/route.h"
#include "shim/stream.h"
#include "trap/trap.h"


enum outcome call_done(struct call *c, int64_t result)
{
	c->result = result;
	return ANSWER;
}

static bool nonblocking(struct call *c)
{
	return option_timeo(&c->k, 0) || fcntl(c->fd, F_GETFL) & O_NONBLOCK;
}

static enum outcome wait_on(struct call *c, uint32_t events, int option)
{
	c->events = events;
	c->wait_option = option;
	return WAIT;
}

/* What a call that found nothing to do waits for; else its result. */
enum outcome call_or_wait(struct call *c, ssize_t r, int flags, bool sending)
{
	if (r == -EAGAIN && !c->late && !(flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) && !nonblocking(c)) {
		if (!sending && IS_DGRAM(&c->k) && APP_FLAGS(&c->k) & MW_APP_SHUT_RD)
			return call_done(c, 0); /* shut down for receiving: the end, for who would wait */
		return wait_on(c, sending ? EPOLLOUT : EPOLLIN, sending ? SO_SNDTIMEO : SO_RCVTIMEO);
	}
	return call_done(c, r);
}

/* As move_addr_to_kernel(). */
int call_get_addr(const struct call *c, uint64_t from, uint64_t len, struct sockaddr_storage *ss)
{
	if ((int)len < 0 || len > sizeof(*ss))
		return -EINVAL;
	memset(ss, 0, sizeof(*ss));
	return target_read(c->pid, ss, from, (size_t)len);
}

/* As move_addr_to_user(): the length in, as much as fits, the whole length out. */
int call_put_addr(const struct call *c, const struct sockaddr_storage *ss, socklen_t n, uint64_t to, uint64_t len_at)
{
	int room, r = target_read(c->pid, &room, len_at, sizeof(room));

	if (r < 0)
		return r;
	if (room < 0)
		return -EINVAL;
	r = target_write(c->pid, to, ss, (size_t)room < n ? (size_t)room : n);
	return r < 0 ? r : target_write(c->pid, len_at, &n, sizeof(n));
}

/* --- making and naming --- */

static void owned_by(struct sock *k, int pid)
{
	mw_store(MW_WORD(&k->s->app.pid), (uint32_t)target_process(pid));
}

static enum outcome do_socket(struct call *c)
{
	struct sock k;
	int fd = sock_create((int)c->args[0], (int)c->args[1], (int)c->args[2], MW_LANE_STREAM);

	if (fd == -ENOSYS)
		return CONTINUE;
	if (fd < 0)
		return call_done(c, fd);
	if (sock_get(fd, &k))
		owned_by(&k, c->pid);
	c->give = fd;
	c->give_flags = (int)c->args[1] & SOCK_CLOEXEC ? O_CLOEXEC : 0;
	return ANSWER;
}

static enum outcome do_bind(struct call *c)
{
	struct sockaddr_storage ss;
	int r = call_get_addr(c, c->args[1], c->args[2], &ss);

	return call_done(c, r < 0 ? r : sock_bind(&c->k, (struct sockaddr *)&ss, (socklen_t)c->args[2]));
}

static enum outcome do_listen(struct call *c)
{
	return call_done(c, sock_listen(&c->k, (int)c->args[1]));
}

static enum outcome do_connect(struct call *c)
{
	struct sockaddr_storage ss;
	int r;

	if (c->late)
		return call_done(c, -EINPROGRESS);
	if (c->woken) {
		r = sock_connected(&c->k);
	} else {
		r = call_get_addr(c, c->args[1], c->args[2], &ss);
		if (r == 0)
			r = sock_connect_begin(&c->k, (struct sockaddr *)&ss, (socklen_t)c->args[2]);
	}
	if ((r == -EINPROGRESS || r == -EALREADY) && !nonblocking(c))
		return wait_on(c, EPOLLOUT, SO_SNDTIMEO);
	if (again_due(&c->k, r))
		c->put = again_make(&c->k);
	return call_done(c, r);
}

static enum outcome name(struct call *c, bool peer)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	int r = sock_name(&c->k, (struct sockaddr *)&ss, &n, peer);

	return call_done(c, r < 0 ? r : call_put_addr(c, &ss, n, c->args[1], c->args[2]));
}

static enum outcome do_getsockname(struct call *c)
{
	return name(c, false);
}

static enum outcome do_getpeername(struct call *c)
{
	return name(c, true);
}

static enum outcome do_shutdown(struct call *c)
{
	return call_done(c, sock_shutdown(&c->k, (int)c->args[1]));
}

/* --- accept --- */

/*
 * The connection is looked at, given, and only then taken off the queue: a signal that ends the target's call in
 * between loses nothing. Nobody else takes from it: all who accept here are answered by this process, but for a shimmed
 * parent that goes on accepting itself.
 *
 * On a listener that came from such a parent it is a ring one, which has another descriptor once it is converted. That
 * one waits here, by slot, for the next call, while the old one is the first of its queue still.
 */
#define WAITING 16u
static struct {
	uint32_t place, gen; /* gen 0: none */
	uint64_t queued;     /* the old one's cookie */
	int fd;
} waiting[WAITING];

void call_not_given(struct call *c)
{
	struct sock k;

	if (c->converted && sock_get(c->give, &k)) {
		if (waiting[k.slot % WAITING].gen)
			close(waiting[k.slot % WAITING].fd);
		waiting[k.slot % WAITING].place = PLACE(k.ins, k.slot);
		waiting[k.slot % WAITING].gen = SLOT_INS(&k, gen);
		waiting[k.slot % WAITING].queued = c->queued;
		waiting[k.slot % WAITING].fd = c->give;
	} else {
		close(c->give);
	}
	fdtab_clear(c->give);
	c->give = -1;
}

/* It is converted: its slot has the cookie of the descriptor that waits, and no longer of the one in the queue. */
static bool is_waiting(const struct mw_accepted *a, uint64_t cookie)
{
	return waiting[a->slot % WAITING].gen && waiting[a->slot % WAITING].queued == cookie &&
	       waiting[a->slot % WAITING].gen == a->gen && waiting[a->slot % WAITING].place == PLACE(a->ins, a->slot);
}

/* The queued connection as the target is to have it, in c->give: 0 or -errno, and c->give may be valid all the same. */
static int convert(struct call *c, int fd, const struct mw_accepted *a)
{
	struct sock k;
	int r;

	c->give = fd;
	fdtab_set(fd, PLACE(a->ins, a->slot));
	if (is_waiting(a, c->queued)) {
		dup3(waiting[a->slot % WAITING].fd, fd, O_CLOEXEC);
		close(waiting[a->slot % WAITING].fd);
		waiting[a->slot % WAITING].gen = 0;
		c->converted = true;
		return 0;
	}
	c->converted = sock_get(fd, &k) && SLOT_INS(&k, lane) == MW_LANE_RING;
	r = stream_convert(fd);
	c->converted = c->converted && r == 0;
	return r;
}

/* What stands first in the queue is no connection: out of the way of those behind it. */
static enum outcome refused(struct call *c, int fd)
{
	uint8_t raw[sizeof(struct mw_accepted)];
	int again, count = 1;

	if (fd >= 0)
		close(fd);
	fdpass_recv(c->fd, raw, sizeof(raw), &again, &count, MSG_DONTWAIT);
	if (count)
		close(again);
	return call_done(c, -ECONNABORTED);
}

static enum outcome accept_any(struct call *c, int flags)
{
	struct mw_accepted a;
	struct sock made;
	struct sockaddr_storage ss;
	uint8_t raw[sizeof(a)];
	int fd = -1, count = 1, r;
	ssize_t n;

	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return call_done(c, -EINVAL);
	if (SLOT_INS(&c->k, state) != MW_ST_LISTEN)
		return call_done(c, IS_DGRAM(&c->k) ? -EOPNOTSUPP : -EINVAL);
	n = c->late ? -EAGAIN : fdpass_recv(c->fd, raw, sizeof(raw), &fd, &count, MSG_PEEK | MSG_DONTWAIT);
	if (n == -EAGAIN && !nonblocking(c) && !c->late)
		return wait_on(c, EPOLLIN, SO_RCVTIMEO);
	if (n <= 0 && n != -EMSGSIZE) /* 0: it was shut down */
		return call_done(c, n == 0 ? -EINVAL : n == -ECONNRESET ? -ENETDOWN : n);
	if (n < 0 || count != 1 || msg_accepted_check(&a, raw, (size_t)n) < 0 || doorbell_cookie(fd, &c->queued) < 0 ||
	    (!is_waiting(&a, c->queued) && !sock_accepted(&a, fd)))
		return refused(c, count == 1 ? fd : -1);
	c->give = fd;
	r = convert(c, fd, &a);
	if (r == 0 && c->args[1])
		r = call_put_addr(c, &ss, addr_to_sockaddr(&a.peer, &ss), c->args[1], c->args[2]);
	if (r < 0) {
		call_not_given(c);
		return call_done(c, r);
	}
	if (sock_get(fd, &made))
		option_inherit(&c->k, &made);
	fcntl(fd, F_SETFL, O_RDWR | (flags & SOCK_NONBLOCK ? O_NONBLOCK : 0));
	c->give_flags = flags & SOCK_CLOEXEC ? O_CLOEXEC : 0;
	return ANSWER;
}

static enum outcome do_accept(struct call *c)
{
	return accept_any(c, 0);
}

static enum outcome do_accept4(struct call *c)
{
	return accept_any(c, (int)c->args[3]);
}

void call_given(struct call *c)
{
	uint8_t raw[sizeof(struct mw_accepted)];
	struct sock k;
	int fd, count = 1;

	if (c->nr == SCMP_SYS(socket))
		return;
	if (sock_get(c->give, &k))
		owned_by(&k, c->pid);
	if (fdpass_recv(c->fd, raw, sizeof(raw), &fd, &count, MSG_DONTWAIT) >= 0 && count)
		close(fd);
}

/* --- options --- */

/* The shim's own functions, on the target's memory. */
static void serve_target(const struct call *c, bool privileged)
{
	memory = (struct memory){ .pid = c->pid, .privileged = privileged, .descriptor = target_fd };
}

static enum outcome served(struct call *c, int r)
{
	memory = (struct memory){ .privileged = true };
	return call_done(c, r);
}

static enum outcome do_setsockopt(struct call *c)
{
	serve_target(c, target_privileges(c->pid));
	return served(c, option_set(&c->k, (int)c->args[1], (int)c->args[2], (void *)(uintptr_t)c->args[3],
				    (socklen_t)c->args[4]));
}

static enum outcome do_getsockopt(struct call *c)
{
	serve_target(c, false);
	return served(c, option_get(&c->k, (int)c->args[1], (int)c->args[2], (void *)(uintptr_t)c->args[3],
				    (socklen_t *)(uintptr_t)c->args[4]));
}

static enum outcome do_ioctl(struct call *c)
{
	int r;

	serve_target(c, false);
	r = option_ioctl(&c->k, (unsigned int)c->args[1], (void *)(uintptr_t)c->args[2]);
	served(c, r);
	return r == -ENOSYS ? CONTINUE : ANSWER;
}

/* --- data with an address, or with flags that a doorbell does not know --- */

static enum outcome send_bytes(struct call *c, const void *bytes, size_t n, int flags)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	ssize_t r = data_send(&c->k, &iov, 1, flags | MSG_DONTWAIT | MSG_NOSIGNAL);

	if (r == -EAGAIN && !c->late && !(flags & MSG_DONTWAIT) && !nonblocking(c))
		return wait_on(c, EPOLLOUT, SO_SNDTIMEO);
	if (r == -EPIPE && !(flags & MSG_NOSIGNAL))
		target_signal(c->pid, SIGPIPE);
	return call_done(c, r);
}

/* --- the data calls: TCP takes no notice of an address --- */

static enum outcome do_sendto(struct call *c)
{
	static uint8_t bytes[SEND_MAX];
	size_t n = c->args[2] < sizeof(bytes) ? (size_t)c->args[2] : sizeof(bytes);
	int r;

	if (IS_DGRAM(&c->k))
		return call_dgram_send(c);
	r = target_read(c->pid, bytes, c->args[1], n);
	return r < 0 ? call_done(c, r) : send_bytes(c, bytes, n, (int)c->args[3]);
}

/* The descriptor's own receive gives no address either. */
static enum outcome receive(struct call *c, int flags)
{
	if (flags & MSG_ERRQUEUE)
		return call_done(c, -EAGAIN);
	return CONTINUE;
}

static enum outcome do_recvfrom(struct call *c)
{
	return IS_DGRAM(&c->k) ? call_dgram_receive(c) : receive(c, (int)c->args[3]);
}

/* A message without address is the descriptor's own; what it carries in control data, the INS drops. */
static enum outcome do_sendmsg(struct call *c)
{
	const uint8_t *bytes;
	struct msghdr m;
	ssize_t n;
	int r;

	if (IS_DGRAM(&c->k))
		return call_dgram_sendmsg(c);
	if ((int)c->args[2] & MSG_OOB) {
		n = call_message_bytes(c, &bytes);
		return n < 0 ? call_done(c, n) : send_bytes(c, bytes, (size_t)n, (int)c->args[2]);
	}
	r = target_read(c->pid, &m, c->args[1], sizeof(m));
	if (r < 0)
		return call_done(c, r);
	return m.msg_name || m.msg_controllen ? call_done(c, -EISCONN) : CONTINUE;
}

static enum outcome do_recvmsg(struct call *c)
{
	return IS_DGRAM(&c->k) ? call_dgram_recvmsg(c) : receive(c, (int)c->args[2]);
}

static enum outcome do_sendmmsg(struct call *c)
{
	return IS_DGRAM(&c->k) ? call_dgram_many(c, true) : CONTINUE;
}

static enum outcome do_recvmmsg(struct call *c)
{
	return IS_DGRAM(&c->k) ? call_dgram_many(c, false) : receive(c, (int)c->args[3]);
}

/* --- the table --- */

static const struct {
	int nr;
	enum outcome (*handle)(struct call *c);
} rows[] = {
	{ SCMP_SYS(socket), do_socket },           { SCMP_SYS(bind), do_bind },
	{ SCMP_SYS(listen), do_listen },           { SCMP_SYS(connect), do_connect },
	{ SCMP_SYS(accept), do_accept },           { SCMP_SYS(accept4), do_accept4 },
	{ SCMP_SYS(getsockname), do_getsockname }, { SCMP_SYS(getpeername), do_getpeername },
	{ SCMP_SYS(getsockopt), do_getsockopt },   { SCMP_SYS(setsockopt), do_setsockopt },
	{ SCMP_SYS(shutdown), do_shutdown },       { SCMP_SYS(sendto), do_sendto },
	{ SCMP_SYS(recvfrom), do_recvfrom },       { SCMP_SYS(sendmsg), do_sendmsg },
	{ SCMP_SYS(recvmsg), do_recvmsg },         { SCMP_SYS(sendmmsg), do_sendmmsg },
	{ SCMP_SYS(recvmmsg), do_recvmmsg },       { SCMP_SYS(ioctl), do_ioctl },
};

bool call_wanted(int nr)
{
	return nr != SCMP_SYS(socket);
}

/* libc asks for an interface's number on a UNIX socket. SIOCGIFCONF, whose argument points on, is the INS's on its own sockets alone. */
static enum outcome ioctl_elsewhere(struct call *c)
{
	unsigned int request = (unsigned int)c->args[1];
	struct ifreq q;
	int r;

	if (route_refuses(c->fd, request))
		return call_done(c, -EPERM);
	if (request == SIOCGIFCONF || target_read(c->pid, &q, c->args[2], sizeof(q)) < 0)
		return CONTINUE;
	r = route_ioctl(c->fd, request, &q);
	if (r == 0)
		r = target_write(c->pid, c->args[2], &q, sizeof(q));
	return r == -ENOSYS ? CONTINUE : call_done(c, r);
}

/* The INS's netlink sockets: sent to without a name, and not to be changed by: see shim/route.c. */
static enum outcome not_ours(struct call *c)
{
	bool sendto = c->nr == SCMP_SYS(sendto), sendmsg = c->nr == SCMP_SYS(sendmsg), many = c->nr == SCMP_SYS(sendmmsg);

	if (c->nr == SCMP_SYS(ioctl))
		return ioctl_elsewhere(c);
	if (!(sendto || sendmsg || many) || !route_is(c->fd))
		return CONTINUE;
	return sendto ? call_dgram_send(c) : sendmsg ? call_dgram_sendmsg(c) : call_dgram_many(c, true);
}

enum outcome call_handle(struct call *c)
{
	if (call_wanted(c->nr) && !c->ours)
		return not_ours(c);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].nr == c->nr)
			return rows[i].handle(c);
	return CONTINUE;
}
