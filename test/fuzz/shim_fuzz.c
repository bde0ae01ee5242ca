// SPDX-License-Identifier: Apache-2.0
/*
 * shim_fuzz.c - libFuzzer target: the shim's functions between an application that calls them and an INS that does anything.
 * Trust: none. The input is steps of either: calls of the application's, and words of the arena, records on doorbells and answers to
 * requests of the INS's. No call that must not wait does (libFuzzer's time-out). While the INS has told a socket no lie, its bytes come as
 * they were sent, and who finds no byte will be told of the next.
 *
 * attach.c and roster.c are replaced: an answer is the input's. The locks' words are left alone: an INS that takes them has its application wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "chan/msg.h"
#include "lib/fdpass.h"
#include "link/memfd.h"
#include "shim/attach.h"
#include "shim/data.h"
#include "shim/dgram.h"
#include "shim/doorbell.h"
#include "shim/fdtab.h"
#include "shim/option.h"
#include "shim/roster.h"
#include "shim/route.h"
#include "shim/sock.h"
#include "shim/stream.h"
#include "shim/urgent.h"
#include "shim/user.h"
#include "test/fuzz/input.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

#define SLOTS 64u
#define SOCKS 8 /* each at twice its number: the rings of the slots between are nobody's */

struct end {
	int a, b;        /* the application's, the INS's; or -1 */
	uint64_t made;   /* bytes ever put into the rx ring */
	uint64_t sent, taken; /* bytes ever put into the tx ring, taken from there */
	bool lied;
};

static struct end ends[2 * SOCKS]; /* by slot */
static struct input *steps;
static uint8_t bytes[70000];
static struct mw_view *arena = &shim_views[0];

struct mw_view shim_views[MW_INS_MAX];
bool shim_attached = true;

/* Of the slots that are used. */
static uint32_t pick(uint32_t n)
{
	return n % SOCKS * 2;
}

/* --- attach.c, roster.c: one INS, or for a while none --- */

int attach(void)
{
	return 0;
}

int attach_to(uint32_t ins)
{
	return ins ? -ENETDOWN : 0;
}

uint32_t roster_home(void)
{
	return 0;
}

uint32_t roster_choose(void)
{
	return 0;
}

uint32_t roster_fallback(uint32_t ins)
{
	return ins;
}

bool roster_serves(uint32_t ins)
{
	return !ins;
}

bool attach_ended(const void *at)
{
	return !at;
}

uint32_t roster_high(void)
{
	return 2; /* so that cookies are looked at */
}

bool attach_elsewhere(int fd)
{
	return fd < 0;
}

int attach_pair(int type_flags, int pair[2])
{
	return socketpair(AF_UNIX, type_flags, 0, pair) < 0 ? -errno : 0;
}

void attach_after_fork(void)
{
}

bool attach_owns(int fd)
{
	return fd < 0;
}

int attach_move(int fd)
{
	return fd < 0;
}

int attach_next(unsigned int from)
{
	(void)from;
	return -1;
}

int attach_reserve(void)
{
	return 0;
}

void attach_spares(struct spares *s)
{
	s->count = 0;
}

void attach_spares_close(struct spares *s)
{
	s->count = 0;
}

void attach_left(struct spares *s)
{
	s->count = 0;
}

void shim_kick(uint32_t ins)
{
	must(ins == 0);
}

void refused_count(uint32_t kind)
{
	must(kind < MW_REFUSED_NUM);
}

int route_create(int type, int protocol)
{
	return type < 0 || protocol < 0 ? -EINVAL : -ENOSYS;
}

