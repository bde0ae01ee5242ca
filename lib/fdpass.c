// SPDX-License-Identifier: Apache-2.0
/*
 * fdpass.c - see fdpass.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fdpass.h"

/* Takes the descriptors of one control header; those beyond `room` are closed. */
static int take_some(const struct cmsghdr *h, int *fds, int have, int room)
{
	size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
		if (have < room)
			fds[have++] = fd;
		else
			syscall(SYS_close, fd);
	}
	return have;
}

int fdpass_take(struct msghdr *m, int *fds, int room)
{
	int have = 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
			have = take_some(h, fds, have, room);
	return have;
}

void fdpass_give(struct msghdr *m, void *control, const int *fds, int count)
{
	size_t bytes = (size_t)count * sizeof(int);
	struct cmsghdr *c = control;

	if (count <= 0)
		return;
	memset(control, 0, CMSG_SPACE(bytes));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(bytes);
	memcpy(CMSG_DATA(c), fds, bytes);
	m->msg_control = control;
	m->msg_controllen = CMSG_SPACE(bytes);
}

ssize_t fdpass_send(int sock, const void *bytes, size_t n, const int *fds, int count, int flags)
{
	struct iovec iov = { .iov_base = (void *)(unsigned long)bytes, .iov_len = n };

	return fdpass_sendv(sock, &iov, 1, fds, count, flags);
}

ssize_t fdpass_sendv(int sock, struct iovec *iov, size_t parts, const int *fds, int count, int flags)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = parts };
	union fdpass_control c;
	long r;

	fdpass_give(&m, &c, fds, count);
	r = syscall(SYS_sendmsg, sock, &m, flags | MSG_NOSIGNAL);
	return r < 0 ? -errno : r;
}

ssize_t fdpass_recv(int sock, void *bytes, size_t n, int *fds, int *count, int flags)
{
	struct iovec iov = { .iov_base = bytes, .iov_len = n };

	return fdpass_recvv(sock, &iov, 1, fds, count, flags);
}

ssize_t fdpass_recvv(int sock, struct iovec *iov, size_t parts, int *fds, int *count, int flags)
{
	union fdpass_control c;
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = parts, .msg_control = c.bytes, .msg_controllen = sizeof(c) };
	int room = *count;
	long r;

	*count = 0;
	memset(&c, 0, sizeof(c));
	r = syscall(SYS_recvmsg, sock, &m, flags | MSG_CMSG_CLOEXEC);
	if (r < 0)
		return -errno;
	*count = fdpass_take(&m, fds, room);
	return (m.msg_flags & MSG_TRUNC) ? -EMSGSIZE : r;
}
