// SPDX-License-Identifier: Apache-2.0
/*
 * linux.c - the kernel's TCP, UDP and UDP-Lite, in whatever network namespace the INS runs in.
 * Trust: the kernel.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "stack/stack.h"

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static int linux_socket(uint16_t family, uint16_t type)
{
	int af = family == MW_FAMILY_IP4 ? AF_INET : AF_INET6;

	int on = 1, h;

	if (type != MW_TYPE_STREAM)
		return result(socket(af, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
				     type == MW_TYPE_LITE ? IPPROTO_UDPLITE : IPPROTO_UDP));
	h = result(socket(af, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
	if (h >= 0)
		setsockopt(h, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)); /* accepted ones inherit it */
	return h;
}

static int linux_bind(int h, const struct mw_addr *a)
{
	struct sockaddr_storage ss;
	socklen_t n = addr_to_sockaddr(a, &ss);

	/* AF_UNSPEC: Linux wants a whole sockaddr_in and takes it for the wildcard */
	return result(bind(h, (struct sockaddr *)&ss, n ? n : (socklen_t)sizeof(struct sockaddr_in)));
}

static int linux_listen(int h, int backlog)
{
	return result(listen(h, backlog));
}

static int linux_unlisten(int h)
{
	return result(shutdown(h, SHUT_RD));
}

static int linux_connect(int h, const struct mw_addr *a)
{
	struct sockaddr_storage ss;
	socklen_t n = addr_to_sockaddr(a, &ss);

	return result(connect(h, (struct sockaddr *)&ss, n ? n : (socklen_t)sizeof(struct sockaddr_in)));
}

static int linux_accept(int h, struct mw_addr *peer)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	int fd = accept4(h, (struct sockaddr *)&ss, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (addr_from_sockaddr(peer, (struct sockaddr *)&ss, n) < 0)
		memset(peer, 0, sizeof(*peer));
	return fd;
}

static ssize_t linux_recv(int h, const struct iovec *iov, int count)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(unsigned long)iov, .msg_iovlen = (size_t)count };
	ssize_t n = count == 1 ? recv(h, iov->iov_base, iov->iov_len, 0) : recvmsg(h, &m, 0);

	return n < 0 ? -errno : n;
}

static ssize_t linux_send(int h, const struct iovec *iov, int count, bool more)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(unsigned long)iov, .msg_iovlen = (size_t)count };
	int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
	ssize_t n = count == 1 ? send(h, iov->iov_base, iov->iov_len, flags) : sendmsg(h, &m, flags);

	return n < 0 ? -errno : n;
}

static int linux_send_urgent(int h, const void *byte)
{
	return result(send(h, byte, 1, MSG_NOSIGNAL | MSG_OOB));
}

static bool got_fin(const struct tcp_info *i)
{
	return i->tcpi_state == TCP_CLOSE_WAIT || i->tcpi_state == TCP_LAST_ACK || i->tcpi_state == TCP_CLOSING ||
	       i->tcpi_state == TCP_TIME_WAIT || i->tcpi_state == TCP_CLOSE;
}

/*
 * RFC 4898's counters, as Linux has them in TCP_INFO: tcpi_bytes_received counts the peer's FIN, tcpi_bytes_acked our SYN.
 * What is in the queues changes meanwhile: asked before and after, until it is the same. Of a connection that was reset
 * without a FIN the last byte may count as one; it has lost bytes on its way as well.
 */
static int64_t linux_moved(int h, bool sent, bool active)
{
	unsigned long queue = sent ? SIOCOUTQ : SIOCINQ;
	int before, after;
	struct linux_tcp_info {
		struct tcp_info i;
		uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
	} t;
	socklen_t n;

	do {
		n = sizeof(t);
		memset(&t, 0, sizeof(t));
		if (ioctl(h, queue, &before) < 0 || getsockopt(h, IPPROTO_TCP, TCP_INFO, &t, &n) < 0 || ioctl(h, queue, &after) < 0)
			return 0;
	} while (before != after);
	if (!sent)
		return (int64_t)t.bytes_received - got_fin(&t.i) - before;
	return (int64_t)t.bytes_acked + before - active;
}

static int linux_waits(int h)
{
	char c;

	return result(recv(h, &c, 1, MSG_PEEK));
}

static bool linux_at_mark(int h)
{
	int at = 0;

	return ioctl(h, SIOCATMARK, &at) == 0 && at;
}

