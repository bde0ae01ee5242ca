/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/net.c on a real kernel, as root, in the namespaces that lab.h draws.
 * Trust: believes lab.c, and the servers of probe.c on whom they saw.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
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
#include "test/net/lab.h"
#include "test/net/probe.h"

static char why[NET_WHY_BYTES];

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

	lab_enter(lab.host);
	if (net_open(&net, name, ins, why, sizeof(why)))
		fail_msg("net_open: %s", why);
	return net;
}

static void publish(struct net *net, const struct plan_port *port)
{
	if (net_publish(net, port, why, sizeof(why)))
		fail_msg("net_publish: %s", why);
}

static void unpublish(struct net *net, const struct plan_port *port)
{
	if (net_unpublish(net, port, why, sizeof(why)))
		fail_msg("net_unpublish: %s", why);
}

/* ---- tests ---- */

static void test_client(void **state)
{
	int ins = lab_ns_raw();
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80);
	char got[PROBE_TEXT_BYTES];

	(void)state;
	probe_serve_web(ins);
	probe_expect_error(lab.client, HOST4, 8080, -ECONNREFUSED);
	publish(net, &port);
	probe_expect(lab.client, HOST4, 8080, CLIENT4 " 80");
	probe_expect(lab.client, HOST6, 8080, CLIENT6 " 80");
	probe_expect(lab.client, "198.51.100.1", 8080, CLIENT4 " 80");	/* every address of the host */
	probe_expect(lab.other, HOST4, 8080, OTHER4 " 80");
	probe_expect(lab.other, "2001:db8:1::1", 8080, OTHER6 " 80");
	probe_expect_error(lab.client, HOST4, 8000, -ECONNREFUSED);

	port.proto = IPPROTO_UDP;
	publish(net, &port);
	assert_int_equal(probe_get(lab.client, SOCK_DGRAM, NULL, HOST4, 8080, got), 0);
	assert_string_equal(got, CLIENT4 " 80");
	assert_int_equal(probe_get(lab.client, SOCK_DGRAM, NULL, HOST6, 8080, got), 0);
	assert_string_equal(got, CLIENT6 " 80");
	net_close(net);
	close(ins);
	lab_expect_clean();
}

static void test_host_itself(void **state)
{
	int ins = lab_ns_raw();
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80);
	char want[PROBE_TEXT_BYTES];

	(void)state;
	probe_serve_web(ins);
	publish(net, &port);
	probe_expect(lab.host, HOST4, 8080, HOST4 " 80");
	probe_expect(lab.host, HOST6, 8080, HOST6 " 80");
	probe_expect(lab.host, "198.51.100.1", 8080, "198.51.100.1 80");
	probe_expect_error(lab.host, "127.0.0.1", 8080, -ECONNREFUSED);	/* until somebody listens */
	probe_expect_error(lab.host, "::1", 8080, -ECONNREFUSED);
	snprintf(want, sizeof(want), "%s 8000", net_addrs(net, 0)->host4);
	probe_expect(lab.host, net_addrs(net, 0)->ins4, 8000, want);
	net_close(net);
	close(ins);
	lab_expect_clean();
}

static void test_loopback(void **state)
{
	int ins = lab_ns_raw(), l4, l6;
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80), one = tcp("127.0.0.3", 8081, 80), far = tcp(HOST4, 8082, 80);

	(void)state;
	probe_serve_web(ins);
	for (int round = 0; round < 2; round++) {	/* the second with the first's TIME_WAIT on the port */
		publish(net, &port);
		probe_expect_held(8080);
		l4 = net_listen_loopback(net, &port, AF_INET, 16, why, sizeof(why));
		l6 = net_listen_loopback(net, &port, AF_INET6, 16, why, sizeof(why));
		assert_true(l4 >= 0 && l6 >= 0);
		probe_expect_held(8080);
		probe_expect_accept(l4, "127.0.0.1", "127.0.0.1");
		probe_expect_accept(l6, "::1", "::1");
		probe_expect(lab.client, HOST4, 8080, CLIENT4 " 80");
		probe_expect(lab.host, HOST4, 8080, HOST4 " 80");
		close(l4);
		close(l6);
		unpublish(net, &port);
	}
	publish(net, &one);
	l4 = net_listen_loopback(net, &one, AF_INET, 16, why, sizeof(why));
	assert_true(l4 >= 0);
	close(l4);
	assert_int_equal(net_listen_loopback(net, &one, AF_INET6, 16, why, sizeof(why)), -EADDRNOTAVAIL);
	publish(net, &far);
	assert_int_equal(net_listen_loopback(net, &far, AF_INET, 16, why, sizeof(why)), -EADDRNOTAVAIL);
	assert_int_equal(net_listen_loopback(net, &port, AF_INET, 16, why, sizeof(why)), -ENOENT);
	net_close(net);
	close(ins);
	lab_expect_clean();
}

