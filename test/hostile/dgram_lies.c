// SPDX-License-Identifier: Apache-2.0
/*
 * dgram_lies.c - a protected process that writes what it likes to the doorbell of its own UDP socket.
 * Trust: none; the INS must drop it, go on with that socket, and not let any other notice.
 *
 * Usage: dgram_lies MW. Runs itself under `mw run`; syscall(SYS_write) goes past the shim. What goes on the wire must be
 * what was sent honestly, and nothing else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "chan/msg.h"

#define ROUNDS 20000

static uint64_t seed = 88172645463325252ull;

static uint32_t any(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % below;
}

static int made(struct sockaddr_in *a)
{
	socklen_t n = sizeof(*a);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (fd < 0 || bind(fd, (struct sockaddr *)a, n) < 0 || getsockname(fd, (struct sockaddr *)a, &n) < 0)
		abort();
	return fd;
}

/* A header with one thing wrong; a payload that must never arrive. */
static size_t lie(struct mw_dgram *d)
{
	memset(d, 0, sizeof(*d) + 10);
	d->kind = MW_DG_DATA;
	d->peer.family = MW_FAMILY_IP4;
	switch (any(9)) {
	case 0: d->kind = (uint16_t)(2 + any(1000)); break;
	case 1: d->flags = (uint16_t)(16 << any(12)); break;
	case 2: d->pad = 1 + any(1000); break;
	case 3: d->peer.family = (uint16_t)(1 + any(3)); break;
	case 4: d->peer.addr[4 + any(12)] = 1; break;
	case 5: d->control_bytes = 8 + any(100000); break;
	case 6: d->control[any(MW_DGRAM_CONTROL)] = 1; break;
	case 7: return any(sizeof(*d));
	default:
		for (size_t i = 0; i < sizeof(*d); i++)
			((uint8_t *)d)[i] = (uint8_t)any(256);
		d->pad = 7;
	}
	return sizeof(*d) + any(10);
}

static bool passes(int from, int to, const struct sockaddr_in *a, uint32_t n)
{
	struct pollfd p = { .fd = to, .events = POLLIN };
	uint32_t got = 0;

	if (sendto(from, &n, sizeof(n), 0, (const struct sockaddr *)a, sizeof(*a)) != sizeof(n) || poll(&p, 1, 5000) != 1)
		return false;
	return recv(to, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got) && got == n;
}

static int liar(void)
{
	static uint8_t bytes[150000];
	struct sockaddr_in at, other_at;
	int to = made(&at), other_to = made(&other_at), from = made(&(struct sockaddr_in){ 0 });
	int other = made(&(struct sockaddr_in){ 0 }), bad = 0, others_bad = 0;

	if (connect(from, (struct sockaddr *)&at, sizeof(at)) < 0)
		return 1;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		syscall(SYS_write, from, bytes, lie((struct mw_dgram *)bytes));
		if (i % 100 == 0)
			syscall(SYS_write, from, bytes, sizeof(struct mw_dgram) + MW_DGRAM_PAYLOAD + 1 + any(60000));
		if (i % 10 == 0)
			bad += !passes(from, to, &at, i);
		if (i % 50 == 0)
			others_bad += !passes(other, other_to, &other_at, i);
	}
	usleep(100000);
	printf("%sok 1 - the socket goes on, and only honest datagrams arrive (%d wrong)\n", bad ? "not " : "", bad);
	printf("%sok 2 - another socket does not notice (%d wrong)\n", others_bad ? "not " : "", others_bad);
	bad = recv(to, bytes, 1, MSG_DONTWAIT) >= 0;
	printf("%sok 3 - nothing else arrived\n1..3\n", bad ? "not " : "");
	return 0;
}

int main(int argc, char **argv)
{
	char self[4096] = { 0 };

	if (argc < 2) {
		fprintf(stderr, "usage: dgram_lies MW\n");
		return 2;
	}
	if (!strcmp(argv[1], "--liar"))
		return liar();
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) > 0)
		execl(argv[1], "mw", "run", "--net", "host", "--", self, "--liar", (char *)NULL);
	return 1;
}
