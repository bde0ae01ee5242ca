// SPDX-License-Identifier: Apache-2.0
/*
 * ins_fuzz.c - libFuzzer target: a whole worker of mw-ins between an application that does anything and a network that does.
 * Trust: none. The input is steps: requests, doorbells' records, words of the arena, bytes through the rings, peers on loopback,
 * operators' verbs. In between the worker goes its rounds. When all have left, no slot and no descriptor may be in use.
 *
 * The worker is the real one, on a network namespace of its own. Its state lies in pieces on the heap, so that a step out of one is seen.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/capability.h>

#define main ins_main
#include "ins/main.c"
#undef main

#include "lib/fdpass.h"
#include "test/fuzz/input.h"
#include "test/fuzz/ins_host.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

#define SLOTS    HOST_SLOTS
#define APPS     3   /* control connections */
#define ENDS     12  /* doorbells' ends A */
#define PEERS    6
#define VERBS    8   /* to be undone */
#define FDS_MAX  512
#define PORT     2000
#define END_ROUNDS 40

static struct {
	int fd;
	uint32_t seq;
} apps[APPS];
static struct {
	int fd, pair;      /* pair: what INS has not been given */
	uint32_t slot, gen;
} ends[ENDS];
static int peers[PEERS];
static struct verb_msg given[VERBS];
static uint32_t given_count;
static struct host host;
static uint8_t buffer[65536];

/* But for the handles of orphans, which are kept. */
static uint32_t open_fds(void)
{
	struct pollfd p[FDS_MAX];
	uint32_t n = 0;

	for (int i = 0; i < FDS_MAX; i++)
		p[i] = (struct pollfd){ .fd = i };
	must(poll(p, FDS_MAX, 0) >= 0);
	for (int i = 0; i < FDS_MAX; i++)
		n += !(p[i].revents & POLLNVAL);
	for (uint32_t i = 0; i < observe_header()->slots_high; i++)
		n -= sock_at(i)->dead >= 0;
	return n;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	cap_t none = cap_init();

	(void)argc;
	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		fprintf(stderr, "ins_fuzz: has no network namespace of its own; nothing is tried\n");
		_exit(77);
	}
	host_loopback_up();
	must(cap_set_proc(none) == 0);
	cap_free(none);
	host_descriptors(&host);
	ins.stack = &stack_linux;
	ins.control = INS_LISTEN_FD;
	ins.publish = ins.host_loopback = true;
	must(journal_init() == 0);
	read_clock();
	check(observe_init(SLOTS), "make the telemetry memory");
	ins.fd->arena = memfd_make(&ins.view, SLOTS, MW_RING_BYTES_MIN, 2 * MW_RING_BYTES_MIN);
	set_up_tables(SLOTS);
	slots_recover();
	check(dgram_digits(), "make descriptors that count");
	check(poll_init(), "make an epoll instance");
	ins.fd->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	must(poll_add(ins.fd->kick, EV_KICK, 0, 0, 0, EPOLLIN) == 0);
	must(poll_add(INS_BROKER_FD, EV_BROKER, 0, 0, 0, EPOLLIN) == 0 && verb_init() == 0);
	urgent_init();
	ins.fd->poke = host.wake;
	return 0;
}

/* --- the broker, which is honest, and operators --- */

static void broker_answers(struct input *in)
{
	struct {
		struct broker_msg m;
		uint8_t value[BM_VALUE_MAX];
	} r;
	int fds[2], count = 2;

	while (count = 2, fdpass_recv(host.broker, &r, sizeof(r), fds, &count, MSG_DONTWAIT) >= (ssize_t)sizeof(r.m)) {
		uint8_t how = next_byte(in);
		int handle = -1;

		while (count > 0)
			close(fds[--count]);
		if (r.m.kind != BM_BIND && r.m.kind != BM_LISTEN && r.m.kind != BM_BOUND && r.m.kind != BM_OPTION && r.m.kind != BM_LOOPBACK)
			continue;
		r.m.status = how % 8 == 7 ? -EADDRINUSE : 0;
		r.m.share = 0;
		if (r.m.kind == BM_LOOPBACK && !r.m.status)
			handle = stack_linux.socket(r.m.addr.family, MW_TYPE_STREAM);
		fdpass_send(host.broker, &r.m, sizeof(r.m), &handle, handle >= 0, MSG_DONTWAIT);
		if (handle >= 0)
			close(handle);
	}
}