static void test_outgoing(void **state)
{
	static const uint16_t ports[] = { 7000 };
	int ins = lab_ns_raw();
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80);
	char want[PROBE_TEXT_BYTES];
	int somaxconn;

	(void)state;
	probe_serve(lab.client, 1, ports);
	probe_serve_web(ins);
	probe_expect(ins, CLIENT4, 7000, HOST4 " 7000");
	probe_expect(ins, CLIENT6, 7000, HOST6 " 7000");
	publish(net, &port);
	snprintf(want, sizeof(want), "%s 80", net_addrs(net, 0)->host4);
	probe_expect(ins, HOST4, 8080, want);		/* its own published port, through the host */
	snprintf(want, sizeof(want), "%s 80", net_addrs(net, 0)->host6);
	probe_expect(ins, HOST6, 8080, want);
	lab_enter(ins);
	assert_int_equal(sysctl_read(&somaxconn, "net/core/somaxconn"), 0);
	assert_int_equal(somaxconn, lab_sysctl("net/core/somaxconn"));
	net_close(net);
	close(ins);
	lab_expect_clean();
}

/* Whether a datagram from that source in ns reaches the client's port 7001 within that time. */
static bool datagram_passes(int ns, const char *source, const char *dest, int ms)
{
	struct pollfd p = { .events = POLLIN };
	int fd, passes;

	lab_enter(lab.client);
	p.fd = probe_server_socket(strchr(dest, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM, 7001);
	fd = probe_connect(ns, SOCK_DGRAM, source, dest, 7001);
	assert_true(p.fd >= 0 && fd >= 0);
	assert_int_equal(send(fd, "?", 1, 0), 1);
	passes = poll(&p, 1, ms);
	close(fd);
	close(p.fd);
	return passes;
}

static void test_spoof(void **state)
{
	int ins = lab_ns_raw(), nl;
	struct net *net = app("web", ins);

	(void)state;
	lab_enter(ins);
	nl = rtnl_open();
	assert_int_equal(rtnl_addr_add(nl, if_nametoindex("eth0"), "203.0.113.9", 32), 0);
	assert_int_equal(rtnl_addr_add(nl, if_nametoindex("eth0"), "2001:db8:9::9", 128), 0);
	close(nl);
	assert_true(datagram_passes(ins, net_addrs(net, 0)->ins4, CLIENT4, 5000));	/* and resolves the neighbours */
	assert_true(datagram_passes(ins, net_addrs(net, 0)->ins6, CLIENT6, 5000));
	assert_false(datagram_passes(ins, "203.0.113.9", CLIENT4, 300));
	assert_false(datagram_passes(ins, "2001:db8:9::9", CLIENT6, 300));
	net_close(net);
	close(ins);
	lab_expect_clean();
}

static void test_change(void **state)
{
	int ins = lab_ns_raw();
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80), one = tcp(HOST4, 9090, 80), only6 = tcp("::", 9091, 80);
	char *before, *after;

	(void)state;
	probe_serve_web(ins);
	publish(net, &port);
	publish(net, &one);
	publish(net, &only6);
	before = lab_nft("list table inet mw-web");
	publish(net, &port);
	after = lab_nft("list table inet mw-web");
	assert_string_equal(before, after);
	free(before);
	free(after);
	port.ins_port = 8000;
	publish(net, &port);
	probe_expect(lab.client, HOST4, 8080, CLIENT4 " 8000");
	probe_expect(lab.client, HOST4, 9090, CLIENT4 " 80");
	probe_expect_error(lab.client, "198.51.100.1", 9090, -ECONNREFUSED);
	probe_expect_error(lab.client, HOST6, 9090, -ECONNREFUSED);
	probe_expect(lab.client, HOST6, 9091, CLIENT6 " 80");
	probe_expect_error(lab.client, HOST4, 9091, -ECONNREFUSED);
	unpublish(net, &port);
	probe_expect_error(lab.client, HOST4, 8080, -ECONNREFUSED);
	probe_expect(lab.client, HOST4, 9090, CLIENT4 " 80");
	assert_int_equal(probe_bind(AF_INET, "0.0.0.0", 8080), 0);
	assert_int_equal(net_unpublish(net, &port, why, sizeof(why)), -ENOENT);
	net_close(net);
	close(ins);
	lab_expect_clean();
}

