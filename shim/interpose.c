// SPDX-License-Identifier: Apache-2.0
/*
 * interpose.c - one short function for each libc name: ours, or the real one.
 * Trust: arguments are the application's own.
 *
 * The only place where -errno becomes errno and -1.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "shim/libc.h"
#include "shim/shim.h"

#define EXPORT __attribute__((visibility("default")))

static ssize_t ret(ssize_t r)
{
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

/* --- naming --- */

EXPORT int socket(int domain, int type, int protocol)
{
	int r = sock_create(domain, type, protocol, MW_LANE_RING);

	return r == -ENOSYS ? libc()->socket(domain, type, protocol) : (int)ret(r);
}

EXPORT int bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_bind(&k, sa, len)) : libc()->bind(fd, sa, len);
}

EXPORT int listen(int fd, int backlog)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_listen(&k, backlog)) : libc()->listen(fd, backlog);
}

EXPORT int accept4(int fd, struct sockaddr *restrict sa, socklen_t *restrict len, int flags)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_accept(&k, sa, len, flags)) : libc()->accept4(fd, sa, len, flags);
}

EXPORT int accept(int fd, struct sockaddr *restrict sa, socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_accept(&k, sa, len, 0)) : libc()->accept(fd, sa, len);
}

EXPORT int connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_connect(&k, sa, len)) : libc()->connect(fd, sa, len);
}

EXPORT int shutdown(int fd, int how)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_shutdown(&k, how)) : libc()->shutdown(fd, how);
}

EXPORT int getsockname(int fd, struct sockaddr *restrict sa, socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_name(&k, sa, len, false)) : libc()->getsockname(fd, sa, len);
}

EXPORT int getpeername(int fd, struct sockaddr *restrict sa, socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(sock_name(&k, sa, len, true)) : libc()->getpeername(fd, sa, len);
}

EXPORT int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(option_get(&k, level, name, value, len))
				: libc()->getsockopt(fd, level, name, value, len);
}

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct sock k;

	return sock_get(fd, &k) ? (int)ret(option_set(&k, level, name, value, len))
				: libc()->setsockopt(fd, level, name, value, len);
}

/* --- receiving --- */

static ssize_t recv_one(struct sock *k, void *to, size_t n, int flags)
{
	struct iovec iov = { .iov_base = to, .iov_len = n };

	return ret(data_recv(k, &iov, 1, flags));
}

/* Linux reads nothing from a socket, and leaves the datagram, when nothing is wanted; recv() takes it. */
static ssize_t read_one(struct sock *k, void *to, size_t n)
{
	return n ? recv_one(k, to, n, 0) : 0;
}

EXPORT ssize_t read(int fd, void *to, size_t n)
{
	struct sock k;

	return sock_get(fd, &k) ? read_one(&k, to, n) : libc()->read(fd, to, n);
}

EXPORT ssize_t recv(int fd, void *to, size_t n, int flags)
{
	struct sock k;

	return sock_get(fd, &k) ? recv_one(&k, to, n, flags) : libc()->recv(fd, to, n, flags);
}

/* TCP leaves the address alone and says that it has no length. */
static ssize_t recv_from(struct sock *k, void *to, size_t n, int flags, const struct sockaddr *sa, socklen_t *len)
{
	struct iovec iov = { .iov_base = to, .iov_len = n };
	ssize_t r;

	if (IS_DGRAM(k))
		return ret(dgram_recvfrom(k, &iov, 1, flags, (struct sockaddr *)(unsigned long)sa, len));
	r = recv_one(k, to, n, flags);
	if (r >= 0 && sa && len)
		*len = 0;
	return r;
}

EXPORT ssize_t recvfrom(int fd, void *restrict to, size_t n, int flags, struct sockaddr *restrict sa,
			socklen_t *restrict len)
{
	struct sock k;

	return sock_get(fd, &k) ? recv_from(&k, to, n, flags, sa, len) : libc()->recvfrom(fd, to, n, flags, sa, len);
}

EXPORT ssize_t __read_chk(int fd, void *to, size_t n, size_t room);
EXPORT ssize_t __read_chk(int fd, void *to, size_t n, size_t room)
{
	struct sock k;

	return n <= room && sock_get(fd, &k) ? read_one(&k, to, n) : libc()->__read_chk(fd, to, n, room);
}

EXPORT ssize_t __recv_chk(int fd, void *to, size_t n, size_t room, int flags);
EXPORT ssize_t __recv_chk(int fd, void *to, size_t n, size_t room, int flags)
{
	struct sock k;

	return n <= room && sock_get(fd, &k) ? recv_one(&k, to, n, flags)
					     : libc()->__recv_chk(fd, to, n, room, flags);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *to, size_t n, size_t room, int flags, struct sockaddr *sa, socklen_t *len);
