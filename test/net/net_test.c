/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/net.c on a real kernel, as root.
 * Trust: none; everything happens in namespaces of its own, which vanish with the processes and descriptors of this program.
 *
 *    client                         "host"                                INS (one for each application)
 *   +----------------+        +--------------------------+        +---------------------------+
 *   | c0 192.0.2.2   |--veth--| h0 192.0.2.1             |        | eth0 10.237.x.y           |
 *   |    2001:db8::2 |        |    2001:db8::1           |--veth--|      fd6d:7763:6f6d:s::2  |
 *   +----------------+        |                  mw-ssss |        | server on 80 and 8000,    |
 *    other                    |                          |        | uid 65534                 |
 *   +----------------+        |                          |        +---------------------------+
 *   | o0 198.51.100.2|--veth--| h1 198.51.100.1          |
 *   |  2001:db8:1::2 |        |    2001:db8:1::1         |
 *   +----------------+        +--------------------------+
 * A server answers every connection or datagram with the address that it sees as its peer, and its own port.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/net.h"
#include "broker/netfwd.h"
#include "broker/rtnl.h"
#include "broker/sysctl.h"

#define HOST4 "192.0.2.1"
#define HOST6 "2001:db8::1"
#define CLIENT4 "192.0.2.2"
#define CLIENT6 "2001:db8::2"
#define OTHER4 "198.51.100.2"
#define OTHER6 "2001:db8:1::2"

enum { MAX_PIDS = 16, TIMEOUT_MS = 1500 };

static const char foreign[] =
	"table ip foreign {\n"
	"	chain prerouting { type nat hook prerouting priority -100; policy accept;\n"
	"		tcp dport 1 dnat to 192.0.2.77\n"
	"	}\n"
	"	chain forward { type filter hook forward priority 0; policy accept;\n"
	"		tcp dport 2 counter drop\n"
	"	}\n"
	"}\n"
	"table inet mwx {\n"
	"	set s { type inet_service; elements = { 1, 2 }\n"
	"	}\n"
	"}\n";

static struct {
	int home, host, client, other;
	pid_t pids[MAX_PIDS];
	size_t pid_count;
	char *rules;		/* of the host, before */
	char why[NET_WHY_BYTES];
} world;

/* ---- namespaces ---- */

static void enter(int ns)
{
	if (setns(ns, CLONE_NEWNET))
		fail_msg("setns: %s", strerror(errno));
}

/* A new network namespace with `lo` up; the caller stays where it was. */
static int ns_new(void)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd, nl;

	assert_true(here >= 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	nl = rtnl_open();
	assert_int_equal(rtnl_link_up(nl, 1, NULL), 0);
	close(nl);
	enter(here);
	close(here);
	return fd;
}

/* A new namespace as the kernel makes it: what a broker has before net_open. */
static int ns_raw(void)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	enter(here);
	close(here);
	return fd;
}

static void end_up(int ns, const char *name, const char *a4, const char *a6)
{
	unsigned index;
	int nl;

	enter(ns);
	nl = rtnl_open();
	index = if_nametoindex(name);
	assert_int_equal(sysctl_write(0, "net/ipv6/conf/%s/accept_dad", name), 0);
	assert_int_equal(sysctl_write(0, "net/ipv6/conf/%s/dad_transmits", name), 0);
	assert_int_equal(rtnl_link_up(nl, index, NULL), 0);
	assert_int_equal(rtnl_addr_add(nl, index, a4, 24), 0);
	assert_int_equal(rtnl_addr_add(nl, index, a6, 64), 0);
	close(nl);
}

static void neighbour(int ns, const char *name, const char *host_if, const char *h4, const char *h6, const char *a4,
		      const char *a6)
{
	int nl;

	enter(world.host);
	nl = rtnl_open();
	assert_int_equal(rtnl_veth_add(nl, host_if, name, ns), 0);
	close(nl);
	end_up(world.host, host_if, h4, h6);
	end_up(ns, name, a4, a6);
	nl = rtnl_open();
	assert_int_equal(rtnl_route_default(nl, if_nametoindex(name), h4), 0);
	assert_int_equal(rtnl_route_default(nl, if_nametoindex(name), h6), 0);
	close(nl);
	enter(world.host);
}

