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

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
};

ssize_t fdpass_send(int sock, const void *bytes, size_t n, const int *fds, int count, int flags)
{
	struct iovec iov = { .iov_base = (void *)(unsigned long)bytes, .iov_len = n };

	return fdpass_sendv(sock, &iov, 1, fds, count, flags);
}

ssize_t fdpass_sendv(int sock, struct iovec *iov, size_t parts, const int *fds, int count, int flags)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = parts };
	union control c;
	struct cmsghdr *h;
	long r;

	if (count > 0) {
		memset(&c, 0, sizeof(c));
		m.msg_control = c.bytes;
		m.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
		memcpy(CMSG_DATA(h), fds, (size_t)count * sizeof(int));
	}
	r = syscall(SYS_sendmsg, sock, &m, flags | MSG_NOSIGNAL);
	return r < 0 ? -errno : r;
}

/* Takes the descriptors of one control header; those beyond `room` are closed. */
static int take_fds(const struct cmsghdr *h, int *fds, int have, int room)
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

ssize_t fdpass_recv(int sock, void *bytes, size_t n, int *fds, int *count, int flags)
{
	struct iovec iov = { .iov_base = bytes, .iov_len = n };

	return fdpass_recvv(sock, &iov, 1, fds, count, flags);
}

ssize_t fdpass_recvv(int sock, struct iovec *iov, size_t parts, int *fds, int *count, int flags)
{
	union control c;
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = parts, .msg_control = c.bytes, .msg_controllen = sizeof(c) };
	int room = *count, have = 0;
	long r;

	*count = 0;
	memset(&c, 0, sizeof(c));
	r = syscall(SYS_recvmsg, sock, &m, flags | MSG_CMSG_CLOEXEC);
	if (r < 0)
		return -errno;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
			have = take_fds(h, fds, have, room);
	*count = have;
	return (m.msg_flags & MSG_TRUNC) ? -EMSGSIZE : r;
}
