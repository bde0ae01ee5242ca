// SPDX-License-Identifier: Apache-2.0
/*
 * verb_lies.c - telemetry that sends an INS what it likes instead of verbs.
 * Trust: none; the INS must answer what is a record, drop what is not, and serve on.
 *
 * Usage: verb_lies MW-INS [SEED]. Plays the broker, an application with three sockets, and telemetry.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chan/msg.h"
#include "lib/fdpass.h"
#include "link/broker.h"
#include "link/gate.h"
#include "link/telem.h"

#define ROUNDS  200000u
#define SOCKETS 3
#define FIRST_FREE 20 /* above all descriptors that the INS is given */

static uint64_t seed = 88172645463325252ull;
static int broker, verbs, control;
static pid_t ins;
static uint32_t gates;
static struct {
	uint32_t slot, gen;
} made[SOCKETS];

static uint32_t any(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % below;
}

static void must(bool good, const char *what)
{
	int status = 0;

	if (good)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	if (waitpid(ins, &status, WNOHANG) == ins)
		fprintf(stderr, "the INS has ended, status %#x\n", (unsigned int)status);
	exit(1);
}

static int high(int fd)
{
	int r = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE);

	must(fd >= 0 && r >= 0, "a descriptor");
	close(fd);
	return r;
}

static void start(const char *path, struct sockaddr_un *name, socklen_t *n)
{
	int b[2], v[2], listener = high(socket(AF_UNIX, SOCK_SEQPACKET, 0)), wake = high(eventfd(0, EFD_NONBLOCK));
	int page = high(memfd_create("reader", 0));

	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*n = sizeof(*name);
	must(bind(listener, (struct sockaddr *)name, sizeof(sa_family_t)) == 0 && listen(listener, 8) == 0 &&
	     getsockname(listener, (struct sockaddr *)name, n) == 0, "listen");
	must(ftruncate(page, MW_PAGE) == 0, "a page");
	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, b) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, v) == 0, "pairs");
	for (int i = 0; i < 2; i++) {
		b[i] = high(b[i]);
		v[i] = high(v[i]);
	}
	ins = fork();
	if (ins == 0) {
		const int from[] = { b[1], listener, v[1], wake, page };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < 5; i++)
			dup2(from[i], INS_BROKER_FD + i);
		execl(path, "mw-ins", "host", "64", (char *)NULL);
		_exit(127);
	}
	close(b[1]);
	close(v[1]);
	broker = b[0];
	verbs = v[0];
}

static struct mw_reply ask(struct mw_req *q, uint32_t op, int fd)
{
	struct mw_reply r;
	int fds[FDPASS_MAX], count = FDPASS_MAX;

	msg_request_seal(q, op, 1);
	must(fdpass_send(control, q, q->bytes, &fd, fd >= 0, 0) == q->bytes, "a request");
	must(fdpass_recv(control, &r, sizeof(r), fds, &count, 0) == sizeof(r), "a reply");
	for (int i = 0; i < count; i++)
		close(fds[i]);
	must(r.status == 0, "a good reply");
	return r;
}

static void make_sockets(const struct sockaddr_un *name, socklen_t n)
{
	struct broker_msg ready;
	struct mw_req hello = { .u.hello.version = MW_VERSION };
	int fds[FDPASS_MAX], count = FDPASS_MAX;

	must(fdpass_recv(broker, &ready, sizeof(ready), fds, &count, 0) > 0 && ready.kind == BM_READY, "the INS is ready");
	control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	must(connect(control, (const struct sockaddr *)name, n) == 0, "connect");
	ask(&hello, MW_OP_HELLO, -1);
	for (int i = 0; i < SOCKETS; i++) {
		struct mw_req q = { .u.socket = { .cookie = 1, .family = MW_FAMILY_IP4, .type = i ? MW_TYPE_STREAM : MW_TYPE_DGRAM } };
		struct mw_reply r;
		int pair[2];

		must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0, "a doorbell");
		r = ask(&q, MW_OP_SOCKET, pair[1]);
		close(pair[1]);
		made[i].slot = r.slot;
		made[i].gen = r.gen;
	}
	hello = (struct mw_req){ .slot = made[SOCKETS - 1].slot, .gen = made[SOCKETS - 1].gen, .u.listen.backlog = 8 };
	ask(&hello, MW_OP_LISTEN, -1);
}