static char *nft(const char *command)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	char *out;

	nft_ctx_buffer_output(ctx);
	nft_ctx_buffer_error(ctx);
	if (nft_run_cmd_from_buffer(ctx, command))
		fail_msg("nft %s: %s", command, nft_ctx_get_error_buffer(ctx));
	out = strdup(nft_ctx_get_output_buffer(ctx));
	nft_ctx_free(ctx);
	return out;
}

static int setup(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	world.home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	world.host = ns_new();
	world.client = ns_new();
	world.other = ns_new();
	neighbour(world.client, "c0", "h0", HOST4, HOST6, CLIENT4, CLIENT6);
	neighbour(world.other, "o0", "h1", "198.51.100.1", "2001:db8:1::1", OTHER4, OTHER6);
	enter(world.host);
	free(nft(foreign));
	world.rules = nft("list ruleset");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < world.pid_count; i++)
		if (world.pids[i] > 0) {
			kill(world.pids[i], SIGKILL);
			waitpid(world.pids[i], NULL, 0);
		}
	enter(world.home);
	close(world.host);
	close(world.client);
	close(world.other);
	close(world.home);
	free(world.rules);
	netfwd_old_kernel = false;
	return 0;
}

/* ---- servers and clients ---- */

static int server_socket(int family, int type, uint16_t port)
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
	char host[64], text[96];
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
		p[n++].fd = server_socket(AF_INET, SOCK_STREAM, port[i]);
		p[n++].fd = server_socket(AF_INET6, SOCK_STREAM, port[i]);
		p[n++].fd = server_socket(AF_INET, SOCK_DGRAM, port[i]);
		p[n++].fd = server_socket(AF_INET6, SOCK_DGRAM, port[i]);
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

/* A server process of uid 65534 in that namespace, listening when this returns. */
static pid_t serve(int ns, int ports, const uint16_t *port)
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
	world.pids[world.pid_count++] = pid;
	return pid;
}

static void serve_web(int ns)
{
	static const uint16_t ports[] = { 80, 8000 };

	serve(ns, 2, ports);
}

static int get_socket(int ns, int type, const char *source, const char *dest, uint16_t port)
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
	enter(ns);
	fd = socket(family, type, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if ((source && bind(fd, (struct sockaddr *)&from, bytes)) || connect(fd, (struct sockaddr *)&to, bytes))
		err = -errno;
	enter(world.host);
	if (!err)
		return fd;
	close(fd);
	return err == -EINPROGRESS || err == -ETIMEDOUT ? -ETIMEDOUT : err;
}

static int get_from(int ns, int type, const char *source, const char *dest, uint16_t port, char out[96])
{
	int fd = get_socket(ns, type, source, dest, port);
	ssize_t n;

	if (fd < 0)
		return fd;
	if (type == SOCK_DGRAM)
		(void)!send(fd, "?", 1, 0);
	n = recv(fd, out, 95, 0);
	if (n < 0)
		n = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	out[n] = 0;
	return 0;
}

/* The server that `dest`:port reaches from ns must say `want`. */
static void expect(int ns, const char *dest, uint16_t port, const char *want)
{
	char got[96];
	int err = get_from(ns, SOCK_STREAM, NULL, dest, port, got);

	if (err)
		fail_msg("%s:%u: %s, not \"%s\"", dest, port, strerror(-err), want);
	assert_string_equal(got, want);
}

static void expect_error(int ns, const char *dest, uint16_t port, int want)
{
	char got[96];
	int err = get_from(ns, SOCK_STREAM, NULL, dest, port, got);

	if (err != want)
		fail_msg("%s:%u: %s, not %s", dest, port, err ? strerror(-err) : got, strerror(-want));
}

