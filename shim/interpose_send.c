// SPDX-License-Identifier: Apache-2.0
/*
 * interpose_send.c - the sending names of libc: ours, or the real one.
 * Trust: arguments are the application's own, and may be wrong addresses: see user.h.
 *
 * Arguments are checked in Linux's order: what the kernel looks at before it looks at the socket comes first here too.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "shim/data.h"
#include "shim/dgram.h"
#include "shim/fdtab.h"
#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/pass.h"
#include "shim/route.h"
#include "shim/sock.h"
#include "shim/splice.h"
#include "shim/user.h"

static ssize_t write_one(struct sock *k, const void *from, size_t n)
{
	struct iovec iov = { .iov_base = (void *)(unsigned long)from, .iov_len = n < USER_IO_MAX ? n : USER_IO_MAX };

	return ret(user_range_ok(from, n) ? data_send(k, &iov, 1, 0) : -EFAULT);
}

EXPORT ssize_t write(int fd, const void *from, size_t n)
{
	struct sock k;

	return sock_get(fd, &k) ? write_one(&k, from, n) : libc()->write(fd, from, n);
}

/*
 * TCP ignores an address, once the kernel has copied it. With MSG_FASTOPEN it is whom to connect to; no data goes with
 * the SYN, which is what Linux does without a cookie.
 */
static ssize_t send_to(struct sock *k, const struct iovec *iov, int count, int flags, const struct sockaddr *sa,
		       socklen_t len)
{
	int r;

	if (IS_DGRAM(k))
		return dgram_sendto(k, iov, count, flags, sa, len);
	if (flags & MSG_FASTOPEN) {
		if (!len && SLOT_INS(k, state) != MW_ST_OPEN)
			return SLOT_INS(k, state) == MW_ST_CONNECTING ? -EALREADY : -EISCONN;
		r = sock_connect(k, sa, len, !(flags & MSG_DONTWAIT));
		if (r < 0)
			return r;
	}
	return data_send(k, iov, count, flags);
}

/* An address as the kernel copies it: up to 128 bytes. */
static int get_address(struct sockaddr_storage *ss, const struct sockaddr *sa, socklen_t len)
{
	return len > sizeof(*ss) ? -EINVAL : user_get(ss, sa, len);
}

static ssize_t send_one(struct sock *k, const void *from, size_t n, int flags, const struct sockaddr *sa, socklen_t len)
{
	struct iovec iov = { .iov_base = (void *)(unsigned long)from, .iov_len = n < USER_IO_MAX ? n : USER_IO_MAX };
	struct sockaddr_storage ss;
	int r = 0;

	if (!user_range_ok(from, iov.iov_len))
		return ret(-EFAULT);
	if (sa)
		r = get_address(&ss, sa, len);
	else
		len = 0;
	return ret(r < 0 ? r : send_to(k, &iov, 1, flags, sa ? (struct sockaddr *)&ss : NULL, len));
}

EXPORT ssize_t send(int fd, const void *from, size_t n, int flags)
{
	struct sock k;

	return sock_get(fd, &k) ? send_one(&k, from, n, flags, NULL, 0) : libc()->send(fd, from, n, flags);
}

