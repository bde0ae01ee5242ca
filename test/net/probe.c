/* SPDX-License-Identifier: Apache-2.0 */
/* Servers in processes of their own; clients in this one, which enters the client's namespace and comes back to the host. */
#include "test/net/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "test/net/lab.h"

enum { TIMEOUT_MS = 1500 };

/* ---- servers ---- */

int probe_server_socket(int family, int type, uint16_t port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(family, type, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (family == AF_INET ? bind(fd, (struct sockaddr *)&a4, sizeof(a4)) : bind(fd, (struct sockaddr *)&a6, sizeof(a6)))
		return -1;
	if (type == SOCK_STREAM && listen(fd, 16))
		return -1;
	return fd;
}

static void answer(int fd, bool stream, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t bytes = sizeof(ss);
	char host[64], text[PROBE_TEXT_BYTES];
	int c = stream ? accept(fd, (struct sockaddr *)&ss, &bytes) : fd, n;

	if (!stream && recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&ss, &bytes) < 0)
		return;
	if (c < 0)
		return;
	if (ss.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&ss)->sin_addr, host, sizeof(host));
	else
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&ss)->sin6_addr, host, sizeof(host));
	n = snprintf(text, sizeof(text), "%s %u", host, port);
	if (sendto(c, text, (size_t)n, 0, stream ? NULL : (struct sockaddr *)&ss, stream ? 0 : bytes) < 0)
		perror("answer");
	if (stream)
		close(c);
}

static void serve_forever(int ns, int ready, int ports, const uint16_t *port)
{
	struct pollfd p[16];
	int n = 0;

	if (setns(ns, CLONE_NEWNET) || setgid(65534) || setuid(65534))
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* after setuid, which clears it */
	for (int i = 0; i < ports; i++) {
		p[n++].fd = probe_server_socket(AF_INET, SOCK_STREAM, port[i]);
		p[n++].fd = probe_server_socket(AF_INET6, SOCK_STREAM, port[i]);
		p[n++].fd = probe_server_socket(AF_INET, SOCK_DGRAM, port[i]);
		p[n++].fd = probe_server_socket(AF_INET6, SOCK_DGRAM, port[i]);
	}
	for (int i = 0; i < n; i++) {
		p[i].events = POLLIN;
		if (p[i].fd < 0)
			_exit(2);
	}
	if (write(ready, "r", 1) != 1)
		_exit(3);
	close(ready);
	for (;;) {
		poll(p, (nfds_t)n, -1);
		for (int i = 0; i < n; i++)
			if (p[i].revents)
				answer(p[i].fd, i % 4 < 2, port[i / 4]);
	}
}

pid_t probe_serve(int ns, int ports, const uint16_t *port)
{
	int ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		int keep = dup2(ready[1], 200), in = dup2(ns, 201);

		close_range(3, 199, 0);
		close_range(202, ~0U, 0);	/* or it would keep the broker's nftables socket */
		serve_forever(in, keep, ports, port);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		fail_msg("the server did not start (can uid 65534 bind its ports?)");
	close(ready[0]);
	lab.pids[lab.pid_count++] = pid;
	return pid;
}

pid_t probe_serve_web(int ns)
{
	static const uint16_t ports[] = { 80, 8000 };

	return probe_serve(ns, 2, ports);
}

/* ---- clients ---- */