static void test_conflict(void **state)
{
	static const uint16_t ports[] = { 9000 };
	int ins = lab_ns_raw(), ins2 = lab_ns_raw();
	struct net *net = app("web", ins), *second = app("db", ins2);
	struct plan_port taken = tcp(NULL, 9000, 80), port = tcp(NULL, 8080, 80), away = tcp("192.0.2.99", 8081, 80);

	(void)state;
	probe_serve(lab.host, 1, ports);
	assert_int_equal(net_publish(net, &taken, why, sizeof(why)), -EADDRINUSE);
	print_message("%s\n", why);
	assert_non_null(strstr(why, "tcp port 9000"));
	assert_non_null(strstr(why, "-p 17000:80"));
	taken.proto = IPPROTO_UDP;
	assert_int_equal(net_publish(net, &taken, why, sizeof(why)), -EADDRINUSE);
	publish(net, &port);
	assert_int_equal(net_publish(second, &port, why, sizeof(why)), -EADDRINUSE);
	port = tcp(HOST4, 8080, 80);
	assert_int_equal(net_publish(second, &port, why, sizeof(why)), -EADDRINUSE);
	port.proto = IPPROTO_UDP;
	publish(net, &port);
	assert_int_equal(net_publish(second, &port, why, sizeof(why)), -EADDRINUSE);
	assert_int_equal(net_publish(net, &away, why, sizeof(why)), -EADDRNOTAVAIL);
	print_message("%s\n", why);
	net_close(second);
	net_close(net);
	close(ins);
	close(ins2);
	lab_expect_clean();
}

/* libnftables' own socket, which the rules hang on. */
static int nft_socket(void)
{
	for (int fd = 3; fd < 256; fd++) {
		int domain = 0, protocol = 0;
		socklen_t n = sizeof(int), m = sizeof(int);

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_NETLINK &&
		    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &m) == 0 && protocol == NETLINK_NETFILTER)
			return fd;
	}
	fail();
	return -1;
}

static void test_refused(void **state)
{
	int ins = lab_ns_raw(), ins2 = lab_ns_raw(), fd, kept, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct net *net = app("web", ins);
	struct plan_port port = tcp(NULL, 8080, 80), other = tcp(NULL, 8081, 80);

	(void)state;
	probe_serve_web(ins);
	publish(net, &port);
	assert_int_equal(net_join(net, 1, ins2, why, sizeof(why)), 0);
	fd = nft_socket();
	kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	dup2(null, fd);
	assert_int_equal(net_publish(net, &other, why, sizeof(why)), -EIO);
	print_message("%s\n", why);
	assert_false(net_is_behind(net)); /* that one was refused, and is not wanted any more */
	assert_int_equal(net_spread(net, 1, true, why, sizeof(why)), -EIO);
	assert_int_equal(net_spread(net, 0, false, why, sizeof(why)), -EIO);
	assert_true(net_is_behind(net) && !net_catch_up(net));
	for (int i = 0; i < 4; i++)
		probe_expect(lab.client, HOST4, 8080, CLIENT4 " 80"); /* what was in force is */
	assert_int_equal(net_spread(net, 0, true, why, sizeof(why)), -EIO);
	assert_int_equal(net_spread(net, 1, false, why, sizeof(why)), -EIO);
	assert_int_equal(net_leave(net, 1, why, sizeof(why)), -EIO);
	dup2(kept, fd);
	close(kept);
	close(null);
	assert_true(net_is_behind(net) && net_catch_up(net) && !net_is_behind(net));
	publish(net, &other);
	probe_expect(lab.client, HOST4, 8080, CLIENT4 " 80");
	probe_expect(lab.client, HOST4, 8081, CLIENT4 " 80");
	net_close(net);
	close(ins);
	close(ins2);
	lab_expect_clean();
}

