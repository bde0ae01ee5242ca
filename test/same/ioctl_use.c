// SPDX-License-Identifier: Apache-2.0
/*
 * ioctl_use.c - ioctls of sockets, natively and under `mw run`: queues, owners, interfaces of the network.
 * Trust: a test's own processes.
 *
 * Usage: ioctl_use MW [PART]. Runs itself twice as `--script` and compares the transcripts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/transcript.h"

#define PEER 0
#define A_MOMENT_US 100000 /* in which what was sent arrives */

static const char *part;

static void say(const char *what, long r)
{
	printf("%s/%s: %ld %s\n", part, what, r < 0 ? -1 : r, r < 0 ? strerrorname_np(errno) : "ok");
}

static void must(int good, const char *what)
{
	if (good)
		return;
	printf("FAILED %s: %s\n", what, strerror(errno));
	exit(1);
}

static void dial(int fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	a.sin_port = htons((uint16_t)peer_do(PEER, PEER_PORT, 0));
	must(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0, "connect");
	must(peer_do(PEER, PEER_ACCEPT, 0) == 0, "the peer's accept");
}

static void number(int fd, const char *what, unsigned long request)
{
	int n = -1;

	if (ioctl(fd, request, &n) < 0)
		printf("%s/%s: %s\n", part, what, strerrorname_np(errno));
	else
		printf("%s/%s: %d\n", part, what, n);
}

static void queues(int fd, const char *state)
{
	char line[80];

#define NUMBER(request) snprintf(line, sizeof(line), "%s " #request, state), number(fd, line, request)
	NUMBER(FIONREAD);
	NUMBER(SIOCOUTQ);
	NUMBER(SIOCOUTQNSD);
	NUMBER(SIOCATMARK);
#undef NUMBER
	snprintf(line, sizeof(line), "%s SIOCGSTAMP", state);
	say(line, ioctl(fd, SIOCGSTAMP_OLD, NULL));
	snprintf(line, sizeof(line), "%s FIONREAD at NULL", state);
	say(line, ioctl(fd, FIONREAD, NULL));
	snprintf(line, sizeof(line), "%s SIOCOUTQ at a bad address", state);
	say(line, ioctl(fd, SIOCOUTQ, (void *)8));
}

static void ioctls(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	queues(fd, "new");
	dial(fd);
	queues(fd, "connected");
	peer_do(PEER, PEER_SEND, 5);
	usleep(A_MOMENT_US);
	queues(fd, "5 unread");
	say("FIOASYNC", ioctl(fd, FIOASYNC, &on));
	say("O_ASYNC", !!(fcntl(fd, F_GETFL) & O_ASYNC));
	say("F_SETOWN", fcntl(fd, F_SETOWN, getpid()));
	say("F_GETOWN", fcntl(fd, F_GETOWN) == getpid());
	say("SIOCGPGRP", ioctl(fd, SIOCGPGRP, &on) < 0 ? -1 : on == getpid());
	on = 0;
	say("FIOSETOWN", ioctl(fd, FIOSETOWN, &on));
	say("F_GETOWN", fcntl(fd, F_GETOWN));
	say("unknown", ioctl(fd, 0x89ef, &on));
	peer_do(PEER, PEER_CLOSE, 0);
	usleep(A_MOMENT_US);
	queues(fd, "closed by peer");
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	must(listen(fd, 5) == 0, "listen");
	queues(fd, "listening");
	close(fd);
}

static void interface(int fd, const char *what, unsigned long request, const char *name, int index)
{
	struct ifreq q;
	char line[80];

	memset(&q, 0, sizeof(q));
	strncpy(q.ifr_name, name, IFNAMSIZ - 1);
	if (index)
		q.ifr_ifindex = index;
	snprintf(line, sizeof(line), "%s of %s", what, name);
	if (ioctl(fd, request, &q) < 0) {
		say(line, -1);
		return;
	}
	printf("%s/%s: %s ", part, line, q.ifr_name);
	for (size_t i = 0; i < sizeof(q.ifr_ifru); i++)
		printf("%02x", ((uint8_t *)&q.ifr_ifru)[i]);
	putchar('\n');
}

static void interfaces(void)
{
	static const char *const names[] = { "lo", "nosuch0", "" };
	struct ifreq q[64];
	struct ifconf c = { .ifc_len = sizeof(q), .ifc_req = q };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		interface(fd, "SIOCGIFINDEX", SIOCGIFINDEX, names[i], 0);
		interface(fd, "SIOCGIFFLAGS", SIOCGIFFLAGS, names[i], 0);
		interface(fd, "SIOCGIFADDR", SIOCGIFADDR, names[i], 0);
		interface(fd, "SIOCGIFNETMASK", SIOCGIFNETMASK, names[i], 0);
		interface(fd, "SIOCGIFMTU", SIOCGIFMTU, names[i], 0);
		interface(fd, "SIOCGIFHWADDR", SIOCGIFHWADDR, names[i], 0);
		interface(fd, "SIOCGIFNAME", SIOCGIFNAME, names[i], 1);
	}
	memset(q, 0, sizeof(q));
	say("SIOCGIFCONF", ioctl(fd, SIOCGIFCONF, &c));
	printf("%s/SIOCGIFCONF: %d %s %d\n", part, c.ifc_len, q[0].ifr_name, q[0].ifr_addr.sa_family);
	c = (struct ifconf){ .ifc_len = sizeof(q) };
	say("SIOCGIFCONF without room", ioctl(fd, SIOCGIFCONF, &c));
	printf("%s/SIOCGIFCONF without room: %d\n", part, c.ifc_len);
	c = (struct ifconf){ .ifc_len = 1, .ifc_req = q };
	say("SIOCGIFCONF with little room", ioctl(fd, SIOCGIFCONF, &c));
	printf("%s/SIOCGIFCONF with little room: %d\n", part, c.ifc_len);
	c = (struct ifconf){ .ifc_len = sizeof(q), .ifc_buf = (void *)8 };
	say("SIOCGIFCONF at a bad address", ioctl(fd, SIOCGIFCONF, &c));
	say("SIOCGIFCONF at NULL", ioctl(fd, SIOCGIFCONF, NULL));
	say("SIOCGIFINDEX at a bad address", ioctl(fd, SIOCGIFINDEX, (void *)8));
	close(fd);
}

static const struct {
	const char *name;
	void (*go)(void);
} parts[] = {
	{ "ioctls", ioctls }, { "interfaces", interfaces },
};

static void script(const char *only)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (only && strcmp(only, parts[i].name))
			continue;
		part = parts[i].name;
		parts[i].go();
		peer_do(PEER, PEER_CLOSE, 0);
	}
}

int main(int argc, char **argv)
{
	return transcript_main(argc, argv, script);
}
