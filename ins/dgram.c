// SPDX-License-Identifier: Apache-2.0
/*
 * dgram.c - UDP: a record on the doorbell is a datagram, both ways.
 * Trust: a record that msg_dgram_check refuses is dropped and counted; control data goes out only as policy.c says.
 *
 * Towards the application a datagram is taken from the stack only when the doorbell has room for it, so what the
 * application does not read waits in the stack's own queue, which drops when it is full, as natively. Towards the network
 * a record is looked at, sent, and only then taken: when the stack is full it waits where it is.
 *
 * Who asks for a record's fate (a tag, then MW_OP_FLUSH) is told it. One that nobody asks for goes to a destination that
 * was good before; when it fails all the same, dgram_changed() makes the next one ask. Errors that the network reports
 * later (ICMP) are stored in the slot, and an error record makes the doorbell readable.
 *
 * On the stream lane records are payloads alone, as a plain read() or write() wants them. Towards the application headers
 * go by the side (MW_DG_PLACES in chan/msg.h); what it sends with one has the slot's nonce in front.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan/msg.h"
#include "ins/block.h"
#include "ins/data.h"
#include "ins/dgram.h"
#include "ins/journal.h"
#include "ins/observe.h"
#include "ins/policy.h"
#include "ins/poll.h"
#include "ins/slots.h"
#include "ins/state.h"
#include "ins/uplink.h"
#include "ins/way.h"
#include "ins/xen/front.h"
#include "lib/addr.h"
#include "lib/fdpass.h"
#include "link/broker.h"

#define AT_ONCE 64 /* datagrams for one event */
#define FAILED  4096
#define TAG_THREAD 10 /* bits of a tag below those that differ between threads */
#define BELL_MASK (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define LEAST_TRUESIZE 512 /* less than Linux accounts for any record */
MW_ASSERT(MW_DG_PLACES <= MW_DG_DIGITS * MW_DG_DIGITS, "two digits");

struct record {
	uint8_t nonce[MW_NONCE_BYTES];
	struct mw_dgram head;
	uint8_t data[MW_DGRAM_PAYLOAD];
};
MW_ASSERT(offsetof(struct record, data) == MW_NONCE_BYTES + sizeof(struct mw_dgram), "no gaps");

/* Asked-for datagrams that failed, until their thread asks: each has at most one. */
struct failure {
	uint32_t slot, gen, tag;
	int status;
};

static struct {
	struct record record;    /* the one on its way */
	struct dgram_call call;  /* ... and what the kernel says of it */
	struct failure failed[FAILED];
} *kept;

/* --- state --- */

void dgram_changed(struct isock *s)
{
	mw_store_release(&shared_of(s)->ins.want_seed, ++s->want_seed);
}

/* Edges, for an error that nobody takes would be ready for ever; setting the mask again tells what is ready now. */
static void watch(struct isock *s)
{
	uint32_t mask = s->flags & (F_RX_PAUSED | F_RX_DONE) ? 0 : EPOLLIN;

	for (uint32_t sub = 0; sub <= s->extra_count; sub++)
		poll_change(handle_of(s, sub), EV_TCP, sub, slot_of(s), s->gen,
			    EPOLLET | mask | (sub == 0 && s->flags & F_TX_BLOCKED ? EPOLLOUT : 0));
	if (s->bell >= 0)
		poll_change(s->bell, EV_BELL, 0, slot_of(s), s->gen,
			    BELL_MASK | (s->flags & F_RX_PAUSED ? EPOLLOUT : 0));
}

int dgram_init(void)
{
	kept = state_block("datagrams", sizeof(*kept));
	return kept ? way_init() : -ENOMEM;
}

