// SPDX-License-Identifier: Apache-2.0
/*
 * udp_lib.c - see udp.h.
 * Trust: a test's own processes.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>

#include "test/same/udp.h"

static uint8_t bytes[400000];

const struct sockaddr_in udp_nowhere = { .sin_family = AF_INET, .sin_addr = { 0x0100007f } };

struct end udp_named(int family, const char *ip, uint16_t port)
{
	struct end e = { .fd = -1, .port = port };
	struct sockaddr_in *in = (struct sockaddr_in *)&e.ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&e.ss;

	e.ss.ss_family = (sa_family_t)family;
	e.len = family == AF_INET ? sizeof(*in) : sizeof(*in6);
	if (family == AF_INET)
		in->sin_port = htons(port);
	else
		in6->sin6_port = htons(port);
	if (inet_pton(family, ip, family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr) != 1)
		abort();
	return e;
}

void udp_refresh(struct end *e)
{
	e->len = sizeof(e->ss);
	if (getsockname(e->fd, (struct sockaddr *)&e->ss, &e->len) < 0)
		printf("FAILED getsockname: %s\n", strerror(errno));
	e->port = ntohs(((struct sockaddr_in *)&e->ss)->sin_port);
}

struct end udp_bound(int family, const char *ip)
{
	struct end e = udp_named(family, ip, 0);

	e.fd = socket(family, SOCK_DGRAM, 0);
	if (e.fd < 0 || bind(e.fd, (struct sockaddr *)&e.ss, e.len) < 0)
		printf("FAILED socket, bind: %s\n", strerror(errno));
	udp_refresh(&e);
	return e;
}

struct end udp_only6(void)
{
	struct end e = { .fd = socket(AF_INET6, SOCK_DGRAM, 0) };
	int on = 1;

	setsockopt(e.fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	return e;
}

void udp_say(const char *what, ssize_t r)
{
	printf("%s: %zd %s\n", what, r, r < 0 ? strerrorname_np(errno) : "ok");
}

ssize_t udp_send(int fd, int n, int flags, const struct end *to)
{
	for (int i = 0; i < n; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	return sendto(fd, bytes, (size_t)n, flags, (const struct sockaddr *)&to->ss, to->len);
}

void udp_ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	poll(&p, 1, 2000);
}

void udp_pause(void)
{
	usleep(100000);
}

static bool pattern(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != (uint8_t)(i * 7 + i / 256))
			return false;
	return true;
}

static const char *text_of(const struct sockaddr_storage *ss, char text[64])
{
	if (ss->ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)ss)->sin_addr, text, 64);
	else if (ss->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)ss)->sin6_addr, text, 64);
	else
		snprintf(text, 64, "family %d", ss->ss_family);
	return text;
}

void udp_take(const char *what, int fd, size_t room, int flags, const struct end *from)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	char text[64];
	ssize_t n;
	size_t got;

	if (!(flags & MSG_DONTWAIT))
		udp_ready(fd);
	else
		udp_pause();
	memset(bytes, 0xee, sizeof(bytes));
	n = recvfrom(fd, bytes, room, flags, (struct sockaddr *)&ss, &len);
	if (n < 0) {
		udp_say(what, n);
		return;
	}
	got = (size_t)n < room ? (size_t)n : room;
	printf("%s: %zd, pattern %d, behind it %d, from %s (%u bytes)%s\n", what, n, pattern(bytes, got),
	       bytes[got] == 0xee && bytes[got + 1] == 0xee, text_of(&ss, text), len,
	       !from ? "" : len == from->len && !memcmp(&ss, &from->ss, len) ? " as expected" : " NOT AS EXPECTED");
}

void udp_name(const char *what, int fd, bool peer)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	char text[64];
	int r = peer ? getpeername(fd, (struct sockaddr *)&ss, &len) : getsockname(fd, (struct sockaddr *)&ss, &len);

	if (r < 0)
		udp_say(what, r);
	else
		printf("%s: %s, %s port, %u bytes\n", what, text_of(&ss, text),
		       ((struct sockaddr_in *)&ss)->sin_port ? "some" : "no", len);
}

void udp_look(const char *what, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP };

	udp_pause();
	poll(&p, 1, 0);
	printf("poll, %s: %s\n", what, view_mask((uint32_t)p.revents));
}

void udp_view(const char *what, enum view v, int fd, uint32_t expected)
{
	struct look l = view_do(v, fd, DO_LOOK, expected).look;

	printf("%s, %s: design=%s poll=%s select=%s level=%s once=%s,%s,%s exclusive=%s\n", view_names[v], what,
	       view_mask(expected), view_mask(l.poll), view_mask(l.select), view_mask(l.level), view_mask(l.once),
	       view_mask(l.once_again), view_mask(l.once_rearmed), view_mask(l.exclusive));
}