/* The record that the INS sends back, and what exchange() makes of it. */
int ctl_call_value(const struct sock *k, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r, void *value)
{
	uint8_t record[sizeof(*r) + MW_VALUE_MAX], how = next_byte(steps);
	struct mw_reply raw = { .op = (uint16_t)op, .status = how & 1 ? -(int32_t)next_byte(steps) : 0 };
	uint32_t have = value ? q->u.option.have : 0;
	static uint32_t seq;

	must(have <= MW_VALUE_MAX && op < MW_OP_NUM && k->ins == 0);
	msg_request_seal(q, op, raw.seq = ++seq);
	must(msg_request_bytes(op) + have == q->bytes);
	if (pass_fd >= 0 && how & 2) {
		uint32_t slot = pick(next_byte(steps));

		if (ends[slot].b >= 0)
			close(ends[slot].b);
		ends[slot].b = dup(pass_fd);
		raw.slot = slot;
	}
	raw.length = how & 4 ? (int32_t)next_u32(steps) : q->u.option.bytes;
	raw.value_bytes = have ? how & 8 ? next_byte(steps) % (have + 1) : have : 0;
	if (how & 16)
		raw.slot = next_u32(steps);
	raw.bytes = (uint16_t)(sizeof(raw) + raw.value_bytes);
	memcpy(record, &raw, sizeof(raw));
	if (how >> 5 == 7)
		next_bytes(steps, record + next_byte(steps) % sizeof(raw), 1);
	next_bytes(steps, record + sizeof(raw), raw.value_bytes < 32 ? raw.value_bytes : 32);
	if (raw.value_bytes > 32)
		memset(record + sizeof(raw) + 32, how, raw.value_bytes - 32);
	if (msg_reply_check(r, record, sizeof(raw) + raw.value_bytes, q) < 0)
		return -ENETDOWN;
	must(r->value_bytes <= have);
	memcpy(value ? value : bytes, record + sizeof(raw), r->value_bytes);
	return r->status;
}

int ctl_call(const struct sock *k, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r)
{
	return ctl_call_value(k, q, op, pass_fd, r, NULL);
}

int ctl_call_to(uint32_t ins, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r)
{
	return ctl_call(&(struct sock){ .ins = ins }, q, op, pass_fd, r);
}

/* --- the INS --- */

static struct mw_slot *slot_at(uint32_t slot)
{
	return (struct mw_slot *)(mw_uintptr)arena_slot(arena, slot);
}

static uint8_t byte_of(uint64_t pos)
{
	return (uint8_t)(pos * 167 + (pos >> 8));
}

static void leave(struct end *e)
{
	if (e->a >= 0) {
		fdtab_clear(e->a);
		close(e->a);
	}
	if (e->b >= 0)
		close(e->b);
	*e = (struct end){ .a = -1, .b = -1 };
}