/* ---- the broker's part ---- */

static struct plan_port tcp(const char *addr, uint16_t host_port, uint16_t ins_port)
{
	struct plan_port p = { .proto = IPPROTO_TCP, .host_port = host_port, .ins_port = ins_port };

	if (addr) {
		p.family = strchr(addr, ':') ? AF_INET6 : AF_INET;
		assert_int_equal(inet_pton(p.family, addr, p.addr), 1);
	}
	return p;
}

static struct net *app(const char *name, int ins)
{
	struct net *net = NULL;

	enter(world.host);
	if (net_open(&net, name, ins, world.why, sizeof(world.why)))
		fail_msg("net_open: %s", world.why);
	return net;
}

static void publish(struct net *net, const struct plan_port *port)
{
	if (net_publish(net, port, world.why, sizeof(world.why)))
		fail_msg("net_publish: %s", world.why);
}

static void unpublish(struct net *net, const struct plan_port *port)
{
	if (net_unpublish(net, port, world.why, sizeof(world.why)))
		fail_msg("net_unpublish: %s", world.why);
}

static int get(const char *key)
{
	int value = -1;

	enter(world.host);
	assert_int_equal(sysctl_read(&value, "%s", key), 0);
	return value;
}

/* Nothing of ours is left on the host, and everything of others is as it was. */
static void expect_clean(void)
{
	struct if_nameindex *ifs;
	char *rules;

	enter(world.host);
	rules = nft("list ruleset");
	assert_string_equal(rules, world.rules);
	free(rules);
	ifs = if_nameindex();
	for (struct if_nameindex *i = ifs; i->if_index; i++)
		assert_null(strstr(i->if_name, "mw-"));
	if_freenameindex(ifs);
	assert_int_equal(get("net/ipv4/conf/h0/forwarding"), 0);
	assert_int_equal(get("net/ipv4/conf/h0/tag"), 0);
	assert_int_equal(get("net/ipv6/conf/all/forwarding"), 0);
	assert_int_equal(get("net/ipv6/conf/h0/forwarding"), 0);
	assert_int_equal(get("net/ipv6/conf/h0/accept_ra"), 1);
}

/* ---- tests ---- */

static void test_client(void **state)
{
	int ins = ns_raw();
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80);
	char got[96];

	(void)state;
	serve_web(ins);
	expect_error(world.client, HOST4, 8080, -ECONNREFUSED);
	publish(net, &port);
	expect(world.client, HOST4, 8080, CLIENT4 " 80");
	expect(world.client, HOST6, 8080, CLIENT6 " 80");
	expect(world.client, "198.51.100.1", 8080, CLIENT4 " 80");	/* every address of the host */
	expect(world.other, HOST4, 8080, OTHER4 " 80");
	expect(world.other, "2001:db8:1::1", 8080, OTHER6 " 80");
	expect_error(world.client, HOST4, 8000, -ECONNREFUSED);

	port.proto = IPPROTO_UDP;
	publish(net, &port);
	assert_int_equal(get_from(world.client, SOCK_DGRAM, NULL, HOST4, 8080, got), 0);
	assert_string_equal(got, CLIENT4 " 80");
	assert_int_equal(get_from(world.client, SOCK_DGRAM, NULL, HOST6, 8080, got), 0);
	assert_string_equal(got, CLIENT6 " 80");
	net_close(net);
	close(ins);
	expect_clean();
}

static void test_host_itself(void **state)
{
	int ins = ns_raw();
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80);
	char want[96];

	(void)state;
	serve_web(ins);
	publish(net, &port);
	expect(world.host, HOST4, 8080, HOST4 " 80");
	expect(world.host, HOST6, 8080, HOST6 " 80");
	expect(world.host, "198.51.100.1", 8080, "198.51.100.1 80");
	expect_error(world.host, "127.0.0.1", 8080, -ECONNREFUSED);	/* until somebody listens */
	expect_error(world.host, "::1", 8080, -ECONNREFUSED);
	snprintf(want, sizeof(want), "%s 8000", net_addrs(net)->host4);
	expect(world.host, net_addrs(net)->ins4, 8000, want);
	net_close(net);
	close(ins);
	expect_clean();
}