EXPORT ssize_t sendto(int fd, const void *from, size_t n, int flags, const struct sockaddr *sa, socklen_t len)
{
	struct sock k;

	if (sock_get(fd, &k))
		return send_one(&k, from, n, flags, sa, len);
	if (sa && route_is(fd)) {
		struct iovec iov = { .iov_base = (void *)(unsigned long)from, .iov_len = n };
		struct msghdr m = { .msg_name = (void *)(unsigned long)sa, .msg_namelen = len, .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t r = route_send(fd, &m, flags);

		if (r != -ENOSYS)
			return ret(r);
	}
	return libc()->sendto(fd, from, n, flags, sa, len);
}

static ssize_t write_vector(struct sock *k, const struct iovec *iov, int count, int flags)
{
	ssize_t n = count < 0 || count > IOV_MAX ? -EINVAL : user_iov_bytes(iov, (size_t)count);

	return ret(n > 0 ? data_send(k, iov, count, flags) : n);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
	struct sock k;

	return sock_get(fd, &k) ? write_vector(&k, iov, count, 0) : libc()->writev(fd, iov, count);
}

/* --- with a position: a socket has none --- */

EXPORT ssize_t pwrite(int fd, const void *from, size_t n, off_t at)
{
	struct sock k;

	return sock_get(fd, &k) ? ret(at < 0 ? -EINVAL : -ESPIPE) : libc()->pwrite(fd, from, n, at);
}

EXPORT ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) __attribute__((alias("pwrite")));

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	struct sock k;

	return sock_get(fd, &k) ? ret(at < 0 ? -EINVAL : -ESPIPE) : libc()->pwritev(fd, iov, count, at);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t at) __attribute__((alias("pwritev")));

EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	struct sock k;

	if (!sock_get(fd, &k))
		return libc()->pwritev2(fd, iov, count, at, flags);
	if (at != -1)
		return ret(at < 0 ? -EINVAL : -ESPIPE);
	if (flags & ~RWF_SOCKET)
		return ret(-EOPNOTSUPP);
	return write_vector(&k, iov, count, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
}

EXPORT ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t at, int flags)
	__attribute__((alias("pwritev2")));

/* --- messages --- */

/* What TCP makes of one control message: those of other levels are not looked at. */
static bool control_ok(const struct cmsghdr *h)
{
	return h->cmsg_level != SOL_SOCKET || h->cmsg_type == SCM_RIGHTS || h->cmsg_type == SCM_CREDENTIALS ||
	       (h->cmsg_type == SO_TIMESTAMPING && h->cmsg_len == CMSG_LEN(sizeof(uint32_t)));
}

static int check_control(const struct msghdr *m)
{
	const char *p = m->msg_control;
	struct cmsghdr h;

	for (size_t at = 0; m->msg_controllen - at >= sizeof(h); at += CMSG_ALIGN(h.cmsg_len)) {
		if (user_get(&h, p + at, sizeof(h)) < 0)
			return -EFAULT;
		if (h.cmsg_len < sizeof(h) || h.cmsg_len > m->msg_controllen - at || !control_ok(&h))
			return -EINVAL;
		if (CMSG_ALIGN(h.cmsg_len) > m->msg_controllen - at)
			break;
	}
	return 0;
}

/* Some byte of it may be out of reach, though no header is. */
static int get_control(const struct msghdr *m)
{
	char piece[256];

	if (m->msg_controllen > INT_MAX)
		return -ENOBUFS;
	for (size_t at = 0; at < m->msg_controllen; at += sizeof(piece)) {
		size_t left = m->msg_controllen - at;

		if (user_get(piece, (const char *)m->msg_control + at, left < sizeof(piece) ? left : sizeof(piece)) < 0)
			return -EFAULT;
	}
	return 0;
}

