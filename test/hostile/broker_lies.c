// SPDX-License-Identifier: Apache-2.0
/*
 * An INS that lies to its broker, and one that misuses what it was given: sockets of the host's network. Telemetry that names
 * processes which are not the application's.
 * Trust: lab.c draws the host and its neighbours; the kernel.
 *
 * The INS is played by a child without privileges, which ends one use of a socket with connect(AF_UNSPEC) and begins another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/inss.h"
#include "broker/owner.h"
#include "broker/record.h"
#include "lib/clock.h"
#include "lib/fdpass.h"
#include "link/owner.h"
#include "test/net/lab.h"

#define PORT 7100
#define OWN_PORT 7101
#define PATIENCE_MS 300 /* for what must not come */

static char why[NET_WHY_BYTES];

static struct sockaddr_in at(const char *addr, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	assert_int_equal(inet_pton(AF_INET, addr, &in.sin_addr), 1);
	return in;
}

static int listener(const char *addr, uint16_t port)
{
	struct sockaddr_in in = at(addr, port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* 0, or -errno; -EINPROGRESS after a while without any answer. The socket becomes a blocking one. */
static int connect_to(int fd, const char *addr, uint16_t port)
{
	struct timeval patience = { .tv_usec = PATIENCE_MS * 1000 };
	struct sockaddr_in in = at(addr, port);

	fcntl(fd, F_SETFL, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0 ? -errno : 0;
}

static void begin_anew(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	(void)connect(fd, &none, sizeof(none));
}

/* Runs it as an INS would: nobody, without capabilities. It must return 0; else it returns the step that went wrong. */
static void as_ins(int (*play)(int fd), int fd)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(99);
		_exit(play(fd));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* What the broker answers to one record. The descriptor, or its status. */
static int ask(const struct run_options *o, struct broker_msg m)
{
	struct one_ins ins = { .netns = -1 };
	int pair[2], fd = -1, count = 1;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ins.child.fd = pair[0];
	assert_int_equal(publish_handle(NULL, o, &ins, &m, (int[]){ -1, -1 }), 0);
	assert_int_equal(fdpass_recv(pair[1], &m, sizeof(m), &fd, &count, MSG_DONTWAIT), sizeof(m));
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(count, m.status == 0);
	return count ? fd : m.status;
}

static struct broker_msg loopback_record(uint16_t family)
{
	struct broker_msg m = { .kind = BM_LOOPBACK, .addr = { .family = family, .addr = { 127, 0, 0, 1 }, .port = PORT } };

	return m;
}

static void test_option_off(void **state)
{
	static const struct run_options off = { .isolated = true }, on = { .isolated = true, .host_loopback = true };
	struct broker_msg m = loopback_record(MW_FAMILY_IP4);

	(void)state;
	m.status = 1;
	m.dual = 1;
	assert_int_equal(ask(&off, m), -EPERM);
	assert_int_equal(ask(&off, loopback_record(MW_FAMILY_IP6)), -EPERM);
	assert_int_equal(ask(&off, loopback_record(MW_FAMILY_NONE)), -EPERM);
	assert_int_equal(ask(&on, loopback_record(MW_FAMILY_NONE)), -EPERM);
	assert_int_equal(ask(&on, loopback_record(AF_UNIX)), -EPERM);
}

static int misuse_connector(int fd)
{
	static const int off;

	if (connect_to(fd, "127.0.0.1", PORT) != 0)
		return 1; /* what it is for */
	begin_anew(fd);
	if (connect_to(fd, HOST4, PORT) == 0)
		return 2;
	begin_anew(fd);
	if (connect_to(fd, CLIENT4, PORT) == 0)
		return 3;
	begin_anew(fd);
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0) == 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "h0", 3) == 0)
		return 4;
	return setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &off, sizeof(off)) == 0 ? 5 : 0;
}

static int become_listener(int fd)
{
	struct sockaddr_in in = at("127.0.0.1", OWN_PORT);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 8) < 0)
		return 1;
	return connect_to(client, "127.0.0.1", OWN_PORT) == 0 ? 2 : 0;
}

static void test_connector(void **state)
{
	static const struct run_options on = { .isolated = true, .host_loopback = true };
	int one = listener("127.0.0.1", PORT), two = listener(HOST4, PORT), three, fd;

	(void)state;
	lab_enter(lab.client);
	three = listener(CLIENT4, PORT);
	lab_enter(lab.host);
	fd = ask(&on, loopback_record(MW_FAMILY_IP4));
	assert_true(fd >= 0);
	as_ins(misuse_connector, fd);
	close(fd);
	fd = ask(&on, loopback_record(MW_FAMILY_IP4));
	as_ins(become_listener, fd);
	close(fd);
	close(one);
	close(two);
	close(three);
}

