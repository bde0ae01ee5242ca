// SPDX-License-Identifier: Apache-2.0
/*
 * stream.c - the stream lane: the doorbell is a SOCK_STREAM pair and carries the bytes themselves, for programs that
 * no shim can serve (raw system calls, stdio). Both ends of the rings are ours; they hold what is on its way.
 * Trust: the bytes are the application's; its doorbell can only make its own descriptor look wrong.
 *
 * The ghost. A reset is shown by closing our end over an unread byte, so one byte always stays unread there: the last
 * one, taken by MSG_PEEK already. Whoever makes a pair writes the first. Filler, which keeps the doorbell of a
 * connection that is being made unwritable, follows it and is dropped.
 *
 * End of stream needs no tomb. Once FIN is shown, the application's shutdown and its close look alike, and mean the
 * same: what it wrote goes out, then FIN. When both directions are done, or an error is shown, we close our end. The
 * slot is an orphan then: it keeps names and error until it is needed for another socket.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/bell.h"
#include "ins/data.h"
#include "ins/journal.h"
#include "ins/poll.h"
#include "ins/slots.h"
#include "ins/stream.h"
#include "ins/urgent.h"

#define GHOST 1
#define MASK  (EPOLLIN | EPOLLRDHUP | EPOLLET)

static uint8_t waste[65536];

static void watch(struct isock *s, uint32_t mask)
{
	poll_change(s->bell, EV_BELL, 0, slot_of(s), s->gen, mask);
}

static uint32_t unread(const struct isock *s)
{
	int total = 0;

	return ioctl(s->bell, FIONREAD, &total) < 0 || total < 0 ? 0 : (uint32_t)total;
}

/* Drops n bytes from the front: the ghost and all but the last of what follows it, which is the ghost now. */
static void drop(struct isock *s, uint32_t n)
{
	ssize_t got = 1;

	for (; n && got > 0; n -= got > 0 ? (uint32_t)got : 0)
		got = recv(s->bell, waste, n < sizeof(waste) ? n : sizeof(waste), MSG_DONTWAIT);
}

void stream_filled(struct isock *s)
{
	uint32_t total = unread(s);

	s->filler = total > GHOST ? total - GHOST : 0;
}

void stream_drain(struct isock *s)
{
	struct iovec iov = { waste, 0 };
	ssize_t got = 1;

	while (s->filler && got > 0) {
		iov.iov_len = s->filler < sizeof(waste) ? s->filler : sizeof(waste);
		journal->deed.pos = s->filler;
		deed_begin(DEED_FILLER, s);
		got = deed_recv(s->bell, &iov, 1, MSG_DONTWAIT);
		s->filler -= got > 0 ? (uint32_t)got : 0;
		deed_end();
	}
	s->filler = 0;
}

void stream_filler_recover(struct isock *s)
{
	s->filler = (uint32_t)journal->deed.pos - (deed_done() ? deed_bytes() : 0);
}

void stream_recover(struct isock *s)
{
	s->flags &= ~F_PUSH_BLOCKED;
	watch(s, MASK);
	bell_ring_later(s);
}

/* --- from the application --- */

uint64_t stream_written(const struct isock *s)
{
	uint32_t n = unread(s);

	return s->tx_prod + (n > GHOST ? n - GHOST : 0);
}

static bool pull_urgent(struct isock *s, const struct mw_ring *r)
{
	ring_write(r, s->urgent_at, &(uint8_t){ (uint8_t)s->urgent_due }, 1);
	s->tx_urgent = s->urgent_at + 1;
	mw_order();
	mw_store(&s->tx_prod, s->urgent_at + 1); /* it is written: a worker that finds it due all the same forgets it */
	mw_order();
	s->urgent_due = -1;
	ring_publish(r, s->tx_prod);
	return true;
}