EXPORT ssize_t __recvfrom_chk(int fd, void *to, size_t n, size_t room, int flags, struct sockaddr *sa, socklen_t *len)
{
	struct sock k;

	return n <= room && sock_get(fd, &k) ? recv_from(&k, to, n, flags, sa, len)
					     : libc()->__recvfrom_chk(fd, to, n, room, flags, sa, len);
}

static bool iov_ok(const struct iovec *iov, int count)
{
	return count >= 0 && count <= IOV_MAX && (iov || !count);
}

/* readv() and writev() of nothing do nothing: not even an empty datagram comes or goes. */
static bool iov_none(const struct iovec *iov, int count)
{
	for (int i = 0; i < count && iov_ok(iov, count); i++)
		if (iov[i].iov_len)
			return false;
	return iov_ok(iov, count);
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int count)
{
	struct sock k;

	if (!sock_get(fd, &k))
		return libc()->readv(fd, iov, count);
	if (iov_none(iov, count))
		return 0;
	return ret(iov_ok(iov, count) ? data_recv(&k, iov, count, 0) : -EINVAL);
}

static ssize_t recv_msg(struct sock *k, struct msghdr *m, int flags)
{
	ssize_t r;

	if (!iov_ok(m->msg_iov, m->msg_iovlen > IOV_MAX ? -1 : (int)m->msg_iovlen))
		return -EMSGSIZE;
	if (IS_DGRAM(k))
		return dgram_recvmsg(k, m, flags);
	r = data_recv(k, m->msg_iov, (int)m->msg_iovlen, flags);
	if (r >= 0) {
		m->msg_namelen = 0;
		m->msg_controllen = 0;
		m->msg_flags = 0;
	}
	return r;
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

EXPORT int recvmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags, struct timespec *timeout)
{
	struct sock k;
	ssize_t r = 0;
	unsigned int i;

	if (!sock_get(fd, &k)) {
		r = libc()->recvmmsg(fd, m, n, flags, timeout);
		for (ssize_t at = 0; at < r; at++)
			adopt_received(&m[at].msg_hdr);
		return (int)r;
	}
	if (IS_DGRAM(&k))
		return (int)ret(dgram_recvmmsg(&k, m, n, flags, timeout));
	for (i = 0; i < n; i++) {
		r = recv_msg(&k, &m[i].msg_hdr, flags & ~MSG_WAITFORONE);
		if (r < 0)
			break;
		m[i].msg_len = (unsigned int)r;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
	}
	return i ? (int)i : (int)ret(r);
}

/* --- sending --- */

static ssize_t send_one(struct sock *k, const void *from, size_t n, int flags)
{
	struct iovec iov = { .iov_base = (void *)(unsigned long)from, .iov_len = n };

	return ret(data_send(k, &iov, 1, flags));
}

EXPORT ssize_t write(int fd, const void *from, size_t n)
{
	struct sock k;

	return sock_get(fd, &k) ? send_one(&k, from, n, 0) : libc()->write(fd, from, n);
}

EXPORT ssize_t send(int fd, const void *from, size_t n, int flags)
{
	struct sock k;

	return sock_get(fd, &k) ? send_one(&k, from, n, flags) : libc()->send(fd, from, n, flags);
}

/* A TCP socket ignores the address, as Linux does. */
EXPORT ssize_t sendto(int fd, const void *from, size_t n, int flags, const struct sockaddr *sa, socklen_t len)
{
	struct iovec iov = { .iov_base = (void *)(unsigned long)from, .iov_len = n };
	struct sock k;

	if (sock_get(fd, &k) && IS_DGRAM(&k))
		return ret(dgram_sendto(&k, &iov, 1, flags, sa, len));
	return sock_get(fd, &k) ? send_one(&k, from, n, flags) : libc()->sendto(fd, from, n, flags, sa, len);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
	struct sock k;

	if (!sock_get(fd, &k))
		return libc()->writev(fd, iov, count);
	if (iov_none(iov, count))
		return 0;
	return ret(iov_ok(iov, count) ? data_send(&k, iov, count, 0) : -EINVAL);
}

