// SPDX-License-Identifier: Apache-2.0
/*
 * bell.c - the doorbell: a socketpair whose far end the application holds and whose poll state is the socket's.
 * Trust: records from the application are compared with the socket's nonce; anything else is its data. What it
 * sends or withholds here can only make its own descriptor look wrong.
 *
 * End of stream. The last record towards the application is an end marker, never taken back by the shim, that
 * carries the write end of a pipe: when the application's last reference is gone, the marker dies unread, the
 * pipe's reader (the tomb) sees HUP, and the slot ends. So the doorbell's own end may be shut down or closed
 * before that, as FIN and reset demand:
 *   FIN    marker, then shutdown(SHUT_WR)            the application polls IN RDHUP
 *   reset  marker, then close with the seed unread   IN RDHUP HUP ERR, SO_ERROR ECONNRESET
 * Without FIN shown, the application's last close is HUP on our end. After it, HUP says only that both sides
 * have shut down, and the tomb (or ERR, for the unread marker) tells.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/bell.h"
#include "ins/data.h"
#include "ins/dgram.h"
#include "ins/journal.h"
#include "ins/observe.h"
#include "ins/poll.h"
#include "ins/slots.h"
#include "ins/stream.h"
#include "ins/urgent.h"
#include "ins/xen/front.h"
#include "lib/clock.h"
#include "lib/fdpass.h"

#define BELL_MASK (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define STRAY_MAX (256u * 1024) /* more than any SO_SNDBUF default lets one record be */
#define READERS_MAX 256 /* that are woken at once: so many tokens a doorbell holds. What the application counts is not believed */

static uint8_t record[STRAY_MAX];

int bell_adopt(struct isock *s, int fd, int type)
{
	int on = 1;

	s->bell = fd;
	if (type == SOCK_STREAM) {
		s->flags |= F_STREAM;
		shared_of(s)->ins.lane = MW_LANE_STREAM;
		setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)); /* an urgent byte that came past the shim is not lost */
	}
	return poll_add(fd, EV_BELL, 0, slot_of(s), s->gen, BELL_MASK);
}

/* Makes the pair for an accepted connection: seed or ghost queued, cookie read. The caller passes *app_end on. */
int bell_pair(struct isock *s, int type, int *app_end, uint64_t *cookie)
{
	struct mw_slot *m = shared_of(s);
	socklen_t n = sizeof(*cookie);
	int budget = MW_STREAM_SNDBUF, in_line = !!(s->flags & F_URGENT_INLINE), pair[2], r;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	if (type == SOCK_STREAM)
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &budget, sizeof(budget));
	if (in_line)
		setsockopt(pair[0], SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof(in_line));
	if (send(pair[0], m->ins.nonce, type == SOCK_STREAM ? 1 : SEED_BYTES, MSG_DONTWAIT) < 0 ||
	    getsockopt(pair[0], SOL_SOCKET, SO_COOKIE, cookie, &n) < 0) {
		r = -errno;
		close(pair[0]);
		close(pair[1]);
		return r;
	}
	r = bell_adopt(s, pair[1], type);
	if (r < 0) {
		close(pair[0]);
		return r;
	}
	s->flags |= F_SEED_HEAD;
	*app_end = pair[0];
	return 0;
}

/* --- towards the application --- */

/* SO_RCVLOWAT, at most what the ring can hold while the stack is still read. */
static uint64_t lowat_of(const struct isock *s, const struct mw_ring *r)
{
	uint32_t most = (s->rx_limit ? s->rx_limit : r->bytes) / 2, n = s->lowat ? (uint32_t)s->lowat : 1;

	return n < most ? n : most;
}

/* As many bytes to read as SO_RCVLOWAT says: then an event is answered. */
bool bell_enough(struct isock *s, const struct mw_ring *r)
{
	uint32_t hidden = s->rx_urgent ? urgent_hidden(s) : 0;

	return (s->lowat <= 1 && !hidden) ||
	       s->rx_prod - mw_load_acquire(&shared_of(s)->app.rx_cons) >= lowat_of(s, r) + hidden;
}

/* The answer is told before the token is there: who reads at once arms behind what it saw. */
static void send_token(struct isock *s, uint64_t told)
{
	struct mw_slot *m = shared_of(s);
	struct iovec iov = { (void *)(mw_uintptr)"", 1 };

	journal->deed.pos = s->rx_rung;
	deed_begin(DEED_TOKEN, s);
	mw_store_release(&m->ins.rx_told, told);
	mw_store_release(&m->ins.rx_rung, ++s->rx_rung); /* before the token, so that it is owed while in flight */
	if (deed_send(s->bell, &iov, 1, NULL, 0, MSG_DONTWAIT) < 0)
		mw_store_release(&m->ins.rx_rung, --s->rx_rung);
	deed_end();
}

