// SPDX-License-Identifier: Apache-2.0
/*
 * interpose_recv.c - the receiving names of libc: ours, or the real one.
 * Trust: arguments are the application's own, and may be wrong addresses: see user.h.
 *
 * Arguments are checked in Linux's order: what the kernel looks at before it looks at the socket comes first here too.
 */
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "shim/attach.h"
#include "shim/data.h"
#include "shim/dgram.h"
#include "shim/fdtab.h"
#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/sock.h"
#include "shim/user.h"

/* read() and its like: no bytes asked for are no call at all. */
static ssize_t read_one(struct sock *k, void *to, size_t n)
{
	struct iovec iov = { .iov_base = to, .iov_len = n < USER_IO_MAX ? n : USER_IO_MAX };

	if (!user_range_ok(to, n))
		return ret(-EFAULT);
	return n ? ret(data_recv(k, &iov, 1, 0)) : 0;
}

static ssize_t recv_one(struct sock *k, void *to, size_t n, int flags)
{
	struct iovec iov = { .iov_base = to, .iov_len = n < USER_IO_MAX ? n : USER_IO_MAX };

	return user_range_ok(to, iov.iov_len) ? data_recv(k, &iov, 1, flags) : -EFAULT;
}

EXPORT ssize_t read(int fd, void *to, size_t n)
{
	struct sock k;

	return sock_get(fd, &k) ? read_one(&k, to, n) : libc()->read(fd, to, n);
}

EXPORT ssize_t __read_chk(int fd, void *to, size_t n, size_t room);
EXPORT ssize_t __read_chk(int fd, void *to, size_t n, size_t room)
{
	struct sock k;

	return n <= room && sock_get(fd, &k) ? read_one(&k, to, n) : libc()->__read_chk(fd, to, n, room);
}

EXPORT ssize_t recv(int fd, void *to, size_t n, int flags)
{
	struct sock k;

	return sock_get(fd, &k) ? ret(recv_one(&k, to, n, flags)) : libc()->recv(fd, to, n, flags);
}

EXPORT ssize_t __recv_chk(int fd, void *to, size_t n, size_t room, int flags);
EXPORT ssize_t __recv_chk(int fd, void *to, size_t n, size_t room, int flags)
{
	struct sock k;

	return n <= room && sock_get(fd, &k) ? ret(recv_one(&k, to, n, flags))
					     : libc()->__recv_chk(fd, to, n, room, flags);
}

/* TCP leaves the address alone and says that it has no length. */
static ssize_t recv_from(struct sock *k, void *to, size_t n, int flags, struct sockaddr *sa, socklen_t *len)
{
	struct iovec iov = { .iov_base = to, .iov_len = n < USER_IO_MAX ? n : USER_IO_MAX };
	socklen_t room;
	ssize_t r;

	if (IS_DGRAM(k))
		return ret(user_range_ok(to, iov.iov_len) ? dgram_recvfrom(k, &iov, 1, flags, sa, len) : -EFAULT);
	r = recv_one(k, to, n, flags);
	if (r < 0 || !sa)
		return ret(r);
	if (user_get(&room, len, sizeof(room)) < 0)
		return ret(-EFAULT);
	if ((int)room < 0)
		return ret(-EINVAL);
	room = 0;
	return user_put(len, &room, sizeof(room)) < 0 ? ret(-EFAULT) : r;
}

EXPORT ssize_t recvfrom(int fd, void *restrict to, size_t n, int flags, struct sockaddr *restrict sa,
			socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? recv_from(&k, to, n, flags, sa, len) : libc()->recvfrom(fd, to, n, flags, sa, len);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *to, size_t n, size_t room, int flags, struct sockaddr *sa, socklen_t *len);
EXPORT ssize_t __recvfrom_chk(int fd, void *to, size_t n, size_t room, int flags, struct sockaddr *sa, socklen_t *len)
{
	struct sock k;

	return n <= room && sock_get(fd, &k) ? recv_from(&k, to, n, flags, sa, len)
					     : libc()->__recvfrom_chk(fd, to, n, room, flags, sa, len);
}

static ssize_t read_vector(struct sock *k, const struct iovec *iov, int count, int flags)
{
	ssize_t n = count < 0 || count > IOV_MAX ? -EINVAL : user_iov_bytes(iov, (size_t)count);

	return ret(n > 0 ? data_recv(k, iov, count, flags) : n);
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int count)
{
	struct sock k;

	return sock_get(fd, &k) ? read_vector(&k, iov, count, 0) : libc()->readv(fd, iov, count);
}

/* --- with a position: a socket has none --- */

EXPORT ssize_t pread(int fd, void *to, size_t n, off_t at)
{
	struct sock k;

	return sock_get(fd, &k) ? ret(at < 0 ? -EINVAL : -ESPIPE) : libc()->pread(fd, to, n, at);
}

EXPORT ssize_t pread64(int fd, void *to, size_t n, off64_t at) __attribute__((alias("pread")));

EXPORT ssize_t __pread_chk(int fd, void *to, size_t n, off_t at, size_t room);
EXPORT ssize_t __pread_chk(int fd, void *to, size_t n, off_t at, size_t room)
{
	struct sock k;

	return n <= room && sock_get(fd, &k) ? ret(at < 0 ? -EINVAL : -ESPIPE) : libc()->__pread_chk(fd, to, n, at, room);
}