/* What is published no more while nftables refuses goes when it does not, unless it is published again. */
static void test_refused_removal(void **state)
{
	int ins = lab_ns_raw(), ins2 = lab_ns_raw(), fd, kept, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct net *net = app("web", ins), *second;
	struct plan_port port = tcp(NULL, 8080, 80), again = tcp(NULL, 8081, 80), last = tcp(NULL, 8082, 80);

	(void)state;
	probe_serve_web(ins);
	publish(net, &port);
	publish(net, &again);
	publish(net, &last);
	fd = nft_socket();
	kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	dup2(null, fd);
	assert_int_equal(net_unpublish(net, &port, why, sizeof(why)), -EIO);
	assert_int_equal(net_unpublish(net, &again, why, sizeof(why)), -EIO);
	assert_int_equal(net_publish(net, &again, why, sizeof(why)), -EIO); /* it still ends */
	assert_int_equal(net_unpublish(net, &port, why, sizeof(why)), -ENOENT);
	assert_int_equal(net_listen_loopback(net, &port, AF_INET, 16, why, sizeof(why)), -ENOENT);
	assert_true(net_is_behind(net) && !net_catch_up(net));
	probe_expect(lab.client, HOST4, 8080, CLIENT4 " 80"); /* the rule is in force, so the port is held */
	dup2(kept, fd);
	close(kept);
	close(null);
	publish(net, &again);
	assert_false(net_is_behind(net));
	second = app("db", ins2);
	publish(second, &port);
	assert_int_equal(net_publish(second, &again, why, sizeof(why)), -EADDRINUSE);
	assert_int_equal(net_publish(second, &last, why, sizeof(why)), -EADDRINUSE);
	probe_expect(lab.client, HOST4, 8081, CLIENT4 " 80");
	probe_expect(lab.client, HOST4, 8082, CLIENT4 " 80");
	net_close(second);
	net_close(net);
	close(ins);
	close(ins2);
	lab_expect_clean();
}

static void test_two(void **state)
{
	int ins = lab_ns_raw(), ins2 = lab_ns_raw(), ins3 = lab_ns_raw();
	struct net *a = app("a.b-c_d", ins), *b = app("_..", ins2), *c = NULL;
	struct plan_port pa = tcp(NULL, 8080, 80), pb = tcp(NULL, 8081, 8000);

	(void)state;
	probe_serve_web(ins);
	probe_serve_web(ins2);
	publish(a, &pa);
	publish(b, &pb);
	assert_string_not_equal(net_addrs(a, 0)->ins4, net_addrs(b, 0)->ins4);
	probe_expect(lab.client, HOST4, 8080, CLIENT4 " 80");
	probe_expect(lab.client, HOST6, 8081, CLIENT6 " 8000");
	probe_expect_error(ins, net_addrs(b, 0)->ins4, 80, -ETIMEDOUT);	/* not past what is published */
	assert_int_equal(probe_get(ins, SOCK_STREAM, NULL, HOST4, 8081, why), 0);
	assert_int_equal(net_open(&c, "_..", ins3, why, sizeof(why)), -EEXIST);
	print_message("%s\n", why);
	assert_int_equal(net_open(&c, "a;b", ins3, why, sizeof(why)), -EINVAL);
	assert_int_equal(net_open(&c, "mine", lab.host, why, sizeof(why)), -EINVAL);
	assert_int_equal(net_open(&c, "mine", ins, why, sizeof(why)), -EEXIST);	/* has an eth0 */
	assert_null(c);
	net_close(a);
	probe_expect_error(lab.client, HOST4, 8080, -ECONNREFUSED);
	probe_expect(lab.client, HOST4, 8081, CLIENT4 " 8000");
	net_close(b);
	close(ins);
	close(ins2);
	close(ins3);
	lab_expect_clean();
}