/* A socket as an honest INS makes it; what its doorbell is decides the lane. */
static void make(uint32_t slot, uint8_t how)
{
	struct mw_slot *m = slot_at(slot);
	struct end *e = &ends[slot];
	bool stream = how & 1, dgram = how & 2;
	int pair[2];

	leave(e);
	must(socketpair(AF_UNIX, (stream && !dgram ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	*e = (struct end){ .a = pair[0], .b = pair[1] };
	memset(m, 0, sizeof(*m));
	m->ins.gen = 1;
	m->ins.state = how & 4 ? MW_ST_ESTABLISHED : how & 8 ? MW_ST_LISTEN : how & 16 ? MW_ST_CONNECTING : MW_ST_OPEN;
	m->ins.family = how & 32 ? MW_FAMILY_IP6 : MW_FAMILY_IP4;
	m->ins.type = dgram ? MW_TYPE_DGRAM : MW_TYPE_STREAM;
	m->ins.lane = stream;
	m->ins.rx_space_event = m->ins.rx_told = m->app.tx_event = MW_NEVER;
	memset(m->ins.nonce, 0x80, sizeof(m->ins.nonce));
	m->names.local = m->names.peer = (struct mw_addr){ .family = m->ins.family, .port = 80 };
	doorbell_cookie(e->a, &m->ins.cookie);
	fdtab_set(e->a, PLACE(0u, slot));
}

static void ring_due_token(struct end *e, struct mw_slot *m, const struct mw_ring *r)
{
	if (!ring_due(r, e->made, &m->ins.rx_told))
		return;
	mw_store_release(&m->ins.rx_rung, m->ins.rx_rung + 1);
	send(e->b, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void put_rx(uint32_t slot, uint32_t n)
{
	struct mw_slot *m = slot_at(slot);
	struct end *e = &ends[slot];
	uint8_t data[256];
	struct mw_ring r;
	uint32_t room;

	arena_rx(arena, slot, &r);
	if (ring_free(&r, e->made, &room) < 0) {
		must(e->lied);
		return;
	}
	n = n < room ? n : room;
	n = n < sizeof(data) ? n : sizeof(data);
	for (uint32_t i = 0; i < n; i++)
		data[i] = byte_of(e->made + i);
	ring_write(&r, e->made, data, n);
	e->made += n;
	ring_publish(&r, e->made);
	ring_due_token(e, m, &r);
}

static void take_tx(uint32_t slot, uint32_t n)
{
	struct end *e = &ends[slot];
	uint8_t data[256];
	struct mw_ring r;
	uint32_t used;

	arena_tx(arena, slot, &r);
	if (ring_used(&r, e->taken, &used) < 0) {
		must(e->lied);
		return;
	}
	n = n < used ? n : used;
	n = n < sizeof(data) ? n : sizeof(data);
	ring_read(&r, e->taken, data, n);
	for (uint32_t i = 0; i < n && !e->lied; i++)
		must(data[i] == byte_of(e->taken + i));
	e->taken += n;
	ring_release(&r, e->taken);
}

static void lie(struct input *in, uint32_t slot)
{
	uint8_t how = next_byte(in);
	struct mw_slot *m = slot_at(slot);
	uint32_t i = how % (sizeof(*m) / 8);
	uint64_t v = next_lie(in, ((uint64_t *)m)[i]);

	ends[slot].lied = true;
	if (i == (sizeof(m->ins) + offsetof(struct mw_slot_app, rx_lock)) / 8)
		v &= ~0xffffffffull; /* then pid */
	if (i == (sizeof(m->ins) + offsetof(struct mw_slot_app, tx_lock)) / 8)
		v &= ~0xffffffffull; /* then flags */
	((uint64_t *)m)[i] = v;
	m->app.rx_lock = m->app.tx_lock = 0;
}

static void send_dgram(struct input *in, uint32_t slot, uint8_t how)
{
	struct mw_dgram d = { .kind = how & 1 ? MW_DG_DATA : MW_DG_ERROR };
	size_t n = next_byte(in);

	d.peer = (struct mw_addr){ .family = MW_FAMILY_IP4, .port = 53 };
	d.control_bytes = how & 2 ? next_byte(in) * 8u % (MW_DGRAM_CONTROL + 8) : 0;
	next_bytes(in, d.control, d.control_bytes < MW_DGRAM_CONTROL ? d.control_bytes : MW_DGRAM_CONTROL);
	memcpy(bytes, &d, sizeof(d));
	if (how & 4)
		next_bytes(in, bytes + next_byte(in), 2);
	if (slot_at(slot)->ins.lane == MW_LANE_STREAM) { /* the header lies where the rx ring would be, digits say where */
		struct mw_ring r;

		arena_rx(arena, slot, &r);
		ring_write(&r, (uint64_t)(how >> 3) * sizeof(d) % (MW_RING_BYTES_MIN - sizeof(d)), bytes, sizeof(d));
		fdpass_send(ends[slot].b, bytes + sizeof(d), n + 1, (int[]){ ends[pick(how)].a, ends[pick((uint32_t)n)].a }, how & 32 ? 2 : how & 64 ? 1 : 0,
			    MSG_DONTWAIT);
		return;
	}
	if (how & 128)
		slot_at(slot)->ins.rx_state++, slot_at(slot)->ins.rx_rung++, slot_at(slot)->ins.error = how;
	send(ends[slot].b, bytes, how & 8 ? n : sizeof(d) + n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* On a listener's doorbell, or on any. */
static void send_accepted(struct input *in, uint32_t slot, uint8_t how)
{
	struct mw_accepted a = { .slot = pick(next_byte(in)), .gen = 1, .peer = { .family = MW_FAMILY_IP4, .port = 1 } };
	int fd = ends[a.slot].a;

	if (how & 1)
		next_bytes(in, (uint8_t *)&a + next_byte(in) % (sizeof(a) - 3), 4);
	fdpass_send(ends[slot].b, &a, sizeof(a) - (how & 2), &fd, how & 4 ? 0 : fd >= 0, MSG_DONTWAIT);
}

static void ins_step(struct input *in)
{
	uint8_t op = next_byte(in), how = next_byte(in);
	uint32_t slot = pick(op >> 4);
	struct mw_slot *m = slot_at(slot);
	struct end *e = &ends[slot];

	if (e->b < 0 || op % 12 == 0) {
		make(slot, how);
		return;
	}
	switch (op % 12) {
	case 1:
	case 2: put_rx(slot, how); break;
	case 3: take_tx(slot, how); break;
	case 4: lie(in, slot); break;
	case 5: send_dgram(in, slot, how); break;
	case 6: send_accepted(in, slot, how); break;
	case 7: /* tokens that nobody owes, and the end marker */
		send(e->b, bytes, how % 3, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 8: /* drains what the application has queued */
		for (int i = 0; i < how && recv(e->b, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++)
			;
		break;
	case 9:
		shutdown(e->b, how % 3);
		break;
	case 10:
		e->lied = true;
		m->ins.error = how;
		m->ins.rx_state |= how % 4;
		m->ins.state = how % MW_ST_NUM;
		break;
	default:
		e->lied = true;
		m->ins.rx_urgent = e->made + how - 4;
		m->ins.urgent_inline = how & 1;
		m->ins.lowat = how & 2 ? how : 0;
		m->names.timeo += how & 4;
	}
}

/* --- the application --- */

static void receive(struct sock *k, struct end *e, uint32_t n, int flags)
{
	struct mw_slot *m = slot_at(k->slot);
	uint64_t at = m->app.rx_cons;
	bool plain = !e->lied && !(flags & (MSG_OOB | MSG_TRUNC)) && m->ins.type == MW_TYPE_STREAM && m->ins.lane == MW_LANE_RING && m->ins.state == MW_ST_ESTABLISHED;
	uint8_t *to = malloc(n + 1); /* exactly as long as it is said to be */
	struct iovec iov[2] = { { to, n / 2 }, { to + n / 2, n - n / 2 } };
	uint64_t told = m->ins.rx_told;
	struct mw_ring r;
	ssize_t got;

	must(to != NULL);
	got = data_recv(k, iov, 2, flags);
	must(got <= (ssize_t)n || (flags & MSG_TRUNC && m->ins.type == MW_TYPE_DGRAM));
	for (ssize_t i = 0; i < got && plain; i++)
		must(to[i] == byte_of(at + (uint64_t)i));
	free(to);
	if (!plain || flags & MSG_PEEK || !n)
		return;
	must(got < 0 || m->app.rx_cons == at + (uint64_t)got);
	arena_rx(arena, k->slot, &r);
	if (got == -EAGAIN) /* whatever comes now is told */
		must(m->app.rx_cons == e->made && ring_due(&r, e->made + 1, &told));
}

static void send_some(struct sock *k, struct end *e, uint32_t n, int flags)
{
	struct mw_slot *m = slot_at(k->slot);
	uint64_t at = m->app.tx_prod;
	uint8_t *from = malloc(n + 1);
	ssize_t sent;

	must(from != NULL);
	for (uint32_t i = 0; i < n; i++)
		from[i] = byte_of(at + i);
	sent = data_send(k, &(struct iovec){ from, n }, 1, flags);
	free(from);
	must(sent <= (ssize_t)n);
	if (sent > 0 && m->app.tx_prod != at + (uint64_t)sent)
		e->lied = true; /* past the ring: as stray data, on the stream lane, in a datagram */
}

static void datagrams(struct input *in, struct sock *k, uint8_t how)
{
	struct sockaddr_in6 name = { .sin6_family = how & 1 ? AF_INET : AF_INET6, .sin6_port = htons(53) };
	size_t n = next_byte(in), control_n = next_byte(in);
	uint8_t *to = malloc(n + 1), *control = malloc(control_n + 1);
	struct iovec iov = { to, n };
	struct msghdr m = { .msg_name = &name, .msg_namelen = how & 2 ? 28 : 16, .msg_iov = &iov, .msg_iovlen = 1 };
	socklen_t len = sizeof(name);
	ssize_t r;

	must(to && control);
	memset(to, 1, n);
	next_bytes(in, control, control_n < 64 ? control_n : 64);
	if (control_n > 64)
		memset(control + 64, 0, control_n - 64);
	m.msg_control = how & 4 ? control : NULL;
	m.msg_controllen = how & 4 ? control_n : 0;
	switch (how >> 3 & 7) {
	case 0: r = dgram_sendmsg(k, &m, MSG_DONTWAIT | MSG_NOSIGNAL); break;
	case 1: r = dgram_sendto(k, &iov, 1, MSG_DONTWAIT | MSG_NOSIGNAL, how & 2 ? NULL : (struct sockaddr *)&name, sizeof(name)); break;
	case 2: r = dgram_recvfrom(k, &iov, 1, MSG_DONTWAIT, (struct sockaddr *)&name, &len); break;
	case 4: r = dgram_unread(k); break;
	case 5: r = dgram_shutdown(k, how & 3); break;
	case 6: r = dgram_error(k); break;
	default: r = dgram_recvmsg(k, &m, MSG_DONTWAIT | (how & 64 ? MSG_PEEK : 0) | (how & 128 ? MSG_TRUNC : 0)); break;
	}
	must(r <= 65536);
	free(to);
	free(control);
}

static void options(struct input *in, struct sock *k, uint8_t how)
{
	static const struct { int level, name; } known[] = {
		{ SOL_SOCKET, SO_RCVLOWAT }, { SOL_SOCKET, SO_RCVTIMEO }, { SOL_SOCKET, SO_SNDTIMEO }, { SOL_SOCKET, SO_ERROR }, { SOL_SOCKET, SO_LINGER },
		{ IPPROTO_TCP, TCP_NODELAY }, { IPPROTO_TCP, TCP_CORK }, { SOL_SOCKET, SO_OOBINLINE }, { SOL_SOCKET, SO_ATTACH_FILTER },
		{ SOL_SOCKET, SO_TYPE }, { SOL_SOCKET, SO_COOKIE }, { IPPROTO_TCP, TCP_INFO }, { SOL_SOCKET, SO_RCVBUF }, { SOL_SOCKET, SO_ACCEPTCONN } };
	uint8_t i = next_byte(in), n = next_byte(in);
	int level = known[i % (sizeof(known) / sizeof(known[0]))].level, name = known[i % (sizeof(known) / sizeof(known[0]))].name;
	uint8_t *value = malloc(n + 1u);
	socklen_t len = n;

	must(value != NULL);
	if (i & 128)
		level = next_byte(in), name = next_byte(in);
	memset(value, 0, n);
	next_bytes(in, value, n < 16 ? n : 16);
	if (name == SO_ATTACH_FILTER && level == SOL_SOCKET)
		how |= 1; /* set: its value has a pointer */
	if (how & 1)
		must(option_get(k, level, name, value, &len) < 0 || len <= n || (!n && (int)len >= 0)); /* or it may read behind its value */
	else
		option_set(k, level, name, value, len);
	free(value);
}

static void ioctls(struct input *in, struct sock *k)
{
	static const unsigned long known[] = { FIONREAD, FIONBIO, SIOCATMARK, SIOCOUTQ, SIOCGIFADDR, SIOCGIFNAME, SIOCGIFFLAGS };
	union {
		int n;
		uint8_t room[4096];
	} argument = { .n = next_byte(in) };
	struct ifconf list = { .ifc_len = argument.n };

	list.ifc_buf = malloc((size_t)argument.n + 1);
	option_ioctl(k, SIOCGIFCONF, &list);
	must(list.ifc_len >= 0 && list.ifc_len <= argument.n);
	free(list.ifc_buf);
	option_ioctl(k, known[next_byte(in) % (sizeof(known) / sizeof(known[0]))], &argument);
}

/* The connection's slot is an end now, or nobody's. */
static void accepted(struct sock *k)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	struct sock made;
	int fd = sock_accept(k, (struct sockaddr *)&name, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	must(sock_get(fd, &made) && made.slot < SLOTS);
	data_unread(&made);
	fdtab_clear(fd);
	close(fd);
}

static void names(struct input *in, struct sock *k, uint8_t how)
{
	struct sockaddr_in6 name = { .sin6_family = how & 1 ? AF_INET : AF_INET6 };
	socklen_t len = next_byte(in);

	if (how & 2)
		sock_connect_begin(k, (struct sockaddr *)&name, len % (sizeof(name) + 1));
	else
		sock_name(k, (struct sockaddr *)&name, &(socklen_t){ len % (sizeof(name) + 1) }, how & 4);
	if (how & 8)
		sock_connected(k);
	if (how & 16)
		sock_listen(k, len);
}

static void app_step(struct input *in)
{
	uint8_t op = next_byte(in), how = next_byte(in);
	struct end *e = &ends[pick(op >> 4)];
	int more = how & 1 ? MSG_PEEK : how & 2 ? MSG_WAITALL : how & 4 ? MSG_TRUNC : how & 8 ? MSG_OOB : 0;
	struct sock k;

	if (e->a < 0 || !sock_get(e->a, &k))
		return;
	switch (op % 12) {
	case 0:
	case 1: receive(&k, e, how * 8u, MSG_DONTWAIT | (next_byte(in) & 1 ? more : 0)); break;
	case 2: receive(&k, e, next_byte(in), MSG_DONTWAIT | more); break;
	case 3:
	case 4: send_some(&k, e, how * 64u, MSG_DONTWAIT | MSG_NOSIGNAL | (next_byte(in) == 1 ? MSG_OOB : 0)); break;
	case 5:
		e->lied |= slot_at(k.slot)->ins.type != MW_TYPE_DGRAM; /* else nobody calls them */
		datagrams(in, &k, how);
		break;
	case 6: options(in, &k, how); break;
	case 7: ioctls(in, &k); break;
	case 8: accepted(&k); break;
	case 9: names(in, &k, how); break;
	case 10:
		if (how & 1)
			sock_shutdown(&k, how >> 1 & 3);
		data_unread(&k);
		data_error(&k);
		data_lowat(&k);
		break;
	default:
		if (how & 1)
			stream_convert(e->a);
		else if (how & 2)
			leave(e);
		else if (how & 4)
			urgent_inline_set(&k);
		else
			fdtab_adopt(e->a);
	}
}

/* --- the target --- */

/* A slot behind one that is used. */
static void untouched(uint32_t slot)
{
	static const uint8_t zeros[2 * MW_RING_BYTES_MIN];
	struct mw_ring r;

	arena_rx(arena, slot, &r); /* and tx behind it */
	must(memcmp(MW_WORD(r.data), zeros, sizeof(zeros)) == 0);
	must(memcmp(slot_at(slot), zeros, sizeof(struct mw_slot)) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	must(memfd_make(arena, SLOTS, MW_RING_BYTES_MIN, MW_RING_BYTES_MIN) >= 0);
	for (int i = 0; i < 2 * SOCKS; i++)
		ends[i].a = ends[i].b = -1;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct input in;

	in = (struct input){ data, data + n };
	steps = &in;
	for (uint32_t i = 0; i < 2; i++)
		make(pick(i), (uint8_t)(4 + (i ? next_byte(&in) : 0)));
	while (in.at < in.end) {
		if (*in.at & 1)
			ins_step((in.at++, &in));
		else
			app_step((in.at++, &in));
	}
	for (uint32_t i = 0; i < SOCKS; i++) {
		leave(&ends[pick(i)]);
		memset(slot_at(pick(i)), 0, sizeof(struct mw_slot));
		untouched(pick(i) + 1);
	}
	return 0;
}
