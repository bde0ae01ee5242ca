// SPDX-License-Identifier: Apache-2.0
/*
 * drive.c - calls every socket call on sockets that an INS may lie about, and waits for none of them for long.
 * usage: drive SECONDS     exit 0: no call hung, and no option was longer than the room for it
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char b[70000];

static void use(int type, const struct sockaddr_in *a)
{
	struct sockaddr_storage other;
	struct timeval t = { 0, 20000 };
	struct pollfd p;
	socklen_t n = sizeof(other);
	int fd = socket(AF_INET, type, 0), got, v = 1;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &v, sizeof(v));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &v, sizeof(v));
	p = (struct pollfd){ fd, POLLIN | POLLOUT, 0 };
	if (rand() % 3 == 0 && type == SOCK_STREAM) {
		(void)bind(fd, (const struct sockaddr *)a, sizeof(*a));
		listen(fd, 5);
		poll(&p, 1, 5);
		got = accept(fd, (struct sockaddr *)&other, &n);
		if (got >= 0)
			close(got);
		close(fd);
		return;
	}
	(void)connect(fd, (const struct sockaddr *)a, sizeof(*a));
	getpeername(fd, (struct sockaddr *)&other, &n);
	n = sizeof(v);
	getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &v, &n);
	if (n > sizeof(v)) {
		fprintf(stderr, "an option of %u bytes in %zu\n", n, sizeof(v));
		exit(1);
	}
	poll(&p, 1, 5);
	send(fd, b, (size_t)(rand() % (int)sizeof(b)), MSG_NOSIGNAL);
	ioctl(fd, FIONREAD, &v);
	recv(fd, b, 1000, MSG_PEEK);
	recv(fd, b, sizeof(b), 0);
	send(fd, b, 100, MSG_NOSIGNAL);
	if (rand() % 2)
		shutdown(fd, SHUT_WR);
	recv(fd, b, sizeof(b), 0);
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 1);
	int rounds = 0;

	while (time(NULL) < end) {
		use(rounds % 3 ? SOCK_STREAM : SOCK_DGRAM, &a);
		rounds++;
	}
	printf("%d sockets\n", rounds);
	return 0;
}
