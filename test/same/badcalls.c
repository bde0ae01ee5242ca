// SPDX-License-Identifier: Apache-2.0
/*
 * badcalls.c - see badcalls.h.
 * Trust: a test's own processes.
 *
 * GOOD is memory, NONE is not mapped, RO cannot be written, EDGE is the last 8 bytes before NONE, HIGH is the kernel's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <fcntl.h>
#include <unistd.h>

#include "test/same/badcalls.h"

#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#pragma GCC diagnostic ignored "-Wstringop-overread"
#pragma GCC diagnostic ignored "-Wstringop-truncation"

#define D MSG_DONTWAIT
#define N MSG_NOSIGNAL
#define SA(p) ((struct sockaddr *)(void *)(p))

static char *GOOD, *NONE, *RO, *EDGE;
static char *HIGH = (char *)-4096L;
static int dir_fd, null_fd, exe_fd, pipe_in, pipe_out;
/* With room behind them, since a length may say so. */
#define here4  (*(struct sockaddr_in *)(void *)(GOOD + 0x8000))
#define dead4  (*(struct sockaddr_in *)(void *)(GOOD + 0x9000))
#define unspec (*(struct sockaddr_in *)(void *)(GOOD + 0xa000))
#define other  (*(struct sockaddr_in *)(void *)(GOOD + 0xb000))
static struct sockaddr_in6 here6;
static struct sockaddr_un_ { sa_family_t family; char path[108]; } here_un = { AF_UNIX, "/nowhere" };
static struct linger linger0 = { 1, 0 };
static struct timeval bad_time = { 0, 2000000 };
static struct timespec bad_timeout = { -1, 0 }, no_time = { 0, 0 };
static struct iovec v_good, v_none, v_high, v_edge[2], v_zero[2], v_negative, v_huge[2], many[1025];
static struct msghdr m_good, m_noiov, m_none, m_badiov, m_many, m_name, m_badname, m_control, m_badcontrol, m_negative,
	m_zero, m_rights, m_unknown, m_shortcontrol, m_credentials;
static struct mmsghdr mm_good[2], mm_bad[2];
static union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } rights, unknown, credentials;
static int one = 1;

static int *number(void)
{
	static int n;

	n = 1;
	return &n;
}

static socklen_t *length(socklen_t n)
{
	static socklen_t l;

	l = n;
	return &l;
}

static off_t *offset(off_t at)
{
	static off_t o;

	o = at;
	return &o;
}

/* The call, then what else it said. */
static long both(long r, long also)
{
	return r < 0 ? r : r * 1000000 + also;
}

static long recv_name(int fd)
{
	struct sockaddr_in a = { 0 };
	socklen_t n = sizeof(a);
	long r = recvfrom(fd, GOOD, 10, D, SA(&a), &n);

	return both(r, (long)n * 100 + a.sin_family);
}

static long recv_msg_says(int fd)
{
	struct sockaddr_in a = { 0 };
	struct iovec v = { GOOD, 10 };
	struct msghdr m = { &a, sizeof(a), &v, 1, GOOD + 100, 64, MSG_OOB };
	long r = recvmsg(fd, &m, D);

	return both(r, (long)m.msg_namelen * 100 + (long)m.msg_controllen * 10 + m.msg_flags);
}

static long unread(int fd)
{
	int n = -1;
	long r = ioctl(fd, FIONREAD, &n);

	return both(r, n);
}

static long twice(int fd)
{
	long r = recv(fd, NONE, 10, D);

	return r < 0 && errno == EFAULT ? both(recv(fd, GOOD, 1000, D), 7) : r;
}

static long send_twice(int fd)
{
	long r = send(fd, NONE, 10, D | N);

	return r < 0 && errno == EFAULT ? both(send(fd, GOOD, 10, D | N), 7) : r;
}

static long self_connect(int fd)
{
	struct sockaddr_in a = { 0 };
	socklen_t n = sizeof(a);

	return getsockname(fd, SA(&a), &n) < 0 ? -1 : connect(fd, SA(&a), sizeof(a));
}

static long bind_twice(int fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int other_fd = socket(AF_INET, SOCK_STREAM, 0), r;
	socklen_t n = sizeof(a);

	r = bind(other_fd, SA(&a), n) < 0 || getsockname(other_fd, SA(&a), &n) < 0 ? -1 : bind(fd, SA(&a), n);
	if (r < 0)
		n = (socklen_t)errno;
	close(other_fd);
	if (r < 0)
		errno = (int)n;
	return r;
}