/*
 * Answers the event index `told`. TCP wakes all who sleep in a read, a record on the doorbell wakes one; so there are as many tokens
 * as readers may have been asleep when the first one came: each had begun to be, and none of those had ceased before. s->rx_told is last:
 * a worker that dies in between leaves all of it to be done again.
 */
static void send_tokens(struct isock *s, uint64_t told)
{
	const struct mw_slot_app *app = &shared_of(s)->app;
	uint32_t woken = mw_load_acquire(&app->rx_woken);
	int32_t asleep;

	send_token(s, told);
	mw_fence(); /* the token is there: who now goes to sleep sees it, who slept has counted itself */
	asleep = (int32_t)(mw_load(&app->rx_waits) - woken); /* once: who finds a token of ours and waits anew would have us send another */
	for (int32_t sent = 1; sent < asleep && sent < READERS_MAX; sent++)
		send_token(s, told);
	s->rx_told = told;
}

/* A worker died over a token. */
void bell_token_recover(struct isock *s)
{
	if (deed_done()) {
		s->rx_rung = journal->deed.pos + 1;
		if (s->type == MW_TYPE_DGRAM)
			dgram_up_recover(s);
	} else {
		s->rx_rung = journal->deed.pos;
		mw_store_release(&shared_of(s)->ins.rx_told, s->rx_told);
	}
	mw_store_release(&shared_of(s)->ins.rx_rung, s->rx_rung);
}

/*
 * Readers get a token for nothing, writers a doorbell with room, also when the ring has none: both look, and wait anew.
 * False: the connection has ended over it.
 */
static bool wake(struct isock *s)
{
	uint32_t gen = s->gen;

	s->waking = false;
	if (s->state != MW_ST_ESTABLISHED)
		return true;
	send_tokens(s, s->rx_told);
	bell_drain(s);
	return s->gen == gen && s->bell >= 0;
}

void bell_wake(struct isock *s)
{
	if (ins.door) {
		s->waking = true;
		bell_ring_later(s);
		return;
	}
	if (s->bell >= 0 && s->type == MW_TYPE_DGRAM)
		dgram_wake(s);
	if (s->bell < 0 || s->type == MW_TYPE_DGRAM || s->state != MW_ST_ESTABLISHED || s->flags & F_STREAM)
		return;
	s->waking = true;
	bell_ring_later(s);
}

/* A token is sent only if it is still owed when all of this loop's work is done. */
static void ring_now(struct isock *s)
{
	struct mw_ring r;
	uint64_t told;

	journal_at(s);
	s->flags &= ~F_RINGING;
	if (ins.door) {
		front_ring(s);
		return;
	}
	if (s->flags & F_STREAM) {
		stream_push(s);
		return;
	}
	if (s->bell < 0 || s->flags & F_FIN_SHOWN)
		return;
	if (s->waking && !wake(s))
		return;
	arena_rx(&ins.view, slot_of(s), &r);
	told = s->rx_told;
	if (bell_enough(s, &r) && ring_due(&r, s->rx_prod, &told))
		send_tokens(s, told);
}

void bell_ring_all(void)
{
	for (uint32_t i = 0; i < ins.ringing_count; i++)
		if (sock_at(ins.ringing[i])->flags & F_RINGING)
			ring_now(sock_at(ins.ringing[i]));
	ins.ringing_count = 0;
}

void bell_ring_later(struct isock *s)
{
	if (s->flags & F_RINGING)
		return;
	if (ins.ringing_count == ins.view.slots) /* slots that ended and began again in this loop are on it twice */
		bell_ring_all();
	s->flags |= F_RINGING;
	ins.ringing[ins.ringing_count++] = slot_of(s);
}

/*
 * The marker; behind the tokens, so that those are taken before it. False when the application's last reference is gone
 * already: it can see FIN in the slot, answer and close before we get here. Our end then has, or will have, an event with
 * HUP, which without FIN shown means just that.
 */