/* Binds as rudely as a program can: -errno, or 0. */
static int rude_bind(int family, const char *addr, uint16_t port)
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

static void expect_held(uint16_t port)
{
	assert_int_equal(rude_bind(AF_INET, "0.0.0.0", port), -EADDRINUSE);
	assert_int_equal(rude_bind(AF_INET, HOST4, port), -EADDRINUSE);
	assert_int_equal(rude_bind(AF_INET, "127.0.0.1", port), -EADDRINUSE);
	assert_int_equal(rude_bind(AF_INET, "127.0.0.2", port), -EADDRINUSE);
	assert_int_equal(rude_bind(AF_INET6, "::", port), -EADDRINUSE);
	assert_int_equal(rude_bind(AF_INET6, HOST6, port), -EADDRINUSE);
	assert_int_equal(rude_bind(AF_INET6, "::1", port), -EADDRINUSE);
}

static void expect_accept(int listener, const char *dest, const char *peer)
{
	struct sockaddr_storage ss;
	socklen_t bytes = sizeof(ss);
	char text[64];
	int c = get_socket(world.host, SOCK_STREAM, NULL, dest, 8080), a;

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

static void test_loopback(void **state)
{
	int ins = ns_raw(), l4, l6;
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80), one = tcp("127.0.0.3", 8081, 80), far = tcp(HOST4, 8082, 80);

	(void)state;
	serve_web(ins);
	for (int round = 0; round < 2; round++) {	/* the second with the first's TIME_WAIT on the port */
		publish(net, &port);
		expect_held(8080);
		l4 = net_listen_loopback(net, &port, AF_INET, 16, world.why, sizeof(world.why));
		l6 = net_listen_loopback(net, &port, AF_INET6, 16, world.why, sizeof(world.why));
		assert_true(l4 >= 0 && l6 >= 0);
		expect_held(8080);
		expect_accept(l4, "127.0.0.1", "127.0.0.1");
		expect_accept(l6, "::1", "::1");
		expect(world.client, HOST4, 8080, CLIENT4 " 80");
		expect(world.host, HOST4, 8080, HOST4 " 80");
		close(l4);
		close(l6);
		unpublish(net, &port);
	}
	publish(net, &one);
	l4 = net_listen_loopback(net, &one, AF_INET, 16, world.why, sizeof(world.why));
	assert_true(l4 >= 0);
	close(l4);
	assert_int_equal(net_listen_loopback(net, &one, AF_INET6, 16, world.why, sizeof(world.why)), -EADDRNOTAVAIL);
	publish(net, &far);
	assert_int_equal(net_listen_loopback(net, &far, AF_INET, 16, world.why, sizeof(world.why)), -EADDRNOTAVAIL);
	assert_int_equal(net_listen_loopback(net, &port, AF_INET, 16, world.why, sizeof(world.why)), -ENOENT);
	net_close(net);
	close(ins);
	expect_clean();
}

static void test_outgoing(void **state)
{
	static const uint16_t ports[] = { 7000 };
	int ins = ns_raw();
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80);
	char want[96];
	int somaxconn;

	(void)state;
	serve(world.client, 1, ports);
	serve_web(ins);
	expect(ins, CLIENT4, 7000, HOST4 " 7000");
	expect(ins, CLIENT6, 7000, HOST6 " 7000");
	publish(net, &port);
	snprintf(want, sizeof(want), "%s 80", net_addrs(net)->host4);
	expect(ins, HOST4, 8080, want);		/* its own published port, through the host */
	snprintf(want, sizeof(want), "%s 80", net_addrs(net)->host6);
	expect(ins, HOST6, 8080, want);
	enter(ins);
	assert_int_equal(sysctl_read(&somaxconn, "net/core/somaxconn"), 0);
	assert_int_equal(somaxconn, get("net/core/somaxconn"));
	net_close(net);
	close(ins);
	expect_clean();
}