/* Linux gives the byte by itself only while it is not among the others. */
static int linux_recv_urgent(int h, bool peek)
{
	int on = 1, off = 0, r;
	uint8_t c;

	setsockopt(h, SOL_SOCKET, SO_OOBINLINE, &off, sizeof(off));
	r = result(recv(h, &c, 1, MSG_OOB | (peek ? MSG_PEEK : 0)));
	setsockopt(h, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	return r < 0 ? r : r ? c : -ENODATA;
}

static size_t linux_received(struct dgram_call *c, struct mw_dgram *d)
{
	const struct msghdr *m = &c->m.msg_hdr;

	if (addr_from_sockaddr(&d->peer, (struct sockaddr *)&c->name, m->msg_namelen) < 0)
		memset(&d->peer, 0, sizeof(d->peer));
	d->control_bytes = (uint32_t)m->msg_controllen & ~7u;
	if (m->msg_flags & MSG_CTRUNC) { /* the last piece may be cut: none is better than half of one */
		d->flags |= MW_DGF_CTRUNC;
		d->control_bytes = 0;
		memset(d->control, 0, sizeof(d->control));
	}
	return c->m.msg_len;
}

static ssize_t linux_recv_from(int h, struct dgram_call *c, struct mw_dgram *d, void *data, size_t room)
{
	struct iovec iov = { data, room };

	c->m.msg_hdr = (struct msghdr){ .msg_name = &c->name, .msg_namelen = sizeof(c->name), .msg_iov = &iov, .msg_iovlen = 1,
					.msg_control = d->control, .msg_controllen = sizeof(d->control) };
	return recvmmsg(h, &c->m, 1, MSG_TRUNC, NULL) < 0 ? -errno : (ssize_t)linux_received(c, d);
}

static ssize_t linux_send_to(int h, struct dgram_call *c, const struct mw_dgram *d, const void *data, size_t bytes)
{
	socklen_t len = addr_to_sockaddr(&d->peer, &c->name);
	struct iovec iov = { (void *)(unsigned long)data, bytes };
	int flags = MSG_NOSIGNAL | (d->flags & MW_DGF_MORE ? MSG_MORE : 0) |
		    (d->flags & MW_DGF_DONTROUTE ? MSG_DONTROUTE : 0) | (d->flags & MW_DGF_CONFIRM ? MSG_CONFIRM : 0);

	c->m.msg_hdr = (struct msghdr){ .msg_name = len ? &c->name : NULL, .msg_namelen = len, .msg_iov = &iov, .msg_iovlen = 1,
					.msg_control = d->control_bytes ? (void *)(unsigned long)d->control : NULL,
					.msg_controllen = d->control_bytes };
	return sendmmsg(h, &c->m, 1, flags) < 0 ? -errno : (ssize_t)c->m.msg_len;
}

static int linux_push(int h)
{
	int off = 0;

	return result(setsockopt(h, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
}

static int linux_shutdown_send(int h)
{
	return result(shutdown(h, SHUT_WR));
}

static void linux_close(int h)
{
	close(h);
}

static void linux_abort(int h)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(h, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(h);
}

static int linux_error(int h)
{
	int e = 0;
	socklen_t n = sizeof(e);

	return getsockopt(h, SOL_SOCKET, SO_ERROR, &e, &n) < 0 ? errno : e;
}

static int linux_name_of(int h, struct mw_addr *a, bool peer)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	int r = peer ? getpeername(h, (struct sockaddr *)&ss, &n) : getsockname(h, (struct sockaddr *)&ss, &n);

	return r < 0 ? -errno : addr_from_sockaddr(a, (struct sockaddr *)&ss, n);
}

static int linux_setopt(int h, int level, int name, const void *value, uint32_t bytes)
{
	return result(setsockopt(h, level, name, value, bytes));
}

static int linux_getopt(int h, int level, int name, void *value, uint32_t *bytes)
{
	return result(getsockopt(h, level, name, value, bytes));
}

static int linux_ioctl(int h, unsigned int request, void *argument)
{
	return result(ioctl(h, request, argument));
}

const struct stack stack_linux = {
	.name = "linux",
	.socket = linux_socket,
	.bind = linux_bind,
	.listen = linux_listen,
	.unlisten = linux_unlisten,
	.connect = linux_connect,
	.accept = linux_accept,
	.recv = linux_recv,
	.send = linux_send,
	.send_urgent = linux_send_urgent,
	.moved = linux_moved,
	.waits = linux_waits,
	.at_mark = linux_at_mark,
	.recv_urgent = linux_recv_urgent,
	.recv_from = linux_recv_from,
	.received = linux_received,
	.send_to = linux_send_to,
	.push = linux_push,
	.shutdown_send = linux_shutdown_send,
	.close = linux_close,
	.abort = linux_abort,
	.error = linux_error,
	.name_of = linux_name_of,
	.setopt = linux_setopt,
	.getopt = linux_getopt,
	.ioctl = linux_ioctl,
};
