// SPDX-License-Identifier: Apache-2.0
/*
 * device.c - what the module's device answers: its counts, and whatever is asked wrongly.
 * usage: device stats | device wrong | device many N: so many sockets at once, for two seconds
 *        device lingers: a close that waits for a peer that reads nothing, and two other connections, until their INS is gone
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kmod/uapi.h"

static int stats(int device)
{
	static const char *const names[] = { "ins", "sockets", "ring_pages", "ring_slots", "shared_pages", "requests", "notified", "news", "accepted",
					     "sent", "received", "quarantined", "broken" };
	union {
		struct mw_dev_stats s;
		__u64 words[sizeof(names) / sizeof(*names)];
	} u;

	_Static_assert(sizeof(u.s) == sizeof(u.words), "a name for each count");
	if (ioctl(device, MW_DEV_STATS, &u.s) < 0)
		return 1;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		printf("%s %llu\n", names[i], u.words[i]);
	return 0;
}

static void made(int device, const char *what, int family, int type, int protocol, unsigned int flags)
{
	struct mw_dev_socket s = { family, type, protocol, flags };
	int fd = ioctl(device, MW_DEV_SOCKET, &s);

	printf("%s: %s\n", what, fd < 0 ? strerrorname_np(errno) : "made");
	if (fd >= 0)
		close(fd);
}

static void asked(int device, const char *what, unsigned long request, void *with)
{
	printf("%s: %s\n", what, ioctl(device, request, with) < 0 ? strerrorname_np(errno) : "done");
}

static int wrong(int device)
{
	struct mw_dev_version v;

	asked(device, "version", MW_DEV_VERSION, &v);
	printf("abi %u protocol %u ins %u\n", v.abi, v.protocol, v.ins);
	asked(device, "version, nowhere", MW_DEV_VERSION, NULL);
	asked(device, "stats, bad pointer", MW_DEV_STATS, (void *)8);
	asked(device, "socket, bad pointer", MW_DEV_SOCKET, (void *)~0xfful);
	asked(device, "no such request", _IO('w', 99), NULL);
	asked(device, "another size", _IOW('w', 1, int), &v);
	made(device, "family", AF_UNIX, SOCK_STREAM, 0, 0);
	made(device, "raw", AF_INET, SOCK_RAW, 1, 0);
	made(device, "type", AF_INET, SOCK_SEQPACKET, 0, 0);
	made(device, "protocol", AF_INET, SOCK_STREAM, IPPROTO_UDP, 0);
	made(device, "no such protocol", AF_INET, SOCK_STREAM, -1, 0);
	made(device, "flags", AF_INET, SOCK_STREAM, 0, 1);
	made(device, "UDP-Lite", AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return 0;
}

static int many(int n)
{
	for (; n > 0; n--)
		if (socket(AF_INET, SOCK_STREAM, 0) < 0) {
			perror("socket");
			return 1;
		}
	sleep(2);
	return 0;
}

static void pair(int listener, int *near, int *far)
{
	struct sockaddr_in a;
	socklen_t n = sizeof(a);

	*near = socket(AF_INET, SOCK_STREAM, 0);
	if (getsockname(listener, (struct sockaddr *)&a, &n) < 0 || connect(*near, (struct sockaddr *)&a, n) < 0)
		perror("connect");
	*far = accept(listener, NULL, NULL);
}

static void fill(int fd)
{
	static char b[65536];

	for (int quiet = 0; quiet < 3; quiet++) {
		while (send(fd, b, sizeof(b), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
			quiet = 0;
		usleep(100000);
	}
}

/* One of the others has its slot in front of the one that is closed, one behind it. */
static int lingers(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger l = { 1, 1000 };
	int listener = socket(AF_INET, SOCK_STREAM, 0), near[3], far[3];
	pid_t child;
	char c;

	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 5) < 0)
		return 1;
	for (int i = 0; i < 3; i++)
		pair(listener, &near[i], &far[i]);
	fill(near[1]);
	setsockopt(near[1], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	child = fork();
	if (child == 0) {
		usleep(200000); /* the other one's close is not the last */
		close(near[1]);
		_exit(0);
	}
	close(near[1]);
	printf("waits\n");
	fflush(stdout);
	for (int i = 0; i < 3; i += 2)
		printf("%s\n", recv(near[i], &c, 1, 0) < 0 ? strerrorname_np(errno) : "the end");
	fflush(stdout);
	printf("%s\n", waitpid(child, NULL, 0) == child ? "closed" : "lost");
	return 0;
}

int main(int argc, char **argv)
{
	int device = open(MW_DEVICE, O_RDWR | O_CLOEXEC);

	if (device < 0 || argc < 2) {
		perror(MW_DEVICE);
		return 1;
	}
	if (argc > 2)
		return many(atoi(argv[2]));
	if (!strcmp(argv[1], "lingers"))
		return lingers();
	return !strcmp(argv[1], "stats") ? stats(device) : wrong(device);
}