int probe_connect(int ns, int type, const char *source, const char *dest, uint16_t port)
{
	struct sockaddr_storage to = { 0 }, from = { 0 };
	struct timeval limit = { .tv_sec = TIMEOUT_MS / 1000, .tv_usec = TIMEOUT_MS % 1000 * 1000 };
	int family = strchr(dest, ':') ? AF_INET6 : AF_INET, fd, err = 0;
	socklen_t bytes = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	const size_t at = family == AF_INET ? offsetof(struct sockaddr_in, sin_addr) : offsetof(struct sockaddr_in6, sin6_addr);

	to.ss_family = from.ss_family = (sa_family_t)family;
	((struct sockaddr_in *)&to)->sin_port = htons(port);
	assert_int_equal(inet_pton(family, dest, (char *)&to + at), 1);
	if (source)
		assert_int_equal(inet_pton(family, source, (char *)&from + at), 1);
	lab_enter(ns);
	fd = socket(family, type, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if ((source && bind(fd, (struct sockaddr *)&from, bytes)) || connect(fd, (struct sockaddr *)&to, bytes))
		err = -errno;
	lab_enter(lab.host);
	if (!err)
		return fd;
	close(fd);
	return err == -EINPROGRESS || err == -ETIMEDOUT ? -ETIMEDOUT : err;
}

int probe_get(int ns, int type, const char *source, const char *dest, uint16_t port, char out[PROBE_TEXT_BYTES])
{
	int fd = probe_connect(ns, type, source, dest, port);
	ssize_t n;

	if (fd < 0)
		return fd;
	if (type == SOCK_DGRAM)
		(void)!send(fd, "?", 1, 0);
	n = recv(fd, out, PROBE_TEXT_BYTES - 1, 0);
	if (n < 0)
		n = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	out[n] = 0;
	return 0;
}

void probe_expect(int ns, const char *dest, uint16_t port, const char *want)
{
	char got[PROBE_TEXT_BYTES];
	int err = probe_get(ns, SOCK_STREAM, NULL, dest, port, got);

	if (err)
		fail_msg("%s:%u: %s, not \"%s\"", dest, port, strerror(-err), want);
	assert_string_equal(got, want);
}

void probe_expect_error(int ns, const char *dest, uint16_t port, int want)
{
	char got[PROBE_TEXT_BYTES];
	int err = probe_get(ns, SOCK_STREAM, NULL, dest, port, got);

	if (err != want)
		fail_msg("%s:%u: %s, not %s", dest, port, err ? strerror(-err) : got, strerror(-want));
}

void probe_expect_accept(int listener, const char *dest, const char *peer)
{
	struct sockaddr_storage ss;
	socklen_t bytes = sizeof(ss);
	char text[64];
	int c = probe_connect(lab.host, SOCK_STREAM, NULL, dest, 8080), a;

	assert_true(c >= 0);
	a = accept(listener, (struct sockaddr *)&ss, &bytes);
	assert_true(a >= 0);
	inet_ntop(ss.ss_family, ss.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&ss)->sin_addr :
		  (void *)&((struct sockaddr_in6 *)&ss)->sin6_addr, text, sizeof(text));
	assert_string_equal(text, peer);
	close(a);	/* first: TIME_WAIT stays on this port */
	assert_int_equal(read(c, text, 1), 0);
	close(c);
}

/* ---- held ports ---- */

int probe_bind(int family, const char *addr, uint16_t port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, err;

	inet_pton(family, addr, family == AF_INET ? (void *)&a4.sin_addr : (void *)&a6.sin6_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	err = bind(fd, family == AF_INET ? (struct sockaddr *)&a4 : (struct sockaddr *)&a6,
		   family == AF_INET ? sizeof(a4) : sizeof(a6)) ? -errno : 0;
	close(fd);
	return err;
}

void probe_expect_held(uint16_t port)
{
	assert_int_equal(probe_bind(AF_INET, "0.0.0.0", port), -EADDRINUSE);
	assert_int_equal(probe_bind(AF_INET, HOST4, port), -EADDRINUSE);
	assert_int_equal(probe_bind(AF_INET, "127.0.0.1", port), -EADDRINUSE);
	assert_int_equal(probe_bind(AF_INET, "127.0.0.2", port), -EADDRINUSE);
	assert_int_equal(probe_bind(AF_INET6, "::", port), -EADDRINUSE);
	assert_int_equal(probe_bind(AF_INET6, HOST6, port), -EADDRINUSE);
	assert_int_equal(probe_bind(AF_INET6, "::1", port), -EADDRINUSE);
}