/* So many bytes were taken off the doorbell, the ghost first: the last one, which is the ghost now, is looked at. */
static void pulled(struct isock *s, const struct mw_ring *r, uint64_t pos, uint32_t got)
{
	struct mw_span ghost[2];

	pos += got - GHOST;
	ring_spans(r, pos, GHOST, ghost);
	if (recv(s->bell, MW_WORD(ghost[0].base), GHOST, MSG_PEEK | MSG_DONTWAIT) == GHOST)
		pos++;
	mw_store(&s->tx_prod, pos);
	ring_publish(r, pos);
}

void stream_pull_recover(struct isock *s)
{
	struct mw_ring r;

	arena_tx(&ins.view, slot_of(s), &r);
	if (deed_done() && deed_bytes() >= GHOST)
		pulled(s, &r, journal->deed.pos, deed_bytes());
}

bool stream_pull(struct isock *s)
{
	struct iovec iov[3] = { { .iov_base = &(uint8_t){ 0 }, .iov_len = GHOST } };
	struct mw_ring r;
	uint32_t n, room;
	size_t parts;
	ssize_t got;

	if (s->bell < 0)
		return false;
	if (s->filler) /* a worker died between the connection's beginning and this */
		stream_drain(s);
	arena_tx(&ins.view, slot_of(s), &r);
	room = within(r.bytes - (uint32_t)(s->tx_prod - s->tx_cons), &r, s->tx_limit);
	if (s->urgent_due >= 0 && s->urgent_at == s->tx_prod && room)
		return pull_urgent(s, &r);
	n = (uint32_t)(stream_written(s) - s->tx_prod);
	if (s->urgent_due >= 0 && s->urgent_at - s->tx_prod < n)
		n = (uint32_t)(s->urgent_at - s->tx_prod);
	n = n < room ? n : room;
	if (!n)
		return false;
	parts = 1 + (size_t)ring_iov(&r, s->tx_prod, n - GHOST, iov + 1);
	journal->deed.pos = s->tx_prod;
	deed_begin(DEED_PULL, s);
	got = deed_recv(s->bell, iov, parts, MSG_DONTWAIT);
	if (got == -ECONNRESET) /* recvmmsg() tells that before what had come, and once; the event told of it */
		got = deed_recv(s->bell, iov, parts, MSG_DONTWAIT);
	if (got >= GHOST)
		pulled(s, &r, s->tx_prod, (uint32_t)got);
	deed_end();
	return got >= GHOST;
}

/* --- towards the application --- */

static void orphan(struct isock *s)
{
	if (!(s->flags & F_ERROR_DUE))
		drop(s, unread(s));
	slots_orphan(slot_of(s));
}

/* Everything is pushed: what the end of the stream asks for. */
static void push_end(struct isock *s)
{
	if (s->flags & F_ERROR_DUE) {
		orphan(s);
		return;
	}
	if (s->flags & F_FIN_DUE && !(s->flags & F_FIN_SHOWN)) {
		shutdown(s->bell, SHUT_WR);
		s->flags |= F_FIN_SHOWN;
		if (s->flags & F_TX_DONE)
			orphan(s);
	}
}

/* The next bytes, up to an urgent one, or that. */
static ssize_t push_some(struct isock *s, const struct mw_ring *r)
{
	uint32_t n = (uint32_t)(s->rx_prod - s->rx_cons), before = urgent_before(s, n);
	struct iovec iov[2];
	size_t parts = (size_t)ring_iov(r, s->rx_cons, before ? before : 1, iov);
	ssize_t sent;

	journal->deed.pos = s->rx_cons;
	deed_begin(DEED_PUSH, s);
	sent = deed_send(s->bell, iov, parts, NULL, 0, MSG_DONTWAIT | (before ? 0 : MSG_OOB));
	if (sent == -EOPNOTSUPP) /* a kernel without: an ordinary byte */
		sent = deed_send(s->bell, iov, parts, NULL, 0, MSG_DONTWAIT);
	return sent;
}