static void verbs_answered(void)
{
	uint64_t n;

	while (recv(host.operator, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
		;
	if (read(host.wake, &n, sizeof(n)) < 0)
		return;
}

static void give_verb(const struct verb_msg *m, const void *value)
{
	struct iovec iov[] = { { (void *)(mw_uintptr)m, sizeof(*m) }, { (void *)(mw_uintptr)value, verb_has_value(m->verb) ? m->bytes : 0 } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };

	must(sendmsg(host.operator, &h, MSG_DONTWAIT) >= 0);
}

static void address(struct input *in, struct mw_addr *a)
{
	uint8_t how = next_byte(in);

	memset(a, 0, sizeof(*a));
	a->family = how & 1 ? MW_FAMILY_IP6 : MW_FAMILY_IP4;
	a->port = (uint16_t)(how & 8 ? 0 : PORT + (how >> 4 & 3));
	if (how & 2)
		memcpy(a->addr, how & 1 ? (uint8_t[16]){ [15] = 1 } : (uint8_t[16]){ 127, 0, 0, 1 }, 16);
	if (how & 4)
		a->family = MW_FAMILY_NONE, a->port = 0;
	if (how >> 6 == 3)
		next_bytes(in, a, sizeof(*a));
}

static const struct { uint8_t level, name, bytes; } options[] = {
	{ SOL_SOCKET, SO_RCVBUF, 4 }, { SOL_SOCKET, SO_SNDBUF, 4 }, { SOL_SOCKET, SO_LINGER, 8 }, { SOL_SOCKET, SO_RCVLOWAT, 4 },
	{ SOL_SOCKET, SO_OOBINLINE, 4 }, { SOL_SOCKET, SO_KEEPALIVE, 4 }, { SOL_SOCKET, SO_RCVTIMEO, 16 }, { SOL_SOCKET, SO_SNDTIMEO, 16 },
	{ SOL_SOCKET, SO_ERROR, 4 }, { SOL_SOCKET, SO_PRIORITY, 4 }, { SOL_SOCKET, SO_MARK, 4 }, { SOL_SOCKET, SO_REUSEADDR, 4 },
	{ SOL_SOCKET, SO_REUSEPORT, 4 }, { SOL_SOCKET, SO_ATTACH_FILTER, 16 }, { SOL_SOCKET, SO_BINDTODEVICE, 3 }, { SOL_SOCKET, SO_COOKIE, 8 },
	{ IPPROTO_TCP, TCP_NODELAY, 4 }, { IPPROTO_TCP, TCP_CORK, 4 }, { IPPROTO_TCP, TCP_INFO, 104 }, { IPPROTO_TCP, TCP_USER_TIMEOUT, 4 },
	{ IPPROTO_TCP, TCP_CONGESTION, 5 }, { IPPROTO_TCP, TCP_DEFER_ACCEPT, 4 }, { IPPROTO_TCP, TCP_QUICKACK, 4 }, { IPPROTO_TCP, TCP_FASTOPEN, 4 },
	{ IPPROTO_TCP, TCP_ULP, 4 }, { IPPROTO_TCP, TCP_REPAIR, 4 }, { IPPROTO_IPV6, IPV6_V6ONLY, 4 }, { IPPROTO_IP, IP_TOS, 4 },
	{ IPPROTO_IP, IP_PKTINFO, 4 }, { IPPROTO_IP, IP_RECVERR, 4 }, { IPPROTO_IPV6, IPV6_RECVPKTINFO, 4 }, { VERB_LEVEL & 0xff, VERB_NONBLOCK, 4 },
};

static void option(struct input *in, int32_t *level, int32_t *name, uint32_t *bytes)
{
	uint8_t how = next_byte(in), i = how % (sizeof(options) / sizeof(options[0]));

	*level = options[i].level == (VERB_LEVEL & 0xff) ? VERB_LEVEL : options[i].level;
	*name = options[i].name;
	*bytes = options[i].bytes;
	if (how & 128) {
		*bytes = next_byte(in);
		*name = how & 64 ? (int32_t)next_byte(in) : *name;
	}
}

/* One that is for more than a socket outlives the input: it is undone at the end. */
static void verb(struct input *in)
{
	struct verb_msg m = { .verb = 1 + next_byte(in) % VERB_NUM, .verdict = 1 + given_count };
	uint8_t who = next_byte(in), value[VERB_VALUE_MAX];

	m.slot = who & 128 ? VERB_ALL : ends[who % ENDS].slot;
	m.gen = who & 128 ? 0 : ends[who % ENDS].gen;
	if (m.verb == VERB_SET || m.verb == VERB_GET)
		option(in, &m.level, &m.name, &m.bytes);
	if (m.verb == VERB_GATE)
		m.bytes = sizeof(struct gate_settings);
	address(in, &m.addr);
	m.prefix = next_byte(in) % 130;
	m.number = who & 64 ? next_u64(in) : m.verb == VERB_GATE ? (uint64_t)PORT + next_byte(in) % 4 : next_byte(in);
	next_bytes(in, value, sizeof(value) < input_left(in) / 4 ? sizeof(value) : input_left(in) / 4 + 8);
	if (given_count < VERBS)
		given[given_count++] = m;
	else if (m.slot == VERB_ALL || m.verb >= VERB_BLOCK)
		return;
	give_verb(&m, value);
}

static void undo_verbs(void)
{
	while (given_count) {
		struct verb_msg *m = &given[--given_count];

		if (m->verb == VERB_BLOCK)
			m->verb = VERB_UNBLOCK;
		m->flags = m->verb == VERB_UNBLOCK ? 0 : VERB_UNDO;
		m->bytes = 0;
		if (m->verb != VERB_GET && m->verb != VERB_CLOSE && m->verb != VERB_RESET)
			give_verb(m, "");
		round_of(poll_wait(0));
		verbs_answered();
	}
}

/* --- the application --- */

static void hear(int i)
{
	int fds[4], count = 4;
	struct mw_reply r;
	ssize_t n;

	while (count = 4, n = fdpass_recv(apps[i].fd, buffer, sizeof(buffer), fds, &count, MSG_DONTWAIT), n > 0) {
		while (count > 0)
			close(fds[--count]);
		must(n >= (ssize_t)sizeof(r));
		memcpy(&r, buffer, sizeof(r));
		must(r.bytes == n && r.value_bytes == n - sizeof(r) && r.status <= 0 && r.op < MW_OP_NUM);
		for (int e = 0; e < ENDS && r.op == MW_OP_SOCKET && !r.status; e++) {
			if (ends[e].gen || ends[e].fd < 0)
				continue;
			ends[e].slot = r.slot;
			ends[e].gen = r.gen;
			break;
		}
	}
}

static void app_open(struct input *in)
{
	int i = next_byte(in) % APPS, pair[2];
	struct mw_req q = { .u.hello.version = MW_VERSION };

	if (apps[i].fd >= 0) {
		close(apps[i].fd);
		apps[i].fd = -1;
		return;
	}
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	apps[i].fd = pair[0];
	app_take(pair[1]);
	msg_request_seal(&q, MW_OP_HELLO, 0);
	must(send(pair[0], &q, msg_request_bytes(MW_OP_HELLO), MSG_DONTWAIT) > 0);
}

static int new_end(struct input *in, int type)
{
	int i = next_byte(in) % ENDS, pair[2];

	if (ends[i].fd >= 0)
		close(ends[i].fd);
	must(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	ends[i].fd = pair[0];
	ends[i].gen = ends[i].slot = 0;
	return pair[1];
}

/* What comes with a request: mostly what belongs there. */
static int attachment(struct input *in, uint32_t op)
{
	uint8_t how = next_byte(in);

	if (how >= 0xf0)
		return how & 1 ? eventfd(0, EFD_CLOEXEC) : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (op == MW_OP_SOCKET || op == MW_OP_AGAIN)
		return new_end(in, how & 1 ? SOCK_STREAM : SOCK_SEQPACKET);
	if (op == MW_OP_STREAM || op == MW_OP_URGENT)
		return new_end(in, how & 15 ? SOCK_STREAM : SOCK_SEQPACKET);
	return -1;
}

static uint32_t fill_request(struct input *in, struct mw_req *q, uint32_t op)
{
	uint32_t bytes = 0;

	switch (op) {
	case MW_OP_SOCKET:
		q->u.socket = (struct mw_req_socket){ .cookie = next_byte(in), .family = next_byte(in) & 1 ? MW_FAMILY_IP6 : MW_FAMILY_IP4,
						      .type = 1 + next_byte(in) % 3, .lane = next_byte(in) & 1 };
		break;
	case MW_OP_BIND:
	case MW_OP_CONNECT:
		address(in, &q->u.addr);
		break;
	case MW_OP_LISTEN:
		q->u.listen.backlog = next_byte(in) - 2;
		break;
	case MW_OP_SETSOCKOPT:
	case MW_OP_GETSOCKOPT:
		option(in, &q->u.option.level, &q->u.option.name, &bytes);
		q->u.option.bytes = (int32_t)bytes;
		q->u.option.have = next_byte(in) & 15 ? bytes : next_byte(in);
		q->u.option.absent = next_byte(in) & 15 ? 0 : next_byte(in) & 7;
		return q->u.option.have;
	case MW_OP_IOCTL:
		q->u.option.level = (int32_t)(next_byte(in) & 1 ? 0x5400 + next_byte(in) : 0x8900 + next_byte(in));
		return q->u.option.have = next_byte(in);
	case MW_OP_URGENT:
		q->u.urgent.what = next_byte(in) & 3;
		q->u.urgent.byte = q->u.urgent.what == MW_URGENT_SEND ? next_byte(in) : 0;
		break;
	default:
		next_bytes(in, &q->u, msg_request_bytes(op) - offsetof(struct mw_req, u));
	}
	return 0;
}

static void request(struct input *in)
{
	uint8_t how = next_byte(in), who = next_byte(in);
	uint32_t op = how % 16 == 15 ? MW_OP_SOCKET : 2 + how % (MW_OP_NUM - 2), more; /* HELLO: app_open() */
	int i = (how >> 5) % APPS, e = who % ENDS, fd;
	struct mw_req q;

	memset(&q, 0, sizeof(q));
	if (apps[i].fd < 0)
		return;
	more = fill_request(in, &q, op);
	fd = attachment(in, op);
	msg_request_seal(&q, op, apps[i].seq++);
	q.slot = ends[e].slot;
	q.gen = ends[e].gen;
	if (who >= 0xf0)
		next_bytes(in, who & 1 ? (void *)&q.slot : (void *)&q, 8);
	memset(buffer, 0, sizeof(q) + 256);
	memcpy(buffer, &q, msg_request_bytes(op));
	q.bytes = (uint16_t)(msg_request_bytes(op) + more);
	if (who < 0xf0)
		memcpy(buffer + offsetof(struct mw_req, bytes), &q.bytes, sizeof(q.bytes));
	next_bytes(in, buffer + msg_request_bytes(op), more);
	fdpass_send(apps[i].fd, buffer, msg_request_bytes(op) + more, &fd, fd >= 0, MSG_DONTWAIT);
	if (fd >= 0)
		close(fd);
}

static struct mw_slot *slot_at(int e)
{
	return shared_of(sock_at(ends[e].slot));
}

static void record(struct input *in)
{
	uint8_t how = next_byte(in);
	int e = next_byte(in) % ENDS, n = next_byte(in) * (how & 0x80 ? 250 : 1);
	struct mw_dgram d = { .kind = MW_DG_DATA };

	if (ends[e].fd < 0)
		return;
	memset(buffer, how, sizeof(buffer));
	switch (how % 8) {
	case 0: /* the seed, or filler */
		memcpy(buffer, slot_at(e)->ins.nonce, MW_NONCE_BYTES);
		send(ends[e].fd, buffer, MW_NONCE_BYTES + (how & 8 ? (size_t)n : 0), MSG_DONTWAIT);
		break;
	case 1:
		send(ends[e].fd, buffer, (size_t)n, MSG_DONTWAIT);
		break;
	case 2: /* a datagram */
	case 3:
		d.flags = how & 8 ? next_byte(in) & 7 : 0;
		d.tag = next_byte(in);
		address(in, &d.peer);
		d.control_bytes = how & 16 ? next_byte(in) * 8u % (MW_DGRAM_CONTROL + 8) : 0;
		next_bytes(in, d.control, d.control_bytes < MW_DGRAM_CONTROL ? d.control_bytes : MW_DGRAM_CONTROL);
		memcpy(buffer, &d, sizeof(d));
		send(ends[e].fd, buffer, sizeof(d) + (size_t)n, MSG_DONTWAIT);
		break;
	case 4:
		shutdown(ends[e].fd, n & 1 ? SHUT_WR : SHUT_RDWR);
		break;
	case 5:
		close(ends[e].fd);
		ends[e].fd = -1;
		break;
	default:
		for (; n >= 0 && recv(ends[e].fd, buffer, sizeof(buffer), MSG_DONTWAIT) >= 0; n -= 16)
			;
	}
}

/* On a listener's doorbell: the connection becomes an end. */
static void take_accepted(struct input *in)
{
	int e = next_byte(in) % ENDS, to = next_byte(in) % ENDS, fd = -1, count = 1;
	struct mw_accepted a;

	if (ends[e].fd < 0 || fdpass_recv(ends[e].fd, &a, sizeof(a), &fd, &count, MSG_DONTWAIT) != sizeof(a) || !count) {
		if (fd >= 0 && count)
			close(fd);
		return;
	}
	if (msg_accepted_check(&a, &a, sizeof(a)) < 0 || a.slot >= SLOTS) { /* may be another record of 48 bytes */
		close(fd);
		return;
	}
	if (ends[to].fd >= 0)
		close(ends[to].fd);
	ends[to].fd = fd;
	ends[to].slot = a.slot;
	ends[to].gen = a.gen;
}

static void mark(struct input *in, uint32_t slot)
{
	if (ready_mark(&ins.view, slot) || next_byte(in) & 1)
		must(write(ins.fd->kick, &(uint64_t){ 1 }, 8) == 8);
}

static void lie(struct input *in)
{
	uint8_t how = next_byte(in), at = next_byte(in);
	uint32_t slot = how & 64 ? at % SLOTS : ends[how % ENDS].slot;
	struct mw_slot *m = shared_of(sock_at(slot));
	uint64_t *words = how & 128 ? (uint64_t *)m : (uint64_t *)&m->app;
	uint32_t i = at % (how & 128 ? sizeof(*m) / 8 : sizeof(m->app) / 8);

	if (at >= 0xf0)
		words = (uint64_t *)(mw_uintptr)arena_header(&ins.view), i = 5 + at % 40; /* not what has not changed since arena_init() */
	words[i] = next_lie(in, words[i]);
	mark(in, slot);
}

static void through_rings(struct input *in)
{
	uint8_t how = next_byte(in);
	uint32_t n = next_byte(in) * (how & 64 ? 32u : 1u), room, slot = ends[how % ENDS].slot;
	struct mw_slot *m = shared_of(sock_at(slot));
	struct mw_ring r;

	if (how & 128) {
		arena_tx(&ins.view, slot, &r);
		if (ring_free(&r, m->app.tx_prod, &room) < 0)
			return;
		n = n < room ? n : room;
		ring_write(&r, m->app.tx_prod, buffer, n);
		if (how & 32)
			m->app.tx_urgent = m->app.tx_prod + n;
		ring_publish(&r, m->app.tx_prod + n);
	} else {
		arena_rx(&ins.view, slot, &r);
		if (ring_used(&r, m->app.rx_cons, &room) < 0)
			return;
		n = n < room ? n : room;
		ring_read(&r, m->app.rx_cons, buffer, n);
		ring_release(&r, m->app.rx_cons + n);
		ring_arm(&r, m->app.rx_cons);
	}
	m->app.flags |= how & 16 ? next_byte(in) * 0x11u : 0;
	mark(in, slot);
}

/* --- peers --- */

static void peer_new(struct input *in, int *p, uint8_t how)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(PORT + next_byte(in) % 4) };
	struct linger none = { 1, 0 };

	*p = socket(AF_INET, (how & 8 ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(*p, SOL_SOCKET, SO_LINGER, &none, sizeof(none)); /* nothing is left behind */
	if (how & 16) { /* whom the application may connect to */
		setsockopt(*p, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
		(void)bind(*p, (struct sockaddr *)&to, sizeof(to));
		listen(*p, 3);
	} else {
		(void)connect(*p, (struct sockaddr *)&to, sizeof(to));
	}
}

static void peer(struct input *in)
{
	uint8_t how = next_byte(in);
	int *p = &peers[next_byte(in) % PEERS], fd;
	size_t n = next_byte(in) * (how & 128 ? 64u : 1u);

	if (*p < 0) {
		peer_new(in, p, how);
		return;
	}
	switch (how % 8) {
	case 0:
		close(*p);
		*p = -1;
		break;
	case 1: shutdown(*p, SHUT_WR); break;
	case 2: send(*p, buffer, 1, MSG_OOB | MSG_DONTWAIT); break;
	case 3: recv(*p, buffer, n, MSG_DONTWAIT); break;
	case 4:
		fd = accept4(*p, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			break;
		close(*p);
		*p = fd;
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
		break;
	default:
		next_bytes(in, buffer, n < 64 ? n : 64);
		send(*p, buffer, n, MSG_DONTWAIT);
	}
}

/* --- the target --- */

static void go_round(struct input *in)
{
	upgrade_due();
	sleep_ms(ins_arena());
	journal->at = 0;
	round_of(poll_wait(0));
	broker_answers(in);
	verbs_answered();
	for (int i = 0; i < APPS; i++)
		if (apps[i].fd >= 0)
			hear(i);
}

static void step(struct input *in)
{
	uint8_t op = next_byte(in);

	switch (op % 16) {
	case 0: app_open(in); break;
	case 1:
	case 2:
	case 3:
	case 4:
	case 5: request(in); break;
	case 6:
	case 7: record(in); break;
	case 8: lie(in); break;
	case 9:
	case 10: through_rings(in); break;
	case 11:
	case 12: peer(in); break;
	case 13: verb(in); break;
	case 14: take_accepted(in); break;
	default:
		mw_store(&host.reader->wanted, (uint64_t)(op >> 4 & 1));
		trim();
		break;
	}
	if (!(op & 128))
		go_round(in);
}

/* --- how it begins: what chance would seldom do --- */

static void ask(uint32_t op, struct mw_req *q, int fd)
{
	q->slot = ends[0].slot;
	q->gen = ends[0].gen;
	msg_request_seal(q, op, apps[0].seq++);
	fdpass_send(apps[0].fd, q, msg_request_bytes(op), &fd, fd >= 0, MSG_DONTWAIT);
	if (fd >= 0)
		close(fd);
}

static void rounds(struct input *in, int n)
{
	while (n--)
		go_round(in);
}

/* The first end's socket: bound to the first port, if it is one of datagrams or listens. */
static void first_socket(struct input *in, bool dgram, bool stream_lane, bool bound)
{
	struct mw_req q = { .u.socket = { .cookie = 1, .family = MW_FAMILY_IP4, .type = dgram ? MW_TYPE_DGRAM : MW_TYPE_STREAM, .lane = stream_lane } };

	ask(MW_OP_SOCKET, &q, new_end(in, stream_lane && !dgram ? SOCK_STREAM : SOCK_SEQPACKET));
	rounds(in, 2);
	q = (struct mw_req){ .u.addr = { .addr = { 127, 0, 0, 1 }, .family = MW_FAMILY_IP4, .port = PORT } };
	if (bound)
		ask(MW_OP_BIND, &q, -1);
	rounds(in, 3);
}

static void listens(struct input *in, bool accepted)
{
	static const uint8_t second[] = { 0, 1 };
	struct mw_req q = { .u.listen.backlog = 5 };

	ask(MW_OP_LISTEN, &q, -1);
	rounds(in, 4);
	peer_new(in, &peers[0], 0);
	send(peers[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, MSG_DONTWAIT);
	rounds(in, 4);
	if (accepted)
		take_accepted(&(struct input){ second, second + 2 }); /* else it waits there */
}

static void connects(struct input *in)
{
	struct mw_req q = { .u.addr = { .addr = { 127, 0, 0, 1 }, .family = MW_FAMILY_IP4, .port = PORT } };
	int fd;

	peer_new(in, &peers[0], 16);
	ask(MW_OP_CONNECT, &q, -1);
	rounds(in, 3);
	fd = accept4(peers[0], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	close(peers[0]);
	peers[0] = fd;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
}

/* The first port's listeners hold whoever has not sent a header, or a byte. */
static void gated(uint8_t how)
{
	const struct gate_settings g = { 1 + (how >> 5) % (GATE_NUM - 1), 1000, 1000, 2 };
	const struct verb_msg m = { .verb = VERB_GATE, .verdict = 1, .slot = VERB_ALL, .number = PORT, .bytes = sizeof(g) };

	given[given_count++] = m;
	give_verb(&m, &g);
}

static void begin(struct input *in)
{
	struct input zeros = { NULL, NULL }; /* the first of each */
	uint8_t how = next_byte(in);
	bool dgram = how % 4 == 3;

	if (how % 4 == 0)
		return;
	if (how & 16)
		gated(how);
	app_open(&zeros);
	rounds(&zeros, 2);
	first_socket(&zeros, dgram, how & 4, dgram || how % 4 == 1);
	if (how % 4 == 1)
		listens(&zeros, how & 8);
	if (how % 4 == 2)
		connects(&zeros);
}

static void all_leave(void)
{
	for (int i = 0; i < PEERS; i++)
		if (peers[i] >= 0)
			close(peers[i]);
	for (int i = 0; i < ENDS; i++)
		if (ends[i].fd >= 0)
			close(ends[i].fd);
	for (int i = 0; i < APPS; i++) {
		if (apps[i].fd >= 0)
			close(apps[i].fd);
		apps[i].fd = -1;
	}
}

/* Of those whose reset is on its way the doorbell's end alone is known; they end with the next rounds. */
static void nothing_is_left(void)
{
	struct input none = { NULL, NULL };

	undo_verbs();
	for (int i = 0; i < END_ROUNDS && (ins.used || app_settling() || block_sweeping() || i < 3); i++)
		go_round(&none);
	must(ins.used == 0 && !app_settling() && !block_sweeping() && ins.ringing_count == 0);
	must(ins.spare[0].count == SLOTS);
	for (uint32_t i = 0; i < observe_header()->slots_high; i++)
		must(!(sock_at(i)->gen & 1) && sock_at(i)->tcp < 0 && sock_at(i)->bell < 0 && sock_at(i)->tomb < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	uint32_t fds = open_fds();

	memset(peers, -1, sizeof(peers));
	for (int i = 0; i < ENDS; i++)
		ends[i].fd = -1, ends[i].slot = ends[i].gen = 0;
	for (int i = 0; i < APPS; i++)
		apps[i].fd = -1;
	begin(&in);
	while (in.at < in.end)
		step(&in);
	all_leave();
	nothing_is_left();
	must(open_fds() == fds);
	return 0;
}