static ssize_t send_msg(struct sock *k, const struct msghdr *m, int flags)
{
	if (!iov_ok(m->msg_iov, m->msg_iovlen > IOV_MAX ? -1 : (int)m->msg_iovlen))
		return -EMSGSIZE;
	if (IS_DGRAM(k))
		return dgram_sendmsg(k, m, flags);
	if (m->msg_controllen)
		return -EINVAL; /* TCP carries no descriptors; the rest comes with the next issue */
	return data_send(k, m->msg_iov, (int)m->msg_iovlen, flags);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct sock k;

	return sock_get(fd, &k) ? ret(send_msg(&k, m, flags)) : libc()->sendmsg(fd, m, flags);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags)
{
	struct sock k;
	ssize_t r = 0;
	unsigned int i;

	if (!sock_get(fd, &k))
		return libc()->sendmmsg(fd, m, n, flags);
	for (i = 0; i < n; i++) {
		r = send_msg(&k, &m[i].msg_hdr, flags);
		if (r < 0)
			break;
		m[i].msg_len = (unsigned int)r;
	}
	return i ? (int)i : (int)ret(r);
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
	struct sock k;

	if (sock_get(in, &k))
		return ret(-EINVAL); /* sockets cannot be read from this way */
	return sock_get(out, &k) ? ret(data_sendfile(&k, in, offset, count)) : libc()->sendfile(out, in, offset, count);
}

EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t count)
{
	return sendfile(out, in, offset, count);
}

EXPORT ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned int flags)
{
	struct sock k;

	if (!sock_get(in, &k) && !sock_get(out, &k))
		return libc()->splice(in, in_at, out, out_at, n, flags);
	return ret(splice_sock(in, in_at, out, out_at, n, flags));
}

/* --- descriptors --- */

EXPORT int close(int fd)
{
	struct sock k;
	bool ours = sock_get(fd, &k);
	int r;

	if (attach_owns(fd) && in_own_process())
		return (int)ret(-EBADF); /* the application does not have it */
	pthread_testcancel(); /* before anything is forgotten */
	fdtab_clear(fd);
	r = libc()->close(fd);
	if (ours)
		twin_settle(&k);
	return r;
}

EXPORT int fclose(FILE *f)
{
	fdtab_clear(fileno(f));
	return libc()->fclose(f);
}

/* Closes a range around our own descriptors. */
static int close_around(unsigned int first, unsigned int last, int flags)
{
	int r = 0;

	for (int ours = attach_next(first); ours >= 0 && (unsigned int)ours <= last; ours = attach_next(first)) {
		if ((unsigned int)ours > first)
			r |= libc()->close_range(first, (unsigned int)ours - 1, flags);
		first = (unsigned int)ours + 1;
	}
	return first <= last ? r | libc()->close_range(first, last, flags) : r;
}

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	if (first > last || !in_own_process())
		return libc()->close_range(first, last, flags);
	if (!(flags & (int)CLOSE_RANGE_CLOEXEC))
		fdtab_clear_from(first, last);
	return close_around(first, last, flags);
}

EXPORT void closefrom(int first)
{
	close_range(first > 0 ? (unsigned int)first : 0, ~0u, 0);
}

EXPORT int dup(int fd)
{
	int r = libc()->dup(fd);

	if (r >= 0)
		fdtab_copy(fd, r);
	return r;
}

static int make_way(int fd)
{
	return attach_owns(fd) && in_own_process() ? attach_move(fd) : 0;
}

EXPORT int dup2(int from, int to)
{
	int r = make_way(to);

	if (r < 0)
		return (int)ret(r);
	r = libc()->dup2(from, to);
	if (r >= 0)
		fdtab_copy(from, to);
	return r;
}

EXPORT int dup3(int from, int to, int flags)
{
	int r = make_way(to);

	if (r < 0)
		return (int)ret(r);
	r = libc()->dup3(from, to, flags);
	if (r >= 0)
		fdtab_copy(from, to);
	return r;
}

static int fcntl_any(int fd, int command, void *argument)
{
	int r = libc()->fcntl64(fd, command, argument);

	if (r >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC))
		fdtab_copy(fd, r);
	return r;
}

EXPORT int fcntl(int fd, int command, ...)
{
	va_list ap;
	void *argument;

	va_start(ap, command);
	argument = va_arg(ap, void *);
	va_end(ap);
	return fcntl_any(fd, command, argument);
}

EXPORT int fcntl64(int fd, int command, ...)
{
	va_list ap;
	void *argument;

	va_start(ap, command);
	argument = va_arg(ap, void *);
	va_end(ap);
	return fcntl_any(fd, command, argument);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	struct sock k;
	va_list ap;
	void *argument;
	int r;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	r = sock_get(fd, &k) ? option_ioctl(&k, request, argument) : -ENOSYS;
	return r == -ENOSYS ? libc()->ioctl(fd, request, argument) : (int)ret(r);
}