/* A record with anything in it, more often than not nearly right. Its bytes. */
static size_t lie(uint8_t record[4096])
{
	static const int32_t names[][2] = { { 1, 7 }, { 1, 8 }, { 1, 13 }, { 1, 18 }, { 1, 19 }, { 1, 20 }, { 1, 26 }, { 6, 1 }, { 6, 4 },
					    { 6, 13 }, { 6, 18 }, { 6, 35 }, { VERB_LEVEL, VERB_NONBLOCK }, { 1, 4 }, { 6, 11 } };
	struct verb_msg *m = (struct verb_msg *)(void *)record;
	uint32_t who = any(SOCKETS + 2), name = any(sizeof(names) / sizeof(names[0]));

	for (int i = 0; i < 4096; i++)
		record[i] = (uint8_t)any(256);
	if (!any(16))
		return any(4096);
	m->verb = any(VERB_NUM + 2);
	m->slot = who < SOCKETS ? made[who].slot : who == SOCKETS ? VERB_ALL : any(100);
	m->gen = who < SOCKETS ? made[who].gen : who == SOCKETS ? 0 : any(4);
	m->level = any(8) ? names[name][0] : (int32_t)m->level;
	m->name = any(8) ? names[name][1] : (int32_t)m->name;
	m->bytes = any(8) ? 1u << any(6) : any(300);
	m->flags = any(4) ? 0 : any(4);
	m->addr.family = (uint16_t)(any(8) ? 4 + 2 * any(2) : any(10));
	m->addr.port = (uint16_t)(any(2) ? 0 : any(65536));
	m->prefix = any(150);
	m->number = any(8) ? any(200) : m->number;
	if (m->verb == VERB_GATE && any(2)) { /* more often a port's, and right */
		struct gate_settings g = { any(GATE_NUM), 1 + any(GATE_DEADLINE_MS_MAX), 1 + any(GATE_LIMIT_BYTES_MAX), any(GATE_PER_PEER_MAX) };

		m->slot = VERB_ALL;
		m->gen = 0;
		m->flags = any(2) * VERB_UNDO;
		m->bytes = m->flags ? 0 : sizeof(g);
		memcpy(record + sizeof(*m), &g, sizeof(g));
	} else if (m->verb == VERB_GATE) {
		m->bytes = any(2) ? 0 : m->bytes;
	}
	if (!any(16))
		m->bytes = UINT32_MAX - any(100);
	return sizeof(*m) + (verb_has_value(m->verb) || !any(8) ? m->bytes % 3000 : 0);
}

static bool is_record(const uint8_t *record, size_t n)
{
	struct verb_msg m;

	if (n < sizeof(m))
		return false;
	memcpy(&m, record, sizeof(m));
	return m.bytes <= VERB_VALUE_MAX && n == sizeof(m) + (verb_has_value(m.verb) ? m.bytes : 0);
}

/* The answer to a record that is one: the same, with a status, and no more than it may carry. */
static struct verb_msg answer_to(const uint8_t *record)
{
	struct pollfd p = { .fd = verbs, .events = POLLIN };
	uint8_t back[4096];
	struct verb_msg asked, m;
	bool has_value;
	ssize_t n;

	must(poll(&p, 1, 10000) == 1, "an answer");
	n = recv(verbs, back, sizeof(back), 0);
	must(n >= (ssize_t)sizeof(m), "a whole answer");
	memcpy(&m, back, sizeof(m));
	memcpy(&asked, record, sizeof(asked));
	must(m.seq == asked.seq && m.verb == asked.verb && m.slot == asked.slot && m.gen == asked.gen, "the answer to what was asked");
	has_value = m.status == 0 && (m.verb == VERB_GET || (m.verb == VERB_GATE && m.slot != VERB_ALL));
	must(n == (ssize_t)sizeof(m) + (has_value ? (ssize_t)m.bytes : 0), "its length");
	gates += m.status == 0 && m.verb == VERB_GATE;
	must(m.status <= 0 && m.status > -4096, "its status");
	return m;
}

static void honest(uint64_t seq)
{
	struct verb_msg m = { .seq = seq, .verdict = 1, .verb = VERB_GET, .slot = made[1].slot, .gen = made[1].gen, .level = SOL_SOCKET,
			      .name = SO_KEEPALIVE, .bytes = sizeof(int) };

	must(send(verbs, &m, sizeof(m), 0) == sizeof(m), "an honest question");
	must(answer_to((uint8_t *)&m).status == 0, "an honest answer");
}