/* A published port's listener on loopback: it serves, and then neither it nor what it accepted becomes a client. */
static int misuse_listener(int fd)
{
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted;
	char byte = 'x';

	if (connect_to(client, "127.0.0.1", OWN_PORT) != 0 || (accepted = accept(fd, NULL, NULL)) < 0)
		return 1;
	if (write(client, &byte, 1) != 1 || read(accepted, &byte, 1) != 1 || write(accepted, &byte, 1) != 1 ||
	    read(client, &byte, 1) != 1)
		return 2;
	begin_anew(accepted);
	if (connect_to(accepted, "127.0.0.1", PORT) == 0 || connect_to(accepted, CLIENT4, PORT) == 0)
		return 3;
	begin_anew(fd);
	if (connect_to(fd, "127.0.0.1", PORT) == 0)
		return 4;
	begin_anew(fd);
	return connect_to(fd, HOST4, PORT) == 0 ? 5 : 0;
}

static void test_listener(void **state)
{
	struct plan_port port = { .proto = IPPROTO_TCP, .family = AF_INET, .addr = { 127, 0, 0, 1 }, .host_port = OWN_PORT,
				  .ins_port = OWN_PORT };
	int one = listener("127.0.0.1", PORT), two = listener(HOST4, PORT), ns = lab_ns_raw(), fd;
	struct net *net = NULL;

	(void)state;
	lab_enter(lab.host);
	assert_int_equal(net_open(&net, "web", ns, why, sizeof(why)), 0);
	assert_int_equal(net_publish(net, &port, why, sizeof(why)), 0);
	fd = net_listen_loopback(net, &port, AF_INET, 8, why, sizeof(why));
	assert_true(fd >= 0);
	as_ins(misuse_listener, fd);
	close(fd);
	net_close(net);
	close(ns);
	close(one);
	close(two);
}

/* The status that the broker answers with when an INS of that network asks it to set an option, or to bind, for a process that may. */
static int ask_for(int netns, struct broker_msg m, int fd)
{
	static const struct run_options o = { .isolated = true };
	struct one_ins one = { .netns = netns };
	int pair[2], asker[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, asker), 0);
	one.child.fd = pair[0];
	m.status = -EPERM;
	if (m.kind == BM_OPTION)
		privilege_handle(&one, 0, &m, (const uint8_t[4]){ 1 }, 4, (int[]){ fd, asker[1] });
	else
		assert_int_equal(publish_handle(NULL, &o, &one, &m, (int[]){ fd, -1 }), 0);
	assert_int_equal(recv(pair[1], &m, sizeof(m), MSG_DONTWAIT), sizeof(m));
	for (int i = 0; i < 2; i++) {
		close(pair[i]);
		close(asker[i]);
	}
	return m.status;
}

static struct broker_msg option_record(int name, int bytes)
{
	struct broker_msg m = { .kind = BM_OPTION, .level = SOL_SOCKET, .name = name, .bytes = bytes };

	return m;
}

/* A process of the application's has every privilege; the host's sockets that the INS has are no wider for it. */
static void test_options(void **state)
{
	static const struct run_options on = { .isolated = true, .host_loopback = true };
	struct broker_msg low = { .kind = BM_BIND, .addr = { .family = MW_FAMILY_IP4, .addr = { 127, 0, 0, 1 }, .port = 600 } };
	int ns = lab_ns_raw(), own, other, index = 0;
	socklen_t n = sizeof(index);

	(void)state;
	lab_enter(lab.host);
	own = net_socket(ns, AF_INET, SOCK_STREAM, 0);
	other = ask(&on, loopback_record(MW_FAMILY_IP4));
	assert_true(own >= 0 && other >= 0);
	assert_int_equal(ask_for(ns, option_record(SO_MARK, 4), own), 0);
	assert_int_equal(ask_for(ns, option_record(SO_BINDTODEVICE, 0), own), 0);
	assert_int_equal(ask_for(ns, option_record(SO_DEBUG, 4), other), 0);
	assert_int_equal(ask_for(ns, option_record(SO_MARK, 4), other), -EPERM);
	assert_int_equal(ask_for(ns, option_record(SO_BINDTODEVICE, 0), other), -EPERM);
	assert_int_equal(ask_for(ns, low, other), -EPERM);
	assert_int_equal(getsockopt(other, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &n), 0);
	assert_int_equal(index, 1); /* lo */
	assert_int_equal(ask_for(-1, option_record(SO_MARK, 4), other), 0); /* of one on the host's network they are its own */
	assert_int_equal(ask_for(-1, option_record(SO_MARK, 4), ns), -EPERM);
	close(own);
	close(other);
	close(ns);
}