void stream_push_recover(struct isock *s)
{
	struct mw_ring r;

	arena_rx(&ins.view, slot_of(s), &r);
	s->rx_cons = journal->deed.pos + (deed_done() ? deed_bytes() : 0);
	ring_release(&r, s->rx_cons);
}

void stream_push(struct isock *s)
{
	struct mw_ring r;
	uint32_t gen = s->gen;

	if (s->bell < 0)
		return;
	arena_rx(&ins.view, slot_of(s), &r);
	while (s->rx_cons != s->rx_prod) {
		ssize_t n = push_some(s, &r);

		if (n == -EAGAIN) {
			deed_end();
			watch(s, MASK | EPOLLOUT);
			s->flags |= F_PUSH_BLOCKED;
			return;
		}
		s->rx_cons = n < 0 ? s->rx_prod : s->rx_cons + (uint64_t)n; /* it reads no more: dropped, as TCP does */
		ring_release(&r, s->rx_cons);
		deed_end();
	}
	if (s->flags & F_RX_PAUSED)
		data_rx(s, true); /* which has us called again */
	if (s->gen == gen && s->rx_cons == s->rx_prod)
		push_end(s);
}

void stream_show_fin(struct isock *s)
{
	s->flags |= F_FIN_DUE;
	bell_ring_later(s);
}

void stream_show_error(struct isock *s)
{
	s->flags |= F_ERROR_DUE;
	bell_ring_later(s);
}

void stream_done(struct isock *s)
{
	if (s->flags & F_FIN_SHOWN)
		orphan(s);
}

void stream_event(struct isock *s, uint32_t mask)
{
	uint32_t gen = s->gen;
	bool shut = mask & (EPOLLRDHUP | EPOLLHUP);

	if (mask & EPOLLERR || (mask & EPOLLHUP && (!(s->flags & F_FIN_SHOWN) || s->flags & F_LINGER0))) {
		if (mask & EPOLLERR)
			s->flags |= F_LINGER0; /* closed over unread bytes: a reset, as Linux does */
		bell_gone(s);
		return;
	}
	if (shut)
		s->flags |= F_APP_WR_SHUT;
	if (mask & EPOLLIN || shut)
		data_tx(s);
	if (s->gen == gen && mask & EPOLLOUT && s->flags & F_PUSH_BLOCKED) {
		s->flags &= ~F_PUSH_BLOCKED;
		watch(s, MASK);
		stream_push(s);
	}
}

/* --- a ring socket becomes a stream one --- */

int stream_adopt(struct isock *s, int fd, uint64_t cookie)
{
	struct mw_slot *m = shared_of(s);
	uint64_t rx_cons = mw_load_acquire(&m->app.rx_cons), tx_prod = mw_load_acquire(&m->app.tx_prod);
	struct mw_ring r;
	int on = 1, old, tomb, r2;

	arena_tx(&ins.view, slot_of(s), &r);
	if (s->rx_prod - rx_cons > ins.view.rx_bytes || tx_prod - s->tx_cons > r.bytes) {
		data_quarantine(s);
		return -ECONNABORTED;
	}
	r2 = poll_add(fd, EV_BELL, 0, slot_of(s), s->gen, MASK);
	if (r2 < 0)
		return r2;
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	old = s->bell == fd ? -1 : s->bell;
	tomb = s->tomb;
	s->bell = fd;
	s->tomb = -1;
	mw_order();
	if (old >= 0)
		close(old);
	if (tomb >= 0)
		close(tomb);
	s->rx_cons = urgent_behind_dropped(s, rx_cons);
	s->tx_prod = tx_prod;
	s->tx_urgent = mw_load(&m->app.tx_urgent);
	if (s->flags & F_FIN_SHOWN)
		s->flags |= F_FIN_DUE;
	s->flags = (s->flags & ~(F_FIN_SHOWN | F_SEED_HEAD | F_WANT_SPACE)) | F_STREAM;
	mw_store(&m->ins.lane, MW_LANE_STREAM);
	mw_store_release(&m->ins.cookie, cookie);
	bell_ring_later(s);
	return 0;
}