int dgram_digits(void)
{
	for (unsigned int i = 0; i < MW_DG_DIGITS; i++) {
		ins.fd->digit[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (ins.fd->digit[i] < 0 || fcntl(ins.fd->digit[i], F_SETSIG, (int)i + 1) < 0)
			return -errno;
	}
	return 0;
}

static bool is_plain(const struct isock *s)
{
	return s->flags & F_PLAIN;
}

int dgram_start(struct isock *s, uint32_t lane)
{
	const int most = MW_DG_PLACES * LEAST_TRUESIZE;
	socklen_t n = sizeof(s->bell_budget);

	if (!ins.door && getsockopt(s->bell, SOL_SOCKET, SO_SNDBUF, &s->bell_budget, &n) < 0)
		return -errno;
	if (lane == MW_LANE_STREAM) {
		s->flags |= F_PLAIN;
		s->bell_budget = s->bell_budget < most ? s->bell_budget : most;
		mw_store_release(&shared_of(s)->ins.lane, MW_LANE_STREAM);
	}
	return poll_add(s->tcp, EV_TCP, 0, slot_of(s), s->gen, EPOLLIN | EPOLLET);
}

static bool bell_has_room(struct isock *s)
{
	int used = 0;

	if (ins.door)
		return front_dgram_room(s);
	return ioctl(s->bell, SIOCOUTQ, &used) == 0 && used < s->bell_budget;
}

/* A record to the application, the deed: 0, or -errno. */
static ssize_t send_record(struct isock *s, const struct mw_dgram *d, const void *data, size_t bytes)
{
	struct iovec iov[] = { { (void *)(mw_uintptr)d, sizeof(*d) }, { (void *)(mw_uintptr)data, bytes } };
	uint32_t place = s->heads % MW_DG_PLACES; /* the deed knows: how many there were */
	int number[] = { ins.fd->digit[place / MW_DG_DIGITS], ins.fd->digit[place % MW_DG_DIGITS] };
	struct mw_ring r;
	ssize_t n;

	if (ins.door)
		return front_dgram_up(s, d, data, bytes);
	if (!is_plain(s))
		return deed_send(s->bell, iov, 2, NULL, 0, MSG_DONTWAIT);
	arena_rx(&ins.view, slot_of(s), &r);
	memcpy(MW_WORD(r.data) + place * sizeof(*d), d, sizeof(*d));
	journal->deed.room = s->heads;
	n = deed_send(s->bell, iov + 1, 1, number, 2, MSG_DONTWAIT);
	s->heads += n >= 0;
	return n;
}

/* A record with no datagram: who waits looks again. */
void dgram_wake(struct isock *s)
{
	struct mw_slot *m = shared_of(s);
	struct mw_dgram d = { .kind = MW_DG_ERROR };

	if (is_plain(s) && !bell_has_room(s))
		return;
	journal->deed.pos = s->rx_rung;
	deed_begin(DEED_TOKEN, s);
	mw_store_release(&m->ins.rx_rung, ++s->rx_rung); /* before the record, so that it is owed while in flight */
	if (send_record(s, &d, NULL, 0) < 0)
		mw_store_release(&m->ins.rx_rung, --s->rx_rung); /* full: readable as it is */
	deed_end();
}

/* An error that the network reported: told by whichever call of the application's comes next. */
static void show_error(struct isock *s, int error)
{
	struct mw_slot *m = shared_of(s);

	if (error && ins.door)
		front_show_error(s, error);
	if (!error || s->bell < 0)
		return;
	mw_store(&m->ins.error, error);
	mw_store_release(&m->ins.rx_state, m->ins.rx_state + 1);
	dgram_wake(s);
}

static void ended(struct isock *s)
{
	struct broker_msg m = { .kind = BM_CLOSED, .slot = slot_of(s), .gen = s->gen };

	if (s->flags & (F_PUBLISHED | F_PENDING))
		uplink_send(&m);
	if (s->heads)
		s->flags |= F_DIRTY; /* of no use any more: before that they must not be given back */
	slots_free(slot_of(s));
}

/* --- network to application --- */

/* The datagram of n bytes that was taken from the stack, to the doorbell. The deed ends when it is there. */
static void deliver(struct isock *s, uint32_t sub, size_t n)
{
	struct mw_dgram *d = &kept->record.head;

	if (sub && s->state == MW_ST_ESTABLISHED)
		return; /* a connected socket hears its peer only */
	if (block_hits(&d->peer))
		return;
	d->kind = MW_DG_DATA;
	if (s->family == MW_FAMILY_IP6)
		addr_map(&d->peer); /* the stack does so by itself, but for the host's IPv4 loopback */
	if (s->extra_count)
		way_note(s, &d->peer, sub);
	if (sub)
		way_control(s, sub, d);
	n = n < sizeof(kept->record.data) ? n : sizeof(kept->record.data);
	journal->deed.pos = n;
	deed_begin(DEED_DGRAM_UP, s);
	if (send_record(s, d, kept->record.data, n) >= 0)
		observe_rx(s, n);
}

/* One datagram. False when there is no more to take now. */
static bool take_one(struct isock *s, uint32_t sub)
{
	struct mw_dgram *d = &kept->record.head;
	ssize_t n;

	if (!bell_has_room(s)) {
		s->flags |= F_RX_PAUSED;
		watch(s);
		return false;
	}
	memset(d, 0, sizeof(*d));
	journal->deed.sub = sub;
	kept->call.m.msg_len = DGRAM_NOT_DONE;
	deed_begin(DEED_DGRAM_IN, s);
	n = ins.stack->recv_from(handle_of(s, sub), &kept->call, d, kept->record.data, sizeof(kept->record.data));
	if (n >= 0)
		deliver(s, sub, (size_t)n);
	deed_end();
	if (n == -EAGAIN || n == -EINTR)
		return false;
	if (n < 0 && sub == 0)
		show_error(s, (int)-n);
	return true;
}

void dgram_up_recover(struct isock *s)
{
	if (ins.door)
		front_dgram_up_recover(s);
	if (is_plain(s))
		s->heads = journal->deed.room + 1;
}

/* A worker died while a datagram was on its way up. */
void dgram_in_recover(struct isock *s)
{
	struct mw_dgram *d = &kept->record.head;
	uint32_t sub = journal->deed.sub;
	bool taken = kept->call.m.msg_len != DGRAM_NOT_DONE, up = journal->deed.kind == DEED_DGRAM_UP;

	if (up && deed_done()) {
		dgram_up_recover(s);
	} else if (up && (s->bell >= 0 || ins.door)) {
		if (send_record(s, d, kept->record.data, journal->deed.pos) >= 0)
			observe_rx(s, journal->deed.pos);
	} else if (!up && taken && sub <= s->extra_count && (s->bell >= 0 || ins.door)) {
		deliver(s, sub, ins.stack->received(&kept->call, d));
	}
	deed_end();
}

static void receive(struct isock *s, uint32_t sub)
{
	for (int i = 0; i < AT_ONCE; i++)
		if (s->flags & (F_RX_PAUSED | F_RX_DONE | F_APP_GONE) || !take_one(s, sub))
			return;
	watch(s); /* there may be more */
}

/* --- application to network --- */

static bool control_allowed(const struct mw_dgram *d)
{
	struct mw_control c;
	uint32_t at = 0;

	while (msg_control_next(&c, d->control, d->control_bytes, &at) > 0)
		if (!policy_control_ok(c.level, c.type))
			return false;
	return true;
}

static ssize_t send_by(struct isock *s, struct mw_dgram *d, const void *data, size_t n)
{
	uint32_t sub = way_to(s, &d->peer);

	kept->call.m.msg_len = DGRAM_NOT_DONE;
	deed_begin(DEED_DGRAM_OUT, s);
	if (!sub)
		return ins.stack->send_to(s->tcp, &kept->call, d, data, n);
	d->control_bytes = 0; /* it says what an extra socket is: from a loopback address */
	addr_unmap(&d->peer);
	return ins.stack->send_to(s->extra[sub - 1], &kept->call, d, data, n);
}

/* Sends a checked record. 0, or -errno: -EAGAIN when it must wait. */
static int put_one(struct isock *s, struct mw_dgram *d, const void *data, size_t n)
{
	ssize_t r;

	if (!control_allowed(d))
		return -EINVAL;
	if (block_hits(d->peer.family ? &d->peer : &flow_of(s)->peer))
		return -EACCES;
	r = send_by(s, d, data, n);
	if (r == -ECONNREFUSED && !d->tag) { /* of a datagram before: reported late, and this one goes */
		show_error(s, ECONNREFUSED);
		r = send_by(s, d, data, n);
	}
	if (r >= 0)
		observe_tx(s, n);
	return r < 0 ? (int)r : 0;
}

static void remember_failure(const struct isock *s, uint32_t tag, int status)
{
	uint32_t at = (tag >> TAG_THREAD) % FAILED;

	kept->failed[at] = (struct failure){ slot_of(s), s->gen, tag, status };
}

/* A record of n bytes: its header to *d, where its payload is and how long to *data and *bytes. False: it is a lie. */
static bool read_record(const struct isock *s, size_t n, struct mw_dgram *d, const void **data, size_t *bytes)
{
	size_t front = is_plain(s) ? MW_NONCE_BYTES : 0;

	if (front && (n < front || memcmp(kept->record.nonce, shared_of(s)->ins.nonce, front) != 0)) {
		*d = (struct mw_dgram){ .kind = MW_DG_DATA };
		*data = &kept->record;
		*bytes = n;
		return n <= MW_DGRAM_PAYLOAD;
	}
	if (msg_dgram_check(d, &kept->record.head, n - front) < 0 || d->kind != MW_DG_DATA)
		return false;
	*data = kept->record.data;
	*bytes = n - front - sizeof(*d);
	return true;
}

/* What was sent, or cannot be, is not first on the doorbell any more. */
static bool take_off(struct isock *s)
{
	struct iovec one = { &kept->record, 1 };
	ssize_t n;

	deed_begin(DEED_DGRAM_OFF, s);
	n = ins.door ? front_dgram_off(s) : deed_recv(s->bell, &one, 1, MSG_DONTWAIT);
	deed_end();
	return n >= 0;
}

/* A worker died over a datagram that goes out. */
void dgram_out_recover(struct isock *s)
{
	bool off = journal->deed.kind == DEED_DGRAM_OFF;

	if ((s->bell >= 0 || ins.door) && (off ? !deed_done() : kept->call.m.msg_len != DGRAM_NOT_DONE))
		take_off(s);
	deed_end();
}

/* Tells again what is ready. */
void dgram_recover(struct isock *s)
{
	watch(s);
}

/* The first record on the doorbell. False when there is none, or it has to wait. */
static bool forward_one(struct isock *s)
{
	struct mw_tele *t = observe_header();
	uint8_t *to = is_plain(s) ? kept->record.nonce : (uint8_t *)&kept->record.head;
	ssize_t n = ins.door ? front_dgram_next(s, to)
			     : recv(s->bell, to, (size_t)((uint8_t *)(&kept->record + 1) - to), MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);
	struct mw_dgram d;
	const void *data;
	size_t bytes;
	int r;

	if (ins.door && n <= 0) {
		if (n < 0)
			data_quarantine(s);
		return false;
	}
	if (n < 0 && errno == ECONNRESET) /* closed with datagrams unread: told once, before what it had sent */
		return true;
	if (n < 0 || (n == 0 && s->flags & (F_APP_GONE | F_APP_WR_SHUT)))
		return false;
	if (!read_record(s, (size_t)n, &d, &data, &bytes)) {
		if (ins.door) {
			data_quarantine(s);
			return false;
		}
		mw_store(&t->violations, t->violations + 1);
	} else {
		r = put_one(s, &d, data, bytes);
		if (r == -EAGAIN) {
			deed_end();
			s->flags |= F_TX_BLOCKED;
			watch(s);
			return false;
		}
		if (r < 0 && d.tag)
			remember_failure(s, d.tag, r);
		else if (r < 0)
			dgram_changed(s);
	}
	return take_off(s);
}

/* False when there is more than one event's work. */
static bool forward(struct isock *s, int most)
{
	for (int i = 0; i < most; i++)
		if (s->flags & F_TX_BLOCKED || !forward_one(s))
			return true;
	return false;
}

static void forward_some(struct isock *s)
{
	if (!forward(s, AT_ONCE)) {
		watch(s); /* there is more */
		if (ins.door)
			ready_mark(&ins.view, slot_of(s));
	} else if (s->flags & F_APP_GONE && !(s->flags & F_TX_BLOCKED))
		ended(s);
}

int dgram_flush(struct isock *s, uint32_t tag)
{
	uint32_t at = (tag >> TAG_THREAD) % FAILED;

	forward(s, 16 * AT_ONCE);
	if (s->state == MW_ST_ESTABLISHED)
		show_error(s, ins.stack->error(s->tcp)); /* on loopback the answer is there already */
	return kept->failed[at].tag == tag && kept->failed[at].slot == slot_of(s) && kept->failed[at].gen == s->gen ?
		       kept->failed[at].status : 0;
}

/* --- events --- */

static void bell(struct isock *s, uint32_t mask)
{
	if (mask & EPOLLHUP && !(s->flags & F_APP_GONE)) {
		s->flags |= F_APP_GONE | F_RX_DONE;
		flow_of(s)->app_close_ns = ins.now_ns;
		slots_state(s, MW_ST_CLOSING);
		watch(s);
	}
	if (mask & EPOLLRDHUP)
		s->flags |= F_APP_WR_SHUT;
	if (mask & EPOLLOUT && s->flags & F_RX_PAUSED && !(mask & EPOLLHUP)) {
		s->flags &= ~F_RX_PAUSED;
		watch(s);
	}
	forward_some(s);
}

void dgram_service(struct isock *s, uint32_t flags)
{
	uint32_t room = s->flags & F_RX_PAUSED ? EPOLLOUT : 0;

	if (s->state != MW_ST_CLOSED)
		bell(s, room | (flags & MW_APP_CLOSED ? EPOLLHUP : 0));
	else if (flags & MW_APP_CLOSED)
		slots_free(slot_of(s));
}

static void network(struct isock *s, uint32_t sub, uint32_t mask)
{
	if (mask & EPOLLERR && sub == 0)
		show_error(s, ins.stack->error(s->tcp));
	else if (mask & EPOLLERR)
		ins.stack->error(handle_of(s, sub));
	if (mask & EPOLLIN)
		receive(s, sub);
	if (mask & EPOLLOUT && sub == 0 && s->flags & F_TX_BLOCKED) {
		s->flags &= ~F_TX_BLOCKED;
		watch(s);
		forward_some(s);
	}
}

void dgram_event(struct isock *s, const struct event *e)
{
	if (e->kind == EV_BELL)
		bell(s, e->mask);
	else if (e->kind == EV_TCP && e->sub <= s->extra_count)
		network(s, e->sub, e->mask);
}

/* --- requests --- */

int dgram_connect(struct isock *s, const struct mw_addr *to)
{
	struct mw_flow *f = flow_of(s);
	int r = ins.stack->connect(s->tcp, to);
	bool connected;

	memset(&f->peer, 0, sizeof(f->peer));
	slots_names(s, NULL);
	connected = f->peer.family != MW_FAMILY_NONE;
	slots_state(s, connected ? MW_ST_ESTABLISHED : MW_ST_OPEN);
	return r;
}

/*
 * Receiving ends on the doorbell alone: what comes later is not taken. The stack's own receiving side stays open, since one
 * that is shut is ready for ever. ENOTCONN is Linux's answer where the shutdown takes place all the same.
 */
int dgram_shutdown(struct isock *s, uint32_t how)
{
	if (how != 0)
		ins.stack->shutdown_send(s->tcp);
	if (how != 1 && !(s->flags & F_RX_DONE)) {
		for (uint32_t sub = 0; sub <= s->extra_count; sub++)
			receive(s, sub); /* what has come may still be read */
		s->flags |= F_RX_DONE;
		if (!ins.door)
			shutdown(s->bell, SHUT_WR);
		watch(s);
	}
	return s->state == MW_ST_ESTABLISHED ? 0 : -ENOTCONN;
}

int dgram_bound(struct isock *s, const struct broker_msg *m, int *fds, int count)
{
	struct broker_msg gone = { .kind = BM_CLOSED, .slot = slot_of(s), .gen = s->gen };
	int r = m->status == 0 ? ins.stack->bind(s->tcp, &m->addr) : m->status;

	if (journal->job.again) {
		s->extra_count = 0;
		r = r == -EINVAL ? 0 : r;
	}
	if (m->status == 0 && r < 0)
		uplink_send(&gone);
	if (r < 0)
		return r;
	s->flags |= F_PUBLISHED;
	for (int i = 0; i < count && s->extra_count < EXTRA_MAX; i++) {
		uint32_t sub = s->extra_count + 1u;

		if (poll_add(fds[i], EV_TCP, sub, slot_of(s), s->gen, EPOLLIN | EPOLLET) < 0)
			continue;
		s->extra[s->extra_count] = fds[i];
		mw_order();
		s->extra_count++;
		fds[i] = -1;
	}
	slots_names(s, NULL);
	return 0;
}