/* Whether a datagram from that source in ns reaches the client's port 7001. */
static bool datagram_passes(int ns, const char *source, const char *dest)
{
	struct pollfd p = { .events = POLLIN };
	int fd, passes;

	enter(world.client);
	p.fd = server_socket(strchr(dest, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM, 7001);
	fd = get_socket(ns, SOCK_DGRAM, source, dest, 7001);
	assert_true(p.fd >= 0 && fd >= 0);
	assert_int_equal(send(fd, "?", 1, 0), 1);
	passes = poll(&p, 1, 300);
	close(fd);
	close(p.fd);
	return passes;
}

static void test_spoof(void **state)
{
	int ins = ns_raw(), nl;
	struct net *net = app("web", ins);

	(void)state;
	enter(ins);
	nl = rtnl_open();
	assert_int_equal(rtnl_addr_add(nl, if_nametoindex("eth0"), "203.0.113.9", 32), 0);
	assert_int_equal(rtnl_addr_add(nl, if_nametoindex("eth0"), "2001:db8:9::9", 128), 0);
	close(nl);
	assert_true(datagram_passes(ins, net_addrs(net)->ins4, CLIENT4));	/* and resolves the neighbours */
	assert_true(datagram_passes(ins, net_addrs(net)->ins6, CLIENT6));
	assert_false(datagram_passes(ins, "203.0.113.9", CLIENT4));
	assert_false(datagram_passes(ins, "2001:db8:9::9", CLIENT6));
	net_close(net);
	close(ins);
	expect_clean();
}

static void test_change(void **state)
{
	int ins = ns_raw();
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80), one = tcp(HOST4, 9090, 80), only6 = tcp("::", 9091, 80);
	char *before, *after;

	(void)state;
	serve_web(ins);
	publish(net, &port);
	publish(net, &one);
	publish(net, &only6);
	before = nft("list table inet mw-web");
	publish(net, &port);
	after = nft("list table inet mw-web");
	assert_string_equal(before, after);
	free(before);
	free(after);
	port.ins_port = 8000;
	publish(net, &port);
	expect(world.client, HOST4, 8080, CLIENT4 " 8000");
	expect(world.client, HOST4, 9090, CLIENT4 " 80");
	expect_error(world.client, "198.51.100.1", 9090, -ECONNREFUSED);
	expect_error(world.client, HOST6, 9090, -ECONNREFUSED);
	expect(world.client, HOST6, 9091, CLIENT6 " 80");
	expect_error(world.client, HOST4, 9091, -ECONNREFUSED);
	unpublish(net, &port);
	expect_error(world.client, HOST4, 8080, -ECONNREFUSED);
	expect(world.client, HOST4, 9090, CLIENT4 " 80");
	assert_int_equal(rude_bind(AF_INET, "0.0.0.0", 8080), 0);
	assert_int_equal(net_unpublish(net, &port, world.why, sizeof(world.why)), -ENOENT);
	net_close(net);
	close(ins);
	expect_clean();
}