/* Forwarding that we switched on serves us alone; what the administrator switched on is left alone. */
static void forwards_only_us(void)
{
	static const uint16_t ports[] = { 7000 };
	int ins = lab_ns_raw(), ins2 = lab_ns_raw();
	struct net *net = app("web", ins), *second = app("db", ins2);
	struct plan_port port = tcp(NULL, 8080, 80);

	probe_serve(lab.other, 1, ports);
	probe_serve_web(ins);
	publish(net, &port);
	probe_expect(lab.client, HOST4, 8080, CLIENT4 " 80");
	probe_expect(lab.client, HOST6, 8080, CLIENT6 " 80");
	assert_int_equal(lab_sysctl("net/ipv4/ip_forward"), 0);
	probe_expect_error(lab.client, OTHER4, 7000, -ETIMEDOUT);
	probe_expect_error(lab.client, OTHER6, 7000, -ETIMEDOUT);
	net_close(second);
	probe_expect(lab.client, HOST6, 8080, CLIENT6 " 80");
	probe_expect_error(lab.client, OTHER4, 7000, -ETIMEDOUT);
	net_close(net);
	close(ins);
	close(ins2);
	lab_expect_clean();
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
	int ins = lab_ns_raw();
	struct net *net;

	(void)state;
	probe_serve(lab.other, 1, ports);
	assert_int_equal(sysctl_write(1, "net/ipv4/ip_forward"), 0);
	assert_int_equal(sysctl_write(1, "net/ipv6/conf/all/forwarding"), 0);
	net = app("web", ins);
	probe_expect(lab.client, OTHER4, 7000, CLIENT4 " 7000");
	probe_expect(lab.client, OTHER6, 7000, CLIENT6 " 7000");
	net_close(net);
	close(ins);
	probe_expect(lab.client, OTHER4, 7000, CLIENT4 " 7000");
	probe_expect(lab.client, OTHER6, 7000, CLIENT6 " 7000");
	assert_int_equal(lab_sysctl("net/ipv4/conf/h0/tag"), 0);
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
	int ins = lab_ns_raw();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	net = app("web", ins);
	k.ins = probe_serve_web(ins);
	publish(net, &port);
	strcpy(k.host_if, net_addrs(net, 0)->host_if);
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

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void test_killed(void **state)
{
	struct killed k;
	int pipes[2], ins = lab_ns_raw();
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
	probe_expect(lab.client, HOST4, 8080, CLIENT4 " 80");

	kill(k.broker, SIGKILL);
	waitpid(k.broker, NULL, 0);
	pause_ms(100);		/* its INS has PR_SET_PDEATHSIG */
	for (int i = 0; i < 50 && (lab_has_if(k.host_if) || !lab_rules_are_back()); i++)
		pause_ms(100);
	assert_int_equal(kill(k.bystander, 0), 0);	/* and still the table is gone */
	assert_true(lab_rules_are_back());
	assert_false(lab_has_if(k.host_if));
	assert_int_equal(probe_bind(AF_INET, "0.0.0.0", 8080), 0);
	kill(k.bystander, SIGKILL);
	waitpid(k.bystander, NULL, 0);
	waitpid(k.ins, NULL, 0);

	assert_int_equal(lab_sysctl("net/ipv4/conf/h0/forwarding"), 1);	/* what a killed broker leaves */
	net = app("web", ins);
	net_close(net);
	close(ins);
	lab_expect_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_client, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_host_itself, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_loopback, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_outgoing, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_spoof, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_change, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_conflict, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_refused, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_refused_removal, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_two, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_no_router, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_no_router_old_kernel, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_is_router, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_killed, lab_setup, lab_teardown),
	};

	if (geteuid()) {
		fprintf(stderr, "net_test needs root: it makes network namespaces; run it with sudo\n");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