static ssize_t send_msg(struct sock *k, const struct msghdr *theirs, int flags)
{
	struct sockaddr_storage ss;
	struct msghdr m;
	ssize_t n;
	int r;

	if (user_get(&m, theirs, sizeof(m)) < 0)
		return -EFAULT;
	if (!m.msg_name)
		m.msg_namelen = 0;
	if ((int)m.msg_namelen < 0)
		return -EINVAL;
	if (m.msg_namelen > sizeof(ss))
		m.msg_namelen = sizeof(ss);
	if (m.msg_namelen && user_get(&ss, m.msg_name, m.msg_namelen) < 0)
		return -EFAULT;
	n = m.msg_iovlen > IOV_MAX ? -EMSGSIZE : user_iov_bytes(m.msg_iov, m.msg_iovlen);
	if (n < 0)
		return n;
	r = get_control(&m);
	if (r == 0 && IS_DGRAM(k)) {
		m.msg_name = m.msg_namelen ? &ss : NULL;
		return dgram_sendmsg(k, &m, flags);
	}
	if (r == 0)
		r = check_control(&m);
	if (r == -EINVAL) { /* Linux looks at the connection first */
		n = data_send(k, NULL, 0, flags);
		return n < 0 ? n : r;
	}
	return r < 0 ? r : send_to(k, m.msg_iov, (int)m.msg_iovlen, flags, (struct sockaddr *)&ss, m.msg_namelen);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct sock k;
	int r;

	if (sock_get(fd, &k))
		return ret(send_msg(&k, m, flags));
	if (route_is(fd)) {
		ssize_t n = route_send(fd, m, flags);

		return n == -ENOSYS ? libc()->sendmsg(fd, m, flags) : ret(n);
	}
	r = pass_prepare(fd, m);
	return r < 0 ? ret(r) : libc()->sendmsg(fd, m, flags);
}

/* Neither ours nor a netlink socket: up to the first that cannot go. */
static int send_many(int fd, struct mmsghdr *m, unsigned int n, int flags)
{
	unsigned int i;
	int r = 0;

	for (i = 0; i < n && i < IOV_MAX && r == 0; i++)
		r = pass_prepare(fd, &m[i].msg_hdr);
	if (r < 0 && i == 1)
		return (int)ret(r);
	return libc()->sendmmsg(fd, m, r < 0 ? i - 1 : n, flags);
}

static ssize_t send_next(struct sock *k, bool ours, int fd, const struct msghdr *m, int flags)
{
	ssize_t r = ours ? send_msg(k, m, flags) : route_send(fd, m, flags);

	if (r == -ENOSYS) {
		r = libc()->sendmsg(fd, m, flags);
		r = r < 0 ? -errno : r;
	}
	return r;
}

EXPORT int sendmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags)
{
	struct sock k;
	ssize_t r = 0;
	unsigned int i;
	bool ours = sock_get(fd, &k);

	if (!ours && !route_is(fd))
		return send_many(fd, m, n, flags);
	for (i = 0; i < n && i < IOV_MAX; i++) {
		unsigned int bytes;

		r = send_next(&k, ours, fd, &m[i].msg_hdr, flags);
		bytes = (unsigned int)r;
		if (r >= 0)
			r = user_put(&m[i].msg_len, &bytes, sizeof(bytes));
		if (r < 0)
			break;
	}
	return i ? (int)i : (int)ret(r);
}

/* --- from a descriptor to another --- */

/* Asked for no bytes, the kernel says what is wrong with the file and the position. */
static ssize_t send_file(struct sock *k, int in, off_t *offset, size_t count)
{
	off_t at;
	ssize_t n;

	if (offset && user_get(&at, offset, sizeof(at)) < 0)
		return -EFAULT;
	n = libc()->sendfile(k->fd, in, offset ? &at : NULL, 0) < 0 ? -errno : 0;
	if (n == 0)
		n = (ssize_t)count < 0 ? -EINVAL : data_sendfile(k, in, offset ? &at : NULL, count);
	if (n == -EISDIR)
		n = -EINVAL;
	return offset && user_put(offset, &at, sizeof(at)) < 0 ? -EFAULT : n;
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
	struct sock k;

	/* a socket cannot be read from this way, which the kernel says of ours too */
	if (sock_get(in, &k) || !sock_get(out, &k))
		return libc()->sendfile(out, in, offset, count);
	return ret(send_file(&k, in, offset, count));
}

EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) __attribute__((alias("sendfile")));

EXPORT ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned int flags)
{
	struct sock k;

	if (!sock_get(in, &k) && !sock_get(out, &k))
		return libc()->splice(in, in_at, out, out_at, n, flags);
	return ret(splice_sock(in, in_at, out, out_at, n, flags));
}