static long error_after(int fd)
{
	int error = 0;
	socklen_t n = sizeof(error);
	long r = send(fd, GOOD, 1, D | N);

	return r < 0 ? r : both(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n), error);
}

#define CALLS(X) \
	X(read(fd, NULL, 10)) X(read(fd, NONE, 10)) X(read(fd, RO, 10)) X(read(fd, EDGE, 8)) X(read(fd, EDGE, 9)) \
	X(read(fd, HIGH, 10)) X(read(fd, NULL, 0)) X(read(fd, NONE, 0)) X(read(fd, GOOD, 0)) X(read(fd, GOOD, SIZE_MAX)) \
	X(read(fd, GOOD, SSIZE_MAX)) X(recv(fd, GOOD, 0, D)) X(recv(fd, GOOD, 0, 0)) X(recv(fd, NULL, 10, D)) \
	X(recv(fd, NONE, 10, D)) X(recv(fd, RO, 10, D)) X(recv(fd, EDGE, 9, D)) X(recv(fd, HIGH, 10, D)) \
	X(recv(fd, GOOD, SIZE_MAX, D)) X(recv(fd, GOOD, 10, D)) X(recv(fd, GOOD, 10, 0)) X(recv(fd, GOOD, 10, MSG_PEEK | D)) \
	X(recv(fd, NULL, 10, MSG_TRUNC | D)) X(recv(fd, NONE, 10, MSG_PEEK | D)) X(recv(fd, GOOD, 200, MSG_WAITALL)) \
	X(recv(fd, GOOD, 200, MSG_WAITALL | D)) X(recv(fd, GOOD, 200, MSG_WAITALL | MSG_PEEK | D)) \
	X(recv(fd, GOOD, 10, MSG_OOB | D)) X(recv(fd, GOOD, 10, MSG_ERRQUEUE | D)) X(recv(fd, GOOD, 10, MSG_CMSG_CLOEXEC | D)) \
	X(recv(fd, GOOD, 10, MSG_NOSIGNAL | D)) X(recv(fd, GOOD, 10, 0x1000000 | D)) X(twice(fd)) X(unread(fd)) \
	X(recvfrom(fd, GOOD, 10, D, SA(NONE), length(16))) X(recvfrom(fd, GOOD, 10, D, SA(&here4), (socklen_t *)(void *)NONE)) \
	X(recvfrom(fd, GOOD, 10, D, SA(&other), NULL)) X(recvfrom(fd, GOOD, 10, D, NULL, length(16))) \
	X(recvfrom(fd, GOOD, 10, D, SA(&other), length(-1))) X(recv_name(fd)) X(recv_msg_says(fd)) \
	X(readv(fd, &v_good, 1)) X(readv(fd, NULL, 1)) X(readv(fd, NULL, 0)) X(readv(fd, &v_good, -1)) X(readv(fd, many, 1025)) \
	X(readv(fd, many, 1024)) X(readv(fd, (struct iovec *)(void *)NONE, 1)) X(readv(fd, &v_none, 1)) X(readv(fd, &v_high, 1)) \
	X(readv(fd, v_edge, 2)) X(readv(fd, v_zero, 2)) X(readv(fd, &v_negative, 1)) X(readv(fd, v_huge, 2)) \
	X(preadv(fd, &v_good, 1, 0)) X(preadv(fd, &v_good, 1, -1)) X(preadv2(fd, &v_good, 1, 0, 0)) \
	X(preadv2(fd, &v_good, 1, -1, 0)) X(preadv2(fd, &v_good, 1, -1, RWF_NOWAIT)) X(preadv2(fd, &v_good, 1, -1, 0x40000000)) \
	X(preadv2(fd, &v_good, 1, -2, 0)) X(preadv2(fd, NULL, 1, -1, 0)) \
	X(pread(fd, GOOD, 10, 0)) X(pread(fd, GOOD, 10, -1)) X(pread(fd, NONE, 10, 0)) X(pwrite(fd, GOOD, 10, 0)) \
	X(pwrite(fd, GOOD, 10, -1)) X(pwritev(fd, &v_good, 1, 0)) X(pwritev2(fd, &v_good, 1, -1, 0)) \
	X(pwritev2(fd, &v_good, 1, 5, 0)) X(pwritev2(fd, &v_good, 1, -1, RWF_NOWAIT)) \
	X(recvmsg(fd, &m_good, D)) X(recvmsg(fd, NULL, D)) X(recvmsg(fd, (struct msghdr *)(void *)NONE, D)) \
	X(recvmsg(fd, (struct msghdr *)(void *)RO, D)) X(recvmsg(fd, &m_noiov, D)) X(recvmsg(fd, &m_none, D)) \
	X(recvmsg(fd, &m_badiov, D)) X(recvmsg(fd, &m_many, D)) X(recvmsg(fd, &m_badname, D)) X(recvmsg(fd, &m_badcontrol, D)) \
	X(recvmsg(fd, &m_negative, D)) X(recvmsg(fd, &m_zero, D)) X(recvmmsg(fd, mm_good, 2, D, NULL)) \
	X(recvmmsg(fd, mm_good, 2, MSG_WAITFORONE, NULL)) X(recvmmsg(fd, mm_good, 0, D, NULL)) X(recvmmsg(fd, mm_bad, 2, D, NULL)) \
	X(recvmmsg(fd, NULL, 1, D, NULL)) X(recvmmsg(fd, mm_good, 2, D, &bad_timeout)) X(recvmmsg(fd, mm_good, 2, D, &no_time)) \
	X(recvmmsg(fd, mm_good, 2, D, (struct timespec *)(void *)NONE)) \
	X(write(fd, NULL, 10)) X(write(fd, NONE, 10)) X(write(fd, EDGE, 8)) X(write(fd, EDGE, 9)) X(write(fd, HIGH, 10)) \
	X(write(fd, NULL, 0)) X(write(fd, GOOD, 0)) X(write(fd, GOOD, SIZE_MAX)) X(write(fd, GOOD, 10)) X(send(fd, GOOD, 0, D)) \
	X(send(fd, NULL, 10, D)) X(send(fd, NONE, 10, D)) X(send(fd, EDGE, 9, D)) X(send(fd, HIGH, 10, D)) X(send_twice(fd)) \
	X(send(fd, GOOD, 10, D)) X(send(fd, GOOD, 10, D | N)) X(send(fd, GOOD, 10, MSG_MORE | D)) \
	X(send(fd, GOOD, 10, MSG_FASTOPEN | D)) X(send(fd, GOOD, 10, MSG_ZEROCOPY | D)) X(send(fd, GOOD, 10, MSG_PEEK | D)) \
	X(send(fd, GOOD, 10, MSG_TRUNC | MSG_WAITALL | MSG_EOR | D)) X(send(fd, GOOD, 10, 0x1000000 | D)) X(error_after(fd)) \
	X(sendto(fd, GOOD, 10, D, SA(&other), 16)) X(sendto(fd, GOOD, 10, D, SA(NONE), 16)) X(sendto(fd, GOOD, 10, D, SA(&other), -1)) \
	X(sendto(fd, GOOD, 10, D, SA(&other), 1000)) X(sendto(fd, GOOD, 10, D, NULL, 16)) X(sendto(fd, GOOD, 10, D, SA(&other), 1)) \
	X(sendto(fd, GOOD, 10, MSG_FASTOPEN | D, SA(&dead4), 16)) X(sendto(fd, GOOD, 10, MSG_FASTOPEN | D, SA(&dead4), 1)) \
	X(writev(fd, &v_good, 1)) X(writev(fd, NULL, 1)) X(writev(fd, NULL, 0)) X(writev(fd, &v_good, -1)) X(writev(fd, many, 1025)) \
	X(writev(fd, many, 1024)) X(writev(fd, (struct iovec *)(void *)NONE, 1)) X(writev(fd, &v_none, 1)) X(writev(fd, &v_high, 1)) \
	X(writev(fd, v_edge, 2)) X(writev(fd, v_zero, 2)) X(writev(fd, &v_negative, 1)) \
	X(sendmsg(fd, &m_good, D)) X(sendmsg(fd, NULL, D)) X(sendmsg(fd, (struct msghdr *)(void *)NONE, D)) \
	X(sendmsg(fd, &m_noiov, D)) X(sendmsg(fd, &m_none, D)) X(sendmsg(fd, &m_badiov, D)) X(sendmsg(fd, &m_many, D)) \
	X(sendmsg(fd, &m_name, D)) X(sendmsg(fd, &m_badname, D)) X(sendmsg(fd, &m_control, D)) X(sendmsg(fd, &m_badcontrol, D)) \
	X(sendmsg(fd, &m_negative, D)) X(sendmsg(fd, &m_zero, D)) X(sendmsg(fd, &m_rights, D)) X(sendmsg(fd, &m_unknown, D)) \
	X(sendmsg(fd, &m_shortcontrol, D)) X(sendmsg(fd, &m_credentials, D)) \
	X(sendmmsg(fd, mm_good, 2, D)) X(sendmmsg(fd, mm_good, 0, D)) X(sendmmsg(fd, mm_bad, 2, D)) X(sendmmsg(fd, NULL, 1, D)) \
	X(sendfile(fd, dir_fd, NULL, 10)) X(sendfile(fd, -1, NULL, 10)) X(sendfile(fd, exe_fd, NULL, 10)) \
	X(sendfile(fd, exe_fd, offset(0), 10)) X(sendfile(fd, exe_fd, offset(-1), 10)) X(sendfile(fd, exe_fd, NULL, 0)) \
	X(sendfile(fd, exe_fd, (off_t *)(void *)NONE, 10)) X(sendfile(fd, exe_fd, (off_t *)(void *)RO, 10)) \
	X(sendfile(fd, exe_fd, offset(1 << 30), 10)) X(sendfile(fd, exe_fd, NULL, SIZE_MAX)) X(sendfile(fd, pipe_in, NULL, 10)) \
	X(sendfile(fd, pipe_in, offset(0), 10)) X(sendfile(fd, null_fd, NULL, 10)) X(sendfile(fd, fd, NULL, 10)) \
	X(sendfile(null_fd, fd, NULL, 10)) X(sendfile(-1, fd, NULL, 10)) \
	X(splice(fd, NULL, null_fd, NULL, 10, SPLICE_F_NONBLOCK)) X(splice(fd, NULL, pipe_out, NULL, 10, SPLICE_F_NONBLOCK)) X(splice(fd, NULL, fd, NULL, 10, SPLICE_F_NONBLOCK)) \
	X(splice(fd, offset(0), pipe_out, NULL, 10, SPLICE_F_NONBLOCK)) X(splice(pipe_in, offset(0), fd, NULL, 10, SPLICE_F_NONBLOCK)) \
	X(splice(pipe_in, NULL, fd, offset(0), 10, SPLICE_F_NONBLOCK)) X(splice(fd, NULL, pipe_out, NULL, 0, 0)) \
	X(splice(fd, NULL, pipe_out, NULL, 10, 0x100)) X(splice(pipe_in, NULL, fd, NULL, 10, SPLICE_F_NONBLOCK)) \
	X(tee(fd, pipe_out, 10, SPLICE_F_NONBLOCK)) X(tee(pipe_in, fd, 10, SPLICE_F_NONBLOCK)) \
	X(vmsplice(fd, &v_good, 1, SPLICE_F_NONBLOCK)) X(copy_file_range(exe_fd, NULL, fd, NULL, 10, 0)) \
	X(copy_file_range(fd, NULL, null_fd, NULL, 10, 0)) X(lseek(fd, 0, SEEK_SET)) X(ftruncate(fd, 0)) X(fsync(fd)) \
	X(fdatasync(fd)) X(isatty(fd)) X(posix_fadvise(fd, 0, 0, 0)) X(posix_fallocate(fd, 0, 10)) X(fallocate(fd, 0, 0, 10)) \
	X(readahead(fd, 0, 10)) X(sync_file_range(fd, 0, 10, 0)) \
	X(bind(fd, SA(&here4), 16)) X(bind(fd, NULL, 16)) X(bind(fd, SA(NONE), 16)) X(bind(fd, SA(&here4), 15)) X(bind(fd, SA(&here4), 0)) \
	X(bind(fd, SA(&here4), 1)) X(bind(fd, SA(&here4), -1)) X(bind(fd, SA(&here4), 128)) X(bind(fd, SA(&here4), 129)) \
	X(bind(fd, SA(&here6), 28)) X(bind(fd, SA(&here_un), 110)) X(bind(fd, SA(&other), 16)) X(bind(fd, SA(&unspec), 16)) \
	X(bind(fd, NULL, 0)) X(bind_twice(fd)) \
	X(listen(fd, 5)) X(listen(fd, 0)) X(listen(fd, -1)) X(listen(fd, INT_MAX)) \
	X(accept4(fd, NULL, NULL, 0x10)) X(accept4(fd, SA(NONE), NULL, 0)) X(accept(fd, SA(GOOD), length(-1))) \
	X(accept(fd, SA(GOOD), (socklen_t *)(void *)NONE)) X(accept(fd, NULL, NULL)) \
	X(connect(fd, SA(&dead4), 16)) X(connect(fd, NULL, 16)) X(connect(fd, SA(NONE), 16)) X(connect(fd, SA(&dead4), 15)) \
	X(connect(fd, SA(&dead4), 0)) X(connect(fd, SA(&dead4), 1)) X(connect(fd, SA(&dead4), -1)) X(connect(fd, SA(&dead4), 129)) \
	X(connect(fd, SA(&here6), 28)) X(connect(fd, SA(&here_un), 110)) X(connect(fd, SA(&unspec), 16)) X(connect(fd, SA(&unspec), 2)) \
	X(connect(fd, NULL, 0)) X(self_connect(fd)) \
	X(shutdown(fd, SHUT_RD)) X(shutdown(fd, SHUT_WR)) X(shutdown(fd, SHUT_RDWR)) X(shutdown(fd, 3)) X(shutdown(fd, -1)) \
	X(getsockname(fd, SA(GOOD), length(16))) X(getsockname(fd, NULL, length(16))) X(getsockname(fd, SA(NONE), length(16))) \
	X(getsockname(fd, SA(GOOD), NULL)) X(getsockname(fd, SA(GOOD), length(-1))) X(getsockname(fd, NULL, length(0))) \
	X(getsockname(fd, SA(GOOD), (socklen_t *)(void *)NONE)) X(getsockname(fd, SA(GOOD), (socklen_t *)(void *)RO)) \
	X(getpeername(fd, SA(GOOD), length(16))) X(getpeername(fd, NULL, length(16))) X(getpeername(fd, SA(GOOD), NULL)) \
	X(getpeername(fd, SA(GOOD), length(-1))) X(getpeername(fd, SA(GOOD), length(4))) \
	X(getsockopt(fd, SOL_SOCKET, SO_ERROR, GOOD, length(4))) X(getsockopt(fd, SOL_SOCKET, SO_TYPE, NULL, length(4))) \
	X(getsockopt(fd, SOL_SOCKET, SO_TYPE, NONE, length(4))) X(getsockopt(fd, SOL_SOCKET, SO_TYPE, GOOD, NULL)) \
	X(getsockopt(fd, SOL_SOCKET, SO_TYPE, GOOD, length(-1))) X(getsockopt(fd, SOL_SOCKET, SO_TYPE, GOOD, length(0))) \
	X(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NONE, length(4))) \
	X(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, GOOD, (socklen_t *)(void *)RO)) \
	X(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, 4)) X(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4)) \
	X(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NONE, 4)) X(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, 3)) \
	X(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, -1)) X(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, 0)) \
	X(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger0, 7)) X(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bad_time, 16)) \
	X(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, NONE, 4)) X(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, 2)) \
	X(setsockopt(fd, 12345, 1, &one, 4)) \
	X(ioctl(fd, FIONREAD, NULL)) X(ioctl(fd, FIONREAD, NONE)) X(ioctl(fd, SIOCOUTQ, NONE)) X(ioctl(fd, SIOCOUTQ, GOOD)) \
	X(ioctl(fd, SIOCATMARK, GOOD)) X(ioctl(fd, SIOCATMARK, NONE)) X(sockatmark(fd)) X(ioctl(fd, SIOCOUTQNSD, GOOD)) \
	X(ioctl(fd, FIONBIO, number())) X(ioctl(fd, FIONBIO, NONE)) X(ioctl(fd, TCGETS_, GOOD)) X(ioctl(fd, 0x12345678, GOOD)) \
	X(isfdtype(fd, S_IFSOCK)) X(fcntl(fd, F_GETOWN)) X(fcntl(fd, F_SETOWN, getpid())) X(fcntl(fd, F_GETFL)) X(fcntl(fd, 12345)) \
	X(fcntl(fd, F_GETPIPE_SZ)) X(fcntl(fd, F_SETLEASE, F_RDLCK)) X(dup2(fd, -1)) X(dup3(fd, fd, 0)) X(dup2(fd, 1 << 30) < 0)