static void test_conflict(void **state)
{
	static const uint16_t ports[] = { 9000 };
	int ins = ns_raw(), ins2 = ns_raw();
	struct net *net = app("web", ins), *second = app("db", ins2);
	struct plan_port taken = tcp(NULL, 9000, 80), port = tcp(NULL, 8080, 80), away = tcp("192.0.2.99", 8081, 80);

	(void)state;
	serve(world.host, 1, ports);
	assert_int_equal(net_publish(net, &taken, world.why, sizeof(world.why)), -EADDRINUSE);
	print_message("%s\n", world.why);
	assert_non_null(strstr(world.why, "tcp port 9000"));
	assert_non_null(strstr(world.why, "-p 17000:80"));
	taken.proto = IPPROTO_UDP;
	assert_int_equal(net_publish(net, &taken, world.why, sizeof(world.why)), -EADDRINUSE);
	publish(net, &port);
	assert_int_equal(net_publish(second, &port, world.why, sizeof(world.why)), -EADDRINUSE);
	port = tcp(HOST4, 8080, 80);
	assert_int_equal(net_publish(second, &port, world.why, sizeof(world.why)), -EADDRINUSE);
	port.proto = IPPROTO_UDP;
	publish(net, &port);
	assert_int_equal(net_publish(second, &port, world.why, sizeof(world.why)), -EADDRINUSE);
	assert_int_equal(net_publish(net, &away, world.why, sizeof(world.why)), -EADDRNOTAVAIL);
	print_message("%s\n", world.why);
	net_close(second);
	net_close(net);
	close(ins);
	close(ins2);
	expect_clean();
}

static void test_two(void **state)
{
	int ins = ns_raw(), ins2 = ns_raw(), ins3 = ns_raw();
	struct net *a = app("a.b-c_d", ins), *b = app("..", ins2), *c = NULL;
	struct plan_port pa = tcp(NULL, 8080, 80), pb = tcp(NULL, 8081, 8000);

	(void)state;
	serve_web(ins);
	serve_web(ins2);
	publish(a, &pa);
	publish(b, &pb);
	assert_string_not_equal(net_addrs(a)->ins4, net_addrs(b)->ins4);
	expect(world.client, HOST4, 8080, CLIENT4 " 80");
	expect(world.client, HOST6, 8081, CLIENT6 " 8000");
	expect_error(ins, net_addrs(b)->ins4, 80, -ETIMEDOUT);	/* not past what is published */
	assert_int_equal(get_from(ins, SOCK_STREAM, NULL, HOST4, 8081, world.why), 0);
	assert_int_equal(net_open(&c, "..", ins3, world.why, sizeof(world.why)), -EEXIST);
	print_message("%s\n", world.why);
	assert_int_equal(net_open(&c, "a;b", ins3, world.why, sizeof(world.why)), -EINVAL);
	assert_int_equal(net_open(&c, "mine", world.host, world.why, sizeof(world.why)), -EINVAL);
	assert_int_equal(net_open(&c, "mine", ins, world.why, sizeof(world.why)), -EEXIST);	/* has an eth0 */
	assert_null(c);
	net_close(a);
	expect_error(world.client, HOST4, 8080, -ECONNREFUSED);
	expect(world.client, HOST4, 8081, CLIENT4 " 8000");
	net_close(b);
	close(ins);
	close(ins2);
	close(ins3);
	expect_clean();
}

/* Forwarding that we switched on serves us alone; what the administrator switched on is left alone. */
static void forwards_only_us(void)
{
	static const uint16_t ports[] = { 7000 };
	int ins = ns_raw(), ins2 = ns_raw();
	struct net *net = app("web", ins), *second = app("db", ins2);
	struct plan_port port = tcp(NULL, 8080, 80);

	serve(world.other, 1, ports);
	serve_web(ins);
	publish(net, &port);
	expect(world.client, HOST4, 8080, CLIENT4 " 80");
	expect(world.client, HOST6, 8080, CLIENT6 " 80");
	assert_int_equal(get("net/ipv4/ip_forward"), 0);
	expect_error(world.client, OTHER4, 7000, -ETIMEDOUT);
	expect_error(world.client, OTHER6, 7000, -ETIMEDOUT);
	net_close(second);
	expect(world.client, HOST6, 8080, CLIENT6 " 80");
	expect_error(world.client, OTHER4, 7000, -ETIMEDOUT);
	net_close(net);
	close(ins);
	close(ins2);
	expect_clean();
}