static bool send_marker(struct isock *s)
{
	struct iovec iov = { (void *)(mw_uintptr)"", 1 };
	int p[2], r;

	if (s->flags & F_RINGING)
		ring_now(s);
	deed_begin(DEED_MARKER, s);
	r = pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
	if (r == 0) {
		s->tomb = p[0]; /* known and watched before it can tell anything */
		r = poll_add(p[0], EV_TOMB, 0, slot_of(s), s->gen, 0);
		if (r == 0)
			r = (int)deed_send(s->bell, &iov, 1, &p[1], 1, MSG_DONTWAIT);
		if (r < 0)
			s->tomb = -1;
		if (r < 0)
			close(p[0]);
		close(p[1]);
	}
	if (r < 0 && r != -EPIPE && r != -ECONNRESET) /* no pipe to be had, or too many in flight */
		r = (int)deed_send(s->bell, &iov, 1, NULL, 0, MSG_DONTWAIT);
	if (r != -EPIPE && r != -ECONNRESET)
		s->flags |= F_FIN_SHOWN;
	deed_end();
	return s->flags & F_FIN_SHOWN;
}

void bell_marker_recover(struct isock *s)
{
	int tomb = s->tomb;

	if (deed_done()) {
		s->flags |= F_FIN_SHOWN;
		return;
	}
	s->tomb = -1;
	if (tomb >= 0)
		close(tomb);
}

void bell_show_fin(struct isock *s)
{
	struct mw_slot *m = shared_of(s);

	if (ins.door)
		front_show_fin(s);
	if (s->flags & F_FIN_SHOWN || s->bell < 0)
		return;
	mw_store_release(&m->ins.rx_state, MW_RX_FIN);
	if (s->flags & F_STREAM) {
		stream_show_fin(s);
		return;
	}
	if (send_marker(s))
		shutdown(s->bell, SHUT_WR);
}

void bell_show_error(struct isock *s, int error)
{
	struct mw_slot *m = shared_of(s);
	int bell;

	if (ins.door) {
		front_show_error(s, error);
		return;
	}
	m->ins.error = error;
	mw_store_release(&m->ins.rx_state, MW_RX_ERROR | (s->flags & F_FIN_SHOWN ? MW_RX_FIN : 0));
	if (s->bell < 0)
		return;
	if (s->flags & F_STREAM) {
		stream_show_error(s);
		return;
	}
	if (!(s->flags & F_FIN_SHOWN) && !send_marker(s))
		return;
	if (s->tomb < 0) { /* no pipe to be had: keep our end, to see the application's last close as ERR */
		shutdown(s->bell, SHUT_RDWR);
		return;
	}
	bell = s->bell;
	s->bell = -1;
	mw_order();
	close(bell);
}

/* --- from the application --- */

static void stray_sent(struct isock *s, uint32_t n)
{
	s->stray_at += n;
	observe_tx(s, n);
}

/* Sends one stray record on in order. True when all of it went out: stray_at says so until it is taken. */
static bool forward_stray(struct isock *s, size_t n)
{
	struct mw_ring r;
	uint32_t used;

	arena_tx(&ins.view, slot_of(s), &r);
	if (ring_used(&r, s->tx_cons, &used) < 0 || used || s->tcp < 0 ||
	    s->flags & (F_TX_DONE | F_TX_BLOCKED))
		return false;
	while (s->stray_at < n) {
		struct iovec iov = { record + s->stray_at, n - s->stray_at };
		ssize_t sent;

		deed_bytes_begin(DEED_STRAY, s, s->stray_at, flow_of(s)->tx_bytes, (uint32_t)iov.iov_len);
		sent = ins.stack->send(s->tcp, &iov, 1, false);
		if (sent >= 0)
			stray_sent(s, (uint32_t)sent);
		deed_end();
		if (sent == -EAGAIN)
			s->flags |= F_TX_BLOCKED;
		else if (sent < 0)
			data_tx_failed(s, (int)sent);
		if (sent < 0)
			return false;
	}
	return true;
}

void bell_stray_recover(struct isock *s)
{
	const struct deed *d = &journal->deed;
	int64_t n = data_sent(s);

	if (n <= 0)
		return;
	s->stray_at = (uint32_t)d->pos;
	flow_of(s)->tx_bytes = d->total;
	stray_sent(s, (uint32_t)n);
}

static bool is_filler(const struct isock *s, size_t n)
{
	return n >= SEED_BYTES && !memcmp(record, shared_of(s)->ins.nonce, SEED_BYTES);
}

/*
 * Is the one record behind a first one of n bytes the seed? Then the socket turns writable when the first is taken, and
 * whoever sees that must not take the drain for stray data still: its send would be cut to what a stray may be.
 */
static bool seed_is_next(struct isock *s, int n, int total)
{
	int all = -1;
	ssize_t r;

	if (total - n != (int)SEED_BYTES || setsockopt(s->bell, SOL_SOCKET, SO_PEEK_OFF, &n, sizeof(n)) < 0)
		return false;
	r = recv(s->bell, record, SEED_BYTES, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);
	setsockopt(s->bell, SOL_SOCKET, SO_PEEK_OFF, &all, sizeof(all));
	return r == SEED_BYTES && is_filler(s, SEED_BYTES);
}

