// SPDX-License-Identifier: Apache-2.0
/*
 * race.c - memory that one thread changes while another's system call reads it: each call is one thing or the other, as natively.
 * Trust: a test's own processes.
 *
 * Usage: race MW. Runs itself twice as `--script`, natively and under `mw run`, and compares the transcripts.
 *
 * An address is 127.0.0.1, port 80, or, with another family, the name of a UNIX socket: all other bytes are the same. A supervisor
 * that looked at one of them and let the kernel take the other would lead a socket of ours to that UNIX socket. Lengths change too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "test/same/transcript.h"

#define TRIES 1000

static struct sockaddr_in where = { .sin_family = AF_INET };
static struct iovec part[2];
static _Atomic bool over;
static char bytes[4096];

static void *change(void *unused)
{
	uint32_t n = 0;

	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		n++;
		*(volatile sa_family_t *)&where.sin_family = n & 1 ? AF_UNIX : AF_INET;
		*(volatile size_t *)&part[0].iov_len = n & 2 ? sizeof(bytes) : 1;
		__atomic_store_n(&part[1].iov_base, n & 4 ? NULL : bytes, __ATOMIC_RELAXED);
	}
	return unused;
}

static int nobody_comes(int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	memcpy(a.sun_path, (char *)&where + sizeof(sa_family_t), sizeof(where) - sizeof(sa_family_t));
	if (bind(fd, (struct sockaddr *)&a, sizeof(where)) < 0 || (type != SOCK_DGRAM && listen(fd, 5) < 0))
		perror("listen");
	return fd;
}

static void came(const char *what, int fd)
{
	char b[1];

	if (accept(fd, NULL, NULL) >= 0 || recv(fd, b, 1, 0) >= 0)
		printf("%s: somebody came to the UNIX socket\n", what);
	close(fd);
}

static long do_connect(int fd) { return connect(fd, (struct sockaddr *)&where, sizeof(where)); }
static long do_bind(int fd) { return bind(fd, (struct sockaddr *)&where, sizeof(where)); }
static long do_sendto(int fd) { return sendto(fd, bytes, 10, 0, (struct sockaddr *)&where, sizeof(where)); }

static long do_sendmsg(int fd)
{
	struct msghdr m = { .msg_name = &where, .msg_namelen = sizeof(where), .msg_iov = part, .msg_iovlen = 2 };

	return sendmsg(fd, &m, 0);
}

/* TRIES sockets, a call on each, more until both families were met. Whatever is not in `usual` (errors) or a length that was asked for is said. */
static void race(const char *what, int type, int unix_type, long (*call)(int fd), const int *usual)
{
	int fd, at, listener = nobody_comes(unix_type);
	bool as_unix = false, as_inet = false;

	for (uint32_t i = 0; i < TRIES || !as_unix || !as_inet; i++) {
		fd = socket(AF_INET, type, 0);
		long r = call(fd);

		*(r < 0 && errno == EAFNOSUPPORT ? &as_unix : &as_inet) = true;
		if (r < 0) {
			for (at = 0; usual[at] && usual[at] != errno; at++)
				;
			if (!usual[at])
				printf("%s: %s\n", what, strerror(errno));
		} else if (r != 0 && r != 10 && r != 2 && r != (long)sizeof(bytes) + 1) {
			printf("%s: %ld bytes\n", what, r);
		}
		close(fd);
	}
	came(what, listener);
	printf("%s: done\n", what);
}

static void script(const char *only)
{
	pthread_t thread;

	(void)only;
	where.sin_port = htons(80);
	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	part[0] = (struct iovec){ bytes, 1 };
	part[1] = (struct iovec){ bytes, 1 };
	pthread_create(&thread, NULL, change, NULL);
	race("connect", SOCK_STREAM, SOCK_STREAM, do_connect, (const int[]){ ECONNREFUSED, EAFNOSUPPORT, 0 });
	race("bind", SOCK_STREAM, SOCK_STREAM, do_bind, (const int[]){ EAFNOSUPPORT, EADDRINUSE, 0 });
	race("connect of a datagram socket", SOCK_DGRAM, SOCK_SEQPACKET, do_connect, (const int[]){ EAFNOSUPPORT, 0 });
	race("sendto", SOCK_DGRAM, SOCK_SEQPACKET, do_sendto, (const int[]){ EAFNOSUPPORT, ECONNREFUSED, 0 });
	race("sendmsg", SOCK_DGRAM, SOCK_DGRAM, do_sendmsg, (const int[]){ EAFNOSUPPORT, ECONNREFUSED, EFAULT, 0 });
	atomic_store(&over, true);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