static void test_no_router(void **state)
{
	(void)state;
	forwards_only_us();
}

static void test_no_router_old_kernel(void **state)
{
	(void)state;
	netfwd_old_kernel = true;
	forwards_only_us();
}

static void test_is_router(void **state)
{
	static const uint16_t ports[] = { 7000 };
	int ins = ns_raw();
	struct net *net;

	(void)state;
	serve(world.other, 1, ports);
	assert_int_equal(sysctl_write(1, "net/ipv4/ip_forward"), 0);
	assert_int_equal(sysctl_write(1, "net/ipv6/conf/all/forwarding"), 0);
	net = app("web", ins);
	expect(world.client, OTHER4, 7000, CLIENT4 " 7000");
	expect(world.client, OTHER6, 7000, CLIENT6 " 7000");
	net_close(net);
	close(ins);
	expect(world.client, OTHER4, 7000, CLIENT4 " 7000");
	expect(world.client, OTHER6, 7000, CLIENT6 " 7000");
	assert_int_equal(get("net/ipv4/conf/h0/tag"), 0);
}

/* ---- a broker that is killed ---- */

struct killed {
	pid_t broker, ins, bystander;
	char host_if[PLAN_IF_BYTES];
};

static void broker_process(int tell)
{
	struct killed k = { .broker = getpid() };
	struct plan_port port = tcp(NULL, 8080, 80);
	struct net *net;
	int ins = ns_raw();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	net = app("web", ins);
	serve_web(ins);
	k.ins = world.pids[world.pid_count - 1];
	publish(net, &port);
	strcpy(k.host_if, net_addrs(net)->host_if);
	k.bystander = fork();		/* an application that inherits whatever is not close-on-exec */
	if (!k.bystander) {		/* ends by itself, also if the test does not live to end it */
		execlp("sleep", "sleep", "60", (char *)NULL);
		_exit(1);
	}
	if (write(tell, &k, sizeof(k)) != sizeof(k))
		_exit(1);
	for (;;)
		pause();
}

static bool host_has(const char *name)
{
	enter(world.host);
	return if_nametoindex(name);
}

static bool rules_are_back(void)
{
	char *rules = nft("list ruleset");
	bool same = !strcmp(rules, world.rules);

	free(rules);
	return same;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void test_killed(void **state)
{
	struct killed k;
	int pipes[2], ins = ns_raw();
	struct net *net;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	k.broker = fork();
	if (!k.broker)
		broker_process(pipes[1]);
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &k, sizeof(k)), sizeof(k));
	close(pipes[0]);
	expect(world.client, HOST4, 8080, CLIENT4 " 80");

	kill(k.broker, SIGKILL);
	waitpid(k.broker, NULL, 0);
	pause_ms(100);		/* its INS has PR_SET_PDEATHSIG */
	for (int i = 0; i < 50 && (host_has(k.host_if) || !rules_are_back()); i++)
		pause_ms(100);
	assert_int_equal(kill(k.bystander, 0), 0);	/* and still the table is gone */
	assert_true(rules_are_back());
	assert_false(host_has(k.host_if));
	assert_int_equal(rude_bind(AF_INET, "0.0.0.0", 8080), 0);
	kill(k.bystander, SIGKILL);
	waitpid(k.bystander, NULL, 0);
	waitpid(k.ins, NULL, 0);

	assert_int_equal(get("net/ipv4/conf/h0/forwarding"), 1);	/* what a killed broker leaves */
	net = app("web", ins);
	net_close(net);
	close(ins);
	expect_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loopback, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outgoing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spoof, setup, teardown),
		cmocka_unit_test_setup_teardown(test_change, setup, teardown),
		cmocka_unit_test_setup_teardown(test_conflict, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_router, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_router_old_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_is_router, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
	};

	if (geteuid()) {
		fprintf(stderr, "net_test needs root: it makes network namespaces; run it with sudo\n");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