#define TCGETS_ 0x5401

#define TEXT(expression) #expression,
const char *const badcalls[] = { CALLS(TEXT) };
const int badcalls_count = sizeof(badcalls) / sizeof(badcalls[0]);

long badcalls_do(int n, int fd)
{
	int at = 0;

#define CASE(expression) \
	if (n == at++) \
		return (long)(expression);
	CALLS(CASE)
	return -1;
}

static void map_memory(void)
{
	char *m = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		exit(1);
	memset(m, 'x', 16 * 4096);
	GOOD = m;
	RO = m + 14 * 4096;
	mprotect(RO, 4096, PROT_READ);
	NONE = m + 13 * 4096;
	munmap(NONE, 4096);
	EDGE = NONE - 8;
}

static struct iovec piece(void *base, size_t n)
{
	return (struct iovec){ .iov_base = base, .iov_len = n };
}

static void make_vectors(void)
{
	v_good = piece(GOOD, 10);
	v_none = piece(NONE, 10);
	v_high = piece(HIGH, 10);
	v_edge[0] = piece(GOOD, 8);
	v_edge[1] = piece(NONE, 2);
	v_zero[0] = v_zero[1] = piece(NONE, 0);
	v_negative = piece(GOOD, SIZE_MAX);
	v_huge[0] = v_huge[1] = piece(GOOD, SSIZE_MAX);
	for (int i = 0; i < 1025; i++)
		many[i] = piece(GOOD, 1);
}