/* What telemetry's own parsers would never send, and what the table of blocked peers holds. */
static int status_of(struct verb_msg m, const void *value)
{
	static uint8_t record[4096] __attribute__((aligned(8)));
	size_t n = sizeof(m) + (verb_has_value(m.verb) ? m.bytes : 0);

	memcpy(record, &m, sizeof(m));
	if (value)
		memcpy(record + sizeof(m), value, n - sizeof(m));
	must(send(verbs, record, n, 0) == (ssize_t)n, "a verb");
	return answer_to(record).status;
}

static void refused(void)
{
	const struct verb_msg set = { .verb = VERB_SET, .slot = made[1].slot, .gen = made[1].gen, .level = SOL_SOCKET, .name = SO_KEEPALIVE };
	const struct verb_msg cap = { .verb = VERB_CAP, .slot = VERB_ALL, .addr.family = MW_FAMILY_IP6, .flags = VERB_UNDO };
	struct verb_msg m = set;
	int one = 1;

	m.bytes = 1;
	must(status_of(m, &one) == -EINVAL, "a value that is too short");
	m.bytes = sizeof(one);
	m.name = SO_MARK;
	must(status_of(m, &one) == -ENOPROTOOPT, "an option that is not the operator's");
	m = set;
	m.flags = VERB_UNDO;
	must(status_of(m, &one) == -EINVAL, "an undo of one socket");
	m.gen += 2;
	must(status_of(m, &one) == -ESTALE, "a socket that is not there");
	must(status_of(cap, NULL) == -ENOENT, "no cap to undo");
	m = (struct verb_msg){ .verb = VERB_BLOCK };
	must(status_of(m, NULL) == -EINVAL, "no address");
	m.addr.family = MW_FAMILY_IP4;
	m.prefix = 33;
	must(status_of(m, NULL) == -EINVAL, "a prefix that is too long");
}

static int block(uint32_t verb, uint32_t i)
{
	struct verb_msg m = { .verb = verb, .addr = { .family = MW_FAMILY_IP4, .addr = { 10, (uint8_t)(i >> 8), (uint8_t)i } }, .prefix = 24 };

	m.prefix += i >> 16; /* the last one: a length of its own */
	return status_of(m, NULL);
}

static void full(void)
{
	for (uint32_t i = 0; i < 65536; i++)
		must(block(VERB_BLOCK, i) == 0, "a block");
	must(block(VERB_BLOCK, 65536) == -ENOSPC, "one more");
	must(block(VERB_BLOCK, 7) == 0, "one that is there");
	must(block(VERB_UNBLOCK, 777) == 0 && block(VERB_BLOCK, 65536) == 0, "there is room for one");
	must(block(VERB_UNBLOCK, 777) == -ENOENT, "unblock again");
	for (uint32_t i = 0; i <= 65536; i++)
		must(block(VERB_UNBLOCK, i) == (i == 777 ? -ENOENT : 0), "unblock");
}

int main(int argc, char **argv)
{
	static uint8_t record[4096] __attribute__((aligned(8)));
	struct sockaddr_un name;
	uint32_t answered = 0;
	socklen_t n;

	if (argc < 2)
		return 2;
	seed = argc > 2 ? strtoull(argv[2], NULL, 0) | 1 : seed;
	start(argv[1], &name, &n);
	make_sockets(&name, n);
	refused();
	full();
	for (uint32_t i = 0; i < ROUNDS; i++) {
		size_t bytes = lie(record);

		must(bytes == 0 || send(verbs, record, bytes, 0) == (ssize_t)bytes, "a lie");
		if (is_record(record, bytes)) {
			answer_to(record);
			answered++;
		}
		if (i % 1000 == 0)
			honest(1000000 + i);
	}
	honest(7);
	must(gates > ROUNDS / 100, "gates are among them");
	must(kill(ins, 0) == 0 && waitpid(ins, NULL, WNOHANG) == 0, "the INS lives");
	printf("ok 1 - %u records of %u were answered, the rest dropped, and the INS serves on\n1..1\n", answered, ROUNDS);
	kill(ins, SIGKILL);
	waitpid(ins, NULL, 0);
	return 0;
}
