// SPDX-License-Identifier: Apache-2.0
/*
 * names_ask.c - one lookup's way to the resolver process and back.
 * Trust: the reply is bounded before memory is made for it, and checked before anybody looks at it.
 *
 * A connection for each lookup, by the abstract name in the application's own network namespace: nothing to keep over fork, exec,
 * chroot or the closing of descriptors, and between two lookups there is no descriptor. Raw system calls: libc's names are ours.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fdpass.h"
#include "link/device.h"
#include "shim/names.h"

static int dial(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = NAMES_CONNECT_NAME };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(NAMES_CONNECT_NAME) - 1);
	int fd;
	long r;

	if (device_used()) /* whoever listens under that name here is nobody that we know */
		return -ENONET;
	fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE ? -errno : -EAGAIN;
	do
		r = syscall(SYS_connect, fd, &un, len); /* waits while the resolver is busy or being started again */
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return fd;
	r = errno == ECONNREFUSED ? -ENONET : -EAGAIN; /* the name is there as long as the application's network is */
	syscall(SYS_close, fd);
	return (int)r;
}

static int send_all(int fd, const uint8_t *from, size_t n)
{
	for (size_t sent = 0; sent < n;) {
		long r = syscall(SYS_sendto, fd, from + sent, n - sent, MSG_NOSIGNAL, NULL, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -EAGAIN;
		sent += (size_t)r;
	}
	return 0;
}

static int read_all(int fd, uint8_t *to, size_t n)
{
	for (size_t have = 0; have < n;) {
		long r = syscall(SYS_read, fd, to + have, n - have);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -EAGAIN;
		have += (size_t)r;
	}
	return 0;
}

static int take_reply(int fd, uint32_t call, struct names_answer *a)
{
	uint8_t head[4];
	size_t bytes;
	ssize_t n;
	int count, r;

	do {
		count = call == NAMES_ROUTE;
		n = fdpass_recv(fd, head, sizeof(head), &a->fd, &count, MSG_WAITALL);
	} while (n == -EINTR);
	if (!count)
		a->fd = -1;
	if (n != sizeof(head))
		return -EAGAIN;
	bytes = names_bytes(head, NAMES_REPLY_MAX);
	if (!bytes)
		return -EAGAIN;
	a->record = malloc(bytes);
	if (!a->record)
		return -ENOMEM;
	memcpy(a->record, head, sizeof(head));
	r = read_all(fd, a->record + sizeof(head), bytes - sizeof(head));
	if (r == 0 && (names_reply_get(&a->r, a->record, bytes) < 0 || a->r.call != call))
		r = -EAGAIN;
	return r;
}

int names_ask(struct names_ask *ask, struct names_answer *answer)
{
	struct names_out out;
	int fd, saved = errno, r = names_ask_put(&out, ask);

	answer->record = NULL;
	answer->fd = -1;
	if (r < 0)
		r = out.at ? -EAGAIN : -ENOMEM;
	fd = r < 0 ? r : dial();
	r = fd < 0 ? fd : send_all(fd, out.at, out.bytes);
	if (r == 0)
		r = take_reply(fd, ask->call, answer);
	if (fd >= 0)
		syscall(SYS_close, fd);
	free(out.at);
	if (r < 0) {
		free(answer->record);
		answer->record = NULL;
		if (answer->fd >= 0)
			syscall(SYS_close, answer->fd);
		answer->fd = -1;
	}
	if (r == -ENONET && ask->call < NAMES_IF_ADDRESSES)
		r = -EAGAIN;
	errno = saved;
	return r;
}