static int lines_of(FILE *said)
{
	int n = 0, c;

	rewind(said);
	while ((c = fgetc(said)) != EOF)
		n += c == '\n';
	fclose(said);
	return n;
}

/* More listeners of one port than fit into any small table, and more than fit into ours: none is forgotten. Not each is complained of. */
static void test_many(void **state)
{
	static const struct run_options o = { .isolated = true };
	struct broker_msg m = { .kind = BM_LISTEN, .addr = { .family = MW_FAMILY_IP4, .addr = { 127, 0, 0, 1 }, .port = OWN_PORT } };
	struct one_ins ins = { .netns = -1 };
	const struct plan_port *list;
	int pair[2], ns = lab_ns_raw(), made = 0, own = dup(STDERR_FILENO);
	FILE *said = tmpfile();
	struct net *net = NULL;

	(void)state;
	assert_non_null(said);
	lab_enter(lab.host);
	assert_int_equal(net_open(&net, "web", ns, why, sizeof(why)), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ins.child.fd = pair[0];
	dup2(fileno(said), STDERR_FILENO);
	for (uint32_t slot = 0; slot < 2000; slot++) {
		struct broker_msg a = m;

		a.slot = slot;
		assert_int_equal(publish_handle(net, &o, &ins, &a, (int[]){ -1, -1 }), 0);
		assert_int_equal(recv(pair[1], &a, sizeof(a), MSG_DONTWAIT), sizeof(a));
		assert_true(a.status == 0 || (a.status == -ENOSPC && made >= 1024));
		made += a.status == 0;
	}
	dup2(own, STDERR_FILENO);
	close(own);
	assert_in_range(lines_of(said), 1, 50); /* some in each few seconds, of nearly a thousand */
	m.kind = BM_CLOSED;
	for (m.slot = 0; m.slot < (uint32_t)made; m.slot++) {
		assert_int_equal(publish_list(&list), 1);
		assert_int_equal(publish_handle(net, &o, &ins, &m, (int[]){ -1, -1 }), 0);
	}
	assert_int_equal(publish_list(&list), 0);
	close(listener("127.0.0.1", OWN_PORT)); /* it is nobody's */
	close(pair[0]);
	close(pair[1]);
	net_close(net);
	close(ns);
}

/* One that asks and never reads what it is answered is not heard until it does: the broker waits for nobody. Nothing is lost by it. */
static void test_mute(void **state)
{
	static uint8_t value[BM_VALUE_MAX];
	struct broker_msg m = { .kind = BM_OPTION };
	struct one_ins ins = { .netns = -1 };
	int pair[2], fds[2], count = 2;
	uint32_t asked = 0, answered = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ins.child.fd = pair[0];
	alarm(20);
	for (int turn = 0; turn < 5000; turn++) {
		m.slot = asked;
		asked += send(pair[1], &m, sizeof(m), MSG_DONTWAIT) == sizeof(m);
		if (record_look(&ins, &m, value, fds, &count) <= 0)
			continue;
		record_answer(&ins, &m, NULL, 0);
		record_done(&ins);
	}
	assert_false(record_room(&ins));
	while (recv(pair[1], &m, sizeof(m), MSG_DONTWAIT) == sizeof(m)) {
		assert_int_equal(m.slot, answered++);
		if (record_look(&ins, &m, value, fds, &count) > 0) {
			record_answer(&ins, &m, NULL, 0);
			record_done(&ins);
		}
	}
	alarm(0);
	assert_int_equal(answered, asked);
	close(pair[0]);
	close(pair[1]);
}

/* One that never takes what it is told keeps the broker from the others for a few seconds, however much that is. */
static void test_deaf(void **state)
{
	static const struct run_options o = { .name = "lies" };
	struct broker_msg m = { .kind = BM_UNSHARE };
	struct one_ins ins = { .netns = -1 };
	int64_t began = clock_ms();
	int pair[2];

	(void)state;
	assert_int_equal(inss_init(&o), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ins.child.fd = pair[0];
	for (int i = 0; i < 2000 && clock_ms() - began < 9000; i++)
		inss_send(&ins, &m, NULL, 0, NULL, 0);
	assert_in_range(clock_ms() - began, 0, 5000);
	close(pair[0]);
	close(pair[1]);
}

/* An INS binds a UDP port, or has closed it. */
static void say(struct net *net, uint32_t number, uint32_t kind)
{
	static const struct run_options o = { .isolated = true };
	struct broker_msg m = { .kind = kind, .slot = 3, .gen = 1, .addr = { .family = MW_FAMILY_IP4, .port = OWN_PORT } };
	struct one_ins ins = { .number = number, .netns = -1 };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ins.child.fd = pair[0];
	assert_int_equal(publish_handle(net, &o, &ins, &m, (int[]){ -1, -1 }), 0);
	if (kind == BM_BOUND) {
		assert_int_equal(recv(pair[1], &m, sizeof(m), MSG_DONTWAIT), sizeof(m));
		assert_int_equal(m.status, 0);
	}
	close(pair[0]);
	close(pair[1]);
}

static bool leads_to(struct net *net, uint32_t number)
{
	char *rules = lab_nft("list table inet mw-web"), want[80];
	bool is;

	snprintf(want, sizeof(want), "udp dport %d dnat ip to %s:%d", OWN_PORT, net_addrs(net, number)->ins4, OWN_PORT);
	is = strstr(rules, want);
	free(rules);
	return is;
}

/* Two INSs with sockets of one UDP port (SO_REUSEPORT): it leads to one that has it, whichever goes first. */
static void test_datagrams(void **state)
{
	int ns = lab_ns_raw(), second = lab_ns_raw();
	struct net *net = NULL;

	(void)state;
	lab_enter(lab.host);
	assert_int_equal(net_open(&net, "web", ns, why, sizeof(why)), 0);
	assert_int_equal(net_join(net, 1, second, why, sizeof(why)), 0);
	say(net, 0, BM_BOUND);
	say(net, 1, BM_BOUND);
	assert_true(leads_to(net, 1));
	say(net, 1, BM_CLOSED);
	assert_true(leads_to(net, 0));
	say(net, 1, BM_BOUND);
	say(net, 0, BM_CLOSED);
	assert_true(leads_to(net, 1));
	publish_forget(net, 1);
	assert_false(leads_to(net, 1));
	net_close(net);
	close(ns);
	close(second);
}

/* The status that the broker answers with; 1: it has enough of us. */
static int ask_owner(uint32_t kind, uint32_t pid, ino_t netns)
{
	struct owner_ask m = { .seq = 7, .kind = kind, .pid = pid, .status = 5 };
	int pair[2], r = 1;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(send(pair[1], &m, sizeof(m), 0), sizeof(m));
	if (owner_handle(pair[0], netns)) {
		assert_int_equal(recv(pair[1], &m, sizeof(m), MSG_DONTWAIT), sizeof(m));
		assert_int_equal(m.seq, 7);
		r = m.status;
	}
	close(pair[0]);
	close(pair[1]);
	return r;
}

static void test_owner(void **state)
{
	int status, pair[2];
	pid_t pid = fork();
	struct stat st;

	(void)state;
	if (pid == 0) {
		signal(SIGINT, SIG_DFL);
		for (;;)
			pause();
	}
	assert_int_equal(stat("/proc/self/ns/net", &st), 0);
	assert_int_equal(ask_owner(OWNER_INTERRUPT, (uint32_t)pid, st.st_ino + 1), -ESRCH); /* another's */
	assert_int_equal(ask_owner(OWNER_RUNNING, (uint32_t)pid, st.st_ino + 1), -ESRCH);
	for (uint32_t n = 0; n < 2; n++)
		assert_int_equal(ask_owner(OWNER_INTERRUPT, n, st.st_ino), -ESRCH);
	assert_int_equal(ask_owner(OWNER_INTERRUPT, UINT32_MAX, st.st_ino), -ESRCH);
	assert_int_equal(ask_owner(OWNER_INTERRUPT, (uint32_t)-pid, st.st_ino), -ESRCH);
	assert_int_equal(ask_owner(0, (uint32_t)pid, st.st_ino), -EINVAL);
	for (uint32_t kind = OWNER_WRITE; kind <= OWNER_NETFLOW + 1; kind++) /* what only the broker says */
		assert_int_equal(ask_owner(kind, (uint32_t)pid, st.st_ino), -EINVAL);
	assert_int_equal(ask_owner(OWNER_METRICS, (uint32_t)pid, st.st_ino), 0); /* there are no others */
	assert_int_equal(ask_owner(OWNER_RUNNING, (uint32_t)pid, st.st_ino), 0); /* and so it lives */
	assert_int_equal(ask_owner(OWNER_INTERRUPT, (uint32_t)pid, st.st_ino), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
	assert_int_equal(ask_owner(OWNER_RUNNING, (uint32_t)pid, st.st_ino), -ESRCH);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(owner_handle(pair[0], st.st_ino)); /* nothing there */
	assert_int_equal(send(pair[1], "xy", 2, 0), 2);
	assert_false(owner_handle(pair[0], st.st_ino));
	close(pair[1]);
	assert_false(owner_handle(pair[0], st.st_ino));
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_option_off, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_connector, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_listener, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_options, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_datagrams, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_many, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_owner, lab_setup, lab_teardown),
		cmocka_unit_test(test_mute),
		cmocka_unit_test(test_deaf),
	};

	if (geteuid() != 0)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