EXPORT ssize_t __pread64_chk(int fd, void *to, size_t n, off64_t at, size_t room) __attribute__((alias("__pread_chk")));

EXPORT ssize_t preadv(int fd, const struct iovec *iov, int count, off_t at)
{
	struct sock k;

	return sock_get(fd, &k) ? ret(at < 0 ? -EINVAL : -ESPIPE) : libc()->preadv(fd, iov, count, at);
}

EXPORT ssize_t preadv64(int fd, const struct iovec *iov, int count, off64_t at) __attribute__((alias("preadv")));

/* Position -1 is readv() with flags; for those see RWF_SOCKET. */
EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	struct sock k;

	if (!sock_get(fd, &k))
		return libc()->preadv2(fd, iov, count, at, flags);
	if (at != -1)
		return ret(at < 0 ? -EINVAL : -ESPIPE);
	if (flags & ~RWF_SOCKET)
		return ret(-EOPNOTSUPP);
	return read_vector(&k, iov, count, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
}

EXPORT ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t at, int flags)
	__attribute__((alias("preadv2")));

/* --- messages --- */

static ssize_t recv_msg(struct sock *k, struct msghdr *theirs, int flags)
{
	struct msghdr m;
	ssize_t n;

	if (user_get(&m, theirs, sizeof(m)) < 0)
		return -EFAULT;
	if (m.msg_name && (int)m.msg_namelen < 0)
		return -EINVAL;
	n = m.msg_iovlen > IOV_MAX ? -EMSGSIZE : user_iov_bytes(m.msg_iov, m.msg_iovlen);
	if (n < 0)
		return n;
	n = IS_DGRAM(k) ? dgram_recvmsg(k, &m, flags) : data_recv(k, m.msg_iov, (int)m.msg_iovlen, flags);
	if (n < 0)
		return n;
	if (!IS_DGRAM(k)) {
		m.msg_namelen = m.msg_name ? 0 : m.msg_namelen;
		m.msg_controllen = 0;
		m.msg_flags = flags & MSG_CMSG_CLOEXEC;
		if (flags & MSG_OOB)
			m.msg_flags |= n ? MSG_OOB : MSG_OOB | MSG_TRUNC;
	}
	return user_put(theirs, &m, sizeof(m)) < 0 ? -EFAULT : n;
}

/* Sockets of ours may arrive over a UNIX socket. */
static void adopt_received(struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n = h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS
				   ? (h->cmsg_len - CMSG_LEN(0)) / sizeof(int)
				   : 0;

		for (size_t i = 0; i < n; i++)
			fdtab_adopt(((const int *)(const void *)CMSG_DATA(h))[i]);
	}
	if (shim_attached)
		signal_guard();
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	struct sock k;
	ssize_t r;

	if (sock_get(fd, &k))
		return ret(recv_msg(&k, m, flags));
	r = libc()->recvmsg(fd, m, flags);
	if (r >= 0 && m->msg_controllen)
		adopt_received(m);
	return r;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The time-out is looked at after each message and never ends a wait, as in Linux. */
static ssize_t recv_many(struct sock *k, struct mmsghdr *m, unsigned int n, int flags, const int64_t *end)
{
	int error = flags & MSG_ERRQUEUE || IS_DGRAM(k) ? 0 : data_error(k);
	unsigned int i;

	if (error)
		return -error;
	for (i = 0; i < n; i++) {
		ssize_t r = recv_msg(k, &m[i].msg_hdr, flags & ~MSG_WAITFORONE);
		unsigned int bytes = (unsigned int)r;

		if (r >= 0)
			r = user_put(&m[i].msg_len, &bytes, sizeof(bytes));
		if (r < 0)
			return i ? (ssize_t)i : r;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (end && now_ns() >= *end)
			return (ssize_t)i + 1;
	}
	return (ssize_t)i;
}

static ssize_t recv_timed(struct sock *k, struct mmsghdr *m, unsigned int n, int flags, struct timespec *timeout)
{
	struct timespec t;
	int64_t end, left;
	ssize_t r;

	if (user_get(&t, timeout, sizeof(t)) < 0)
		return -EFAULT;
	if (t.tv_sec < 0 || t.tv_nsec < 0 || t.tv_nsec >= 1000000000)
		return -EINVAL;
	end = t.tv_sec < INT32_MAX ? now_ns() + t.tv_sec * 1000000000LL + t.tv_nsec : INT64_MAX;
	r = recv_many(k, m, n, flags, &end);
	if (r <= 0)
		return r;
	left = end - now_ns();
	t.tv_sec = left > 0 ? left / 1000000000 : 0;
	t.tv_nsec = left > 0 ? left % 1000000000 : 0;
	return user_put(timeout, &t, sizeof(t)) < 0 ? -EFAULT : r;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags, struct timespec *timeout)
{
	struct sock k;
	int r;

	if (!sock_get(fd, &k)) {
		r = libc()->recvmmsg(fd, m, n, flags, timeout);
		for (int i = 0; i < r; i++)
			adopt_received(&m[i].msg_hdr);
		return r;
	}
	return (int)ret(timeout ? recv_timed(&k, m, n, flags, timeout) : recv_many(&k, m, n, flags, NULL));
}