/* One step of draining: true when there may be more to do, false when it is over; *settled: only the seed is left. */
static bool drain_one(struct isock *s, bool *settled)
{
	struct mw_slot *m = shared_of(s);
	struct iovec one = { record, 1 };
	int total = 0;
	bool filler, last;
	ssize_t n;

	if (ioctl(s->bell, FIONREAD, &total) < 0)
		return false;
	*settled = total == 0 || (s->flags & F_SEED_HEAD && total == SEED_BYTES);
	if (*settled)
		return false;
	n = recv(s->bell, record, sizeof(record), MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0)
		return false;
	if ((size_t)n > sizeof(record)) {
		data_quarantine(s); /* a record that no default send buffer allows */
		return false;
	}
	filler = is_filler(s, (size_t)n);
	*settled = filler && total <= n;
	if (*settled)
		return false;
	last = filler && seed_is_next(s, (int)n, total);
	mw_store_release(&m->ins.bell_busy, last ? 0u : 1u); /* before the record goes: see doorbell_strays in the shim */
	if (!filler && !forward_stray(s, (size_t)n)) {
		s->flags |= F_WANT_SPACE; /* again when the ring is empty and the stack has room */
		return false;
	}
	deed_begin(DEED_TAKE, s);
	if (deed_recv(s->bell, &one, 1, MSG_DONTWAIT) < 0) {
		deed_end();
		return false;
	}
	s->stray_at = 0;
	s->flags &= ~F_SEED_HEAD;
	if (!filler && total <= n)
		mw_store_release(&m->ins.want_seed, ++s->want_seed);
	deed_end();
	*settled = last; /* at once: filler that comes from now on says that the ring is full again */
	return !last;
}

/* A worker died over taking a record. One seed too many does no harm: it is filler. */
void bell_take_recover(struct isock *s)
{
	if (!deed_done())
		return;
	s->stray_at = 0;
	s->flags &= ~F_SEED_HEAD;
	mw_store_release(&shared_of(s)->ins.want_seed, ++s->want_seed);
}

/*
 * Takes every record but a last one that is filler: that is the seed. Anything but filler is data that the application
 * wrote past the shim (stdio, a raw system call) and goes out behind the ring's bytes. Data is never left as the seed:
 * a large record alone would keep the doorbell unwritable. The shim is asked for another seed instead.
 */
void bell_drain(struct isock *s)
{
	bool settled = false;

	if (s->flags & F_STREAM) {
		stream_drain(s);
		return;
	}
	while (s->bell >= 0 && drain_one(s, &settled))
		;
	if (settled)
		mw_store_release(&shared_of(s)->ins.bell_busy, 0u);
}

/* The application's last reference is gone: its bytes still go out, then the slot ends. */
void bell_gone(struct isock *s)
{
	if (s->flags & F_APP_GONE)
		return;
	data_tx(s); /* what was sent goes out in front of a reset too */
	if (s->flags & F_LINGER)
		s->linger_until_ms = clock_ms() + (int64_t)s->linger_s * 1000;
	s->flags |= F_APP_GONE;
	flow_of(s)->app_close_ns = ins.now_ns;
	bell_gone_on(s);
}

void bell_gone_on(struct isock *s)
{
	struct mw_slot *m = shared_of(s);
	bool unread;

	if (s->state != MW_ST_ESTABLISHED) {
		slots_free(slot_of(s));
		return;
	}
	slots_state(s, MW_ST_CLOSING);
	unread = (s->flags & F_STREAM ? s->rx_cons : mw_load_acquire(&m->app.rx_cons)) != s->rx_prod;
	if (s->flags & F_LINGER0 || unread) {
		slots_abort(s); /* unread bytes: Linux answers with a reset */
		slots_free(slot_of(s));
		return;
	}
	data_tx(s);
}

void bell_event(struct isock *s, uint32_t mask)
{
	bool gone = mask & EPOLLHUP && (!(s->flags & F_FIN_SHOWN) || mask & EPOLLERR);

	if (s->flags & F_STREAM) {
		stream_event(s, mask);
		return;
	}
	if (gone) {
		bell_gone(s);
		return;
	}
	if (mask & EPOLLRDHUP && !(s->flags & F_APP_WR_SHUT)) {
		s->flags |= F_APP_WR_SHUT | F_WANT_SPACE; /* what would fail at once waits no longer */
		data_tx(s);
	} else if (mask & EPOLLIN && s->state == MW_ST_ESTABLISHED) {
		s->flags |= F_WANT_SPACE;
		data_tx(s);
	}
}
