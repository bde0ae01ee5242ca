// SPDX-License-Identifier: Apache-2.0
/*
 * semantics.c - says what socket calls do, one line each: run natively and through the module, and compared.
 * Trust: none needed.
 *
 * usage: semantics 4|6 part...
 */
#include "semantics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int family;
static bool both; /* ends of a connection are under test */

void say(const char *format, ...)
{
	va_list v;

	va_start(v, format);
	vprintf(format, v);
	va_end(v);
	putchar('\n');
	fflush(stdout);
}

void result(const char *what, long r)
{
	if (r < 0)
		say("%s: %s", what, strerrorname_np(errno));
	else
		say("%s: %ld", what, r);
}

void poll_of(const char *what, int fd, int wait_ms)
{
	struct pollfd p = { fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0 };

	poll(NULL, 0, both ? 3 * wait_ms : wait_ms);
	poll(&p, 1, 0);
	say("%s:%s%s%s%s%s%s%s", what, p.revents & POLLIN ? " in" : "", p.revents & POLLOUT ? " out" : "", p.revents & POLLRDHUP ? " rdhup" : "",
	    p.revents & POLLHUP ? " hup" : "", p.revents & POLLERR ? " err" : "", p.revents & POLLNVAL ? " nval" : "",
	    p.revents & POLLPRI ? " pri" : "");
}

/* Of this machine's own stack: not even syscall() makes one under `mw run --xen`. "both": where no other way leads to an INS. */
int native_socket(int type)
{
	long r = SYS_socket;

	if (both)
		return socket(family, type, 0);
	asm volatile("syscall" : "+a"(r) : "D"((long)family), "S"((long)type), "d"(0L) : "rcx", "r11", "memory");
	if (r < 0)
		errno = (int)-r;
	return r < 0 ? -1 : (int)r;
}

socklen_t loopback(struct sockaddr_storage *a, int port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)a;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)a;

	memset(a, 0, sizeof(*a));
	a->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		in->sin_port = htons((uint16_t)port);
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(*in);
	}
	in6->sin6_port = htons((uint16_t)port);
	in6->sin6_addr = in6addr_loopback;
	return sizeof(*in6);
}

int port_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		return -1;
	return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port : ((struct sockaddr_in6 *)&a)->sin6_port);
}

static int listening(int fd, int *port)
{
	struct sockaddr_storage a;
	socklen_t n = loopback(&a, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 16) < 0) {
		say("no listener: %s", strerrorname_np(errno));
		exit(1);
	}
	*port = port_of(fd);
	return fd;
}

int listener(int type_flags, int *port)
{
	return listening(socket(family, SOCK_STREAM | type_flags, 0), port);
}

int native_listener(int *port)
{
	return listening(native_socket(SOCK_STREAM), port);
}

static int connected(int fd, int port)
{
	struct sockaddr_storage a;
	socklen_t n = loopback(&a, port);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, n) < 0) {
		say("no connection: %s", strerrorname_np(errno));
		exit(1);
	}
	return fd;
}

void dialled(int *near, int *far)
{
	int port, l = native_listener(&port);

	*near = connected(socket(family, SOCK_STREAM, 0), port);
	*far = accept(l, NULL, NULL);
	close(l);
}

void accepted(int *near, int *far)
{
	int port, l = listener(0, &port);

	*far = connected(native_socket(SOCK_STREAM), port);
	*near = accept(l, NULL, NULL);
	close(l);
}

void settle(void)
{
	usleep(both ? 300000 : 100000);
}

uint32_t sum(uint32_t s, const void *p, size_t n)
{
	const uint8_t *at = p;

	for (size_t i = 0; i < n; i++)
		s = s * 31 + at[i];
	return s;
}

void reset(int fd)
{
	struct linger l = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = {
	{ "calls", test_calls }, { "connect", test_connect }, { "states", test_states }, { "edges", test_edges }, { "read", test_read },
	{ "bulk", test_bulk }, { "pass", test_pass }, { "wait", test_wait }, { "options", test_options }, { "dgram", test_dgram },
	{ "urgent", test_urgent }, { "again", test_again }, { "linger", test_linger }, { "waits", test_waits },
	{ "held", test_held }, { "whose", test_whose }, { "lowest", test_lowest },
};

int main(int argc, char **argv)
{
	family = argc > 1 && argv[1][0] == '6' ? AF_INET6 : AF_INET;
	for (int n = 2; n < argc; n++)
		both |= !strcmp(argv[n], "both");
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		for (int n = 2; n < argc; n++)
			if (!strcmp(argv[n], parts[i].name))
				parts[i].run();
	return 0;
}