static struct msghdr message(struct iovec *v, size_t count)
{
	return (struct msghdr){ .msg_iov = v, .msg_iovlen = count };
}

static struct msghdr with_control(void *control, size_t n)
{
	struct msghdr m = message(&v_good, 1);

	m.msg_control = control;
	m.msg_controllen = n;
	return m;
}

static struct msghdr with_name(void *name, socklen_t n)
{
	struct msghdr m = message(&v_good, 1);

	m.msg_name = name;
	m.msg_namelen = n;
	return m;
}

static void make_control(void)
{
	const struct cmsghdr h = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };

	rights.h = unknown.h = credentials.h = h;
	unknown.h.cmsg_level = IPPROTO_TCP;
	credentials.h.cmsg_type = SCM_CREDENTIALS;
	m_rights = with_control(&rights, sizeof(rights));
	m_unknown = with_control(&unknown, sizeof(unknown));
	m_credentials = with_control(&credentials, sizeof(credentials));
	m_shortcontrol = with_control(&rights, 4);
	m_control = with_control(GOOD, 64);
	m_badcontrol = with_control(NONE, 64);
}

static void make_messages(void)
{
	m_good = message(&v_good, 1);
	m_noiov = message(NULL, 0);
	m_none = message(&v_none, 1);
	m_badiov = message((struct iovec *)(void *)NONE, 1);
	m_many = message(many, 1025);
	m_name = with_name(&other, sizeof(other));
	m_badname = with_name(NONE, 16);
	m_negative = with_name(GOOD, (socklen_t)-1);
	m_zero = message(v_zero, 2);
	mm_good[0].msg_hdr = mm_good[1].msg_hdr = mm_bad[0].msg_hdr = m_good;
	mm_bad[1].msg_hdr = m_none;
}

static void make_addresses(void)
{
	here4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	dead4 = here4;
	dead4.sin_port = htons(1); /* nobody listens */
	unspec = (struct sockaddr_in){ .sin_family = AF_UNSPEC };
	other = here4;
	other.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1: for documentation, nobody's */
	here6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
}

void badcalls_init(void)
{
	int p[2];

	map_memory();
	make_addresses();
	make_vectors();
	make_messages();
	make_control();
	dir_fd = open("/", O_RDONLY);
	null_fd = open("/dev/null", O_WRONLY);
	exe_fd = open("/proc/self/exe", O_RDONLY);
	if (pipe2(p, O_NONBLOCK) < 0 || write(p[1], "0123456789", 10) != 10)
		exit(1);
	pipe_in = p[0];
	pipe_out = p[1];
}
