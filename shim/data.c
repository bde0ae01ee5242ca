// SPDX-License-Identifier: Apache-2.0
/*
 * data.c - bytes to and from the rings.
 * Trust: every index of the INS is checked in chan/ring.c; -EPROTO there ends that socket alone (quarantine).
 *
 * Our own indexes live in the slot, because all processes that hold the socket share them; each direction has a
 * lock there. It is held while bytes are copied and never while anything sleeps. A signal handler on this thread may
 * come between (lock.h): bytes are taken only from where the copy began, else it is made again; see put_locked.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/data.h"
#include "shim/attach.h"
#include "shim/dgram.h"
#include "shim/doorbell.h"
#include "shim/fork.h"
#include "shim/hold.h"
#include "shim/lock.h"
#include "shim/option.h"
#include "shim/plain.h"
#include "shim/roster.h"
#include "shim/sock.h"
#include "shim/stream.h"
#include "shim/token.h"
#include "shim/twin.h"
#include "shim/urgent.h"
#include "shim/user.h"

#define LOOKS_MAX 1000 /* of one call at a ring without bytes while its doorbell says that there are some; an honest one's are a few */

/* The INS broke the ring's rules: this socket is of no more use, and says so like a dead connection. */
static int quarantine(struct sock *k)
{
	if (!(APP_SET(k, MW_APP_SHUT_WR | MW_APP_SHUT_RD | MW_APP_ERROR_TAKEN) & MW_APP_ERROR_TAKEN))
		__atomic_fetch_add(MW_WORD(&arena_header(VIEW(k))->app_violations), 1, __ATOMIC_RELAXED);
	syscall(SYS_shutdown, k->fd, SHUT_RDWR);
	return -ECONNABORTED;
}

/* Its INS has ended, and has not said so: nobody else writes these words any more. */
static void mourn(struct sock *k)
{
	if (SLOT_INS(k, rx_state) & MW_RX_ERROR || SLOT_INS(k, state) < MW_ST_CONNECTING)
		return;
	mw_store(MW_WORD(&k->s->ins.error), (int32_t)ECONNRESET);
	__atomic_fetch_or(MW_WORD(&k->s->ins.rx_state), MW_RX_ERROR, __ATOMIC_RELEASE);
}

int data_error(struct sock *k)
{
	int error, shown = 0;
	socklen_t n = sizeof(shown);

	if (IS_DGRAM(k))
		return dgram_error(k);
	if (__builtin_expect(!roster_serves(k->ins), 0))
		mourn(k);
	if (!(SLOT_INS(k, rx_state) & MW_RX_ERROR))
		return 0;
	if (APP_SET(k, MW_APP_ERROR_TAKEN) & MW_APP_ERROR_TAKEN)
		return 0;
	error = SLOT_INS(k, error);
	if (!plain_on)
		syscall(SYS_getsockopt, k->fd, SOL_SOCKET, SO_ERROR, &shown, &n); /* the kernel forgets it too */
	if (!shown && SLOT_INS(k, lane) == MW_LANE_STREAM)
		return 0; /* a read of the descriptor itself has taken it */
	return error > 0 && error < 4096 ? error : ECONNRESET;
}

/* What user_iov_bytes has found right before. */
static size_t iov_bytes(const struct iovec *iov, int count)
{
	size_t n = 0;

	for (int i = 0; i < count; i++)
		n += iov[i].iov_len < USER_IO_MAX - n ? iov[i].iov_len : USER_IO_MAX - n;
	return n;
}

/* Copies n bytes between the ring at `pos` and the iovec, `skip` bytes into it. 0, or -EFAULT. */
static int copy(const struct mw_ring *r, uint64_t pos, const struct iovec *iov, size_t skip, uint32_t n, bool to_ring)
{
	for (; n; iov++) {
		uint8_t *at = (uint8_t *)iov->iov_base + skip;
		uint32_t part;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		part = iov->iov_len - skip < n ? (uint32_t)(iov->iov_len - skip) : n;
		if (user_ring(r, pos, at, part, to_ring) < 0)
			return -EFAULT;
		pos += part;
		n -= part;
		skip = 0;
	}
	return 0;
}

/* Moves our index, unless a handler moved it since it was read: then all is to be done again. */
static bool commit(uint64_t *index, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(index, &from, to, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* --- receive --- */

/* Takes what is there: > 0 bytes, 0 when the ring has nothing to read, -EPROTO. With the lock held. */
static ssize_t take(struct sock *k, const struct iovec *iov, size_t skip, size_t want, int flags)
{
	struct mw_ring r;
	uint64_t cons, at, seen;
	uint32_t used;

	arena_rx(VIEW(k), k->slot, &r);
	do {
		cons = SLOT_APP(k, rx_cons);
		if (ring_used(&r, cons, &used) < 0)
			return -EPROTO;
		if (!used && token_rearm(k, &r, cons) && ring_used(&r, cons, &used) < 0)
			return -EPROTO;
		if (!used) {
			token_space(k, cons); /* whoever emptied it may have been killed before it said so */
			return 0;
		}
		at = cons;
		seen = cons + used;
		if (want && __builtin_expect(SLOT_INS(k, rx_urgent) != 0, 0))
			used = urgent_cut(k, &at, used, skip);
		if (used > want)
			used = (uint32_t)want;
		if (!(flags & MSG_TRUNC) && copy(&r, at, iov, skip, used, false) < 0)
			return -EFAULT;
	} while (!(flags & MSG_PEEK) && !commit(MW_WORD(r.cons), cons, at + used));
	if (!(flags & MSG_PEEK)) {
		cons = at + used;
		token_space(k, cons);
	}
	token_again(k, &r, cons, seen);
	return used;
}

static ssize_t take_locked(struct sock *k, const struct iovec *iov, size_t skip, size_t want, int flags)
{
	uint32_t *lock = MW_WORD(&k->s->app.rx_lock);
	bool taken = lock_take(lock);
	uint32_t guests = lock_guests();
	ssize_t n = take(k, iov, skip, want, flags);

	if (guests != lock_guests())
		token_after_guests(k, guests);
	if (taken)
		lock_drop(lock);
	return n;
}

/* No byte can follow those in the ring. Looked at before the ring, so that none is missed. */
static bool rx_ended(struct sock *k)
{
	return (SLOT_INS(k, rx_state) & (MW_RX_FIN | MW_RX_ERROR)) || (APP_FLAGS(k) & MW_APP_SHUT_RD);
}

static int rx_end(struct sock *k)
{
	int error = data_error(k);

	return error ? -error : 0;
}

static bool waits_not(struct sock *k, int flags)
{
	return flags & MSG_DONTWAIT || syscall(SYS_fcntl, k->fd, F_GETFL) & O_NONBLOCK;
}

/*
 * Sleeps in the kernel as the descriptor's own flags and time-outs say. 0: look again. `held`: the mask to sleep with, when
 * signals are held off. *looks: how often it has said so in this call; an INS that lies can make the doorbell say so for ever.
 */
static int rx_wait(struct sock *k, int flags, sigset_t *held, uint32_t *looks)
{
	int r;

	flags = option_timeo(k, flags);
	if (++*looks > LOOKS_MAX && waits_not(k, flags))
		return -EAGAIN;
	r = doorbell_wait(k, held ? MSG_DONTWAIT : flags);
	if (r == -EAGAIN && held && !(flags & MSG_DONTWAIT))
		return hold_wait(k->fd, POLLIN, SO_RCVTIMEO, held);
	if (r == -ECONNRESET || r == 0) {
		if (!rx_ended(k)) /* the INS itself is gone: it would have said why otherwise */
			mourn(k);
		return rx_ended(k) ? 0 : -ECONNRESET;
	}
	if (r > 0 && !rx_ended(k) && SLOT_INS(k, rx_rung) == SLOT_APP(k, rx_taken))
		token_drop(k);
	return r < 0 ? r : 0;
}

/* As it is now: it may be changed while a call waits. */
static int least_of(struct sock *k, size_t want)
{
	uint32_t low = token_lowat(k);

	return want < low ? (int)want : (int)low;
}

/*
 * SO_RCVLOWAT is more than 1: waits until there is as much, or all that is wanted (which wakes nobody before it is as much,
 * in Linux too). 0: take what there is; -errno: the wait ended otherwise, which counts if nothing is there.
 */
static int rx_wait_lowat(struct sock *k, size_t want, int flags, sigset_t *held, uint32_t *looks)
{
	int r = 0;

	while (r == 0 && !rx_ended(k) && data_unread(k) < least_of(k, want) && !urgent_within(k)) {
		data_lowat(k);
		r = rx_wait(k, flags, held, looks);
	}
	return r;
}

static int rx_ready(struct sock *k)
{
	uint32_t state = SLOT_INS(k, state);

	doorbell_reseed(k);
	return state == MW_ST_OPEN || state == MW_ST_LISTEN ? -ENOTCONN : 0;
}

/* Then a wait comes behind, which a signal that comes from now on must end: see hold.c. */
static bool moves_some(uint32_t n, size_t want)
{
	return n && n < want;
}

static bool takes_some(struct sock *k, size_t want)
{
	struct mw_ring r;
	uint32_t used;

	arena_rx(VIEW(k), k->slot, &r);
	return ring_used(&r, SLOT_APP(k, rx_cons), &used) == 0 && moves_some(used, want);
}

static ssize_t pull(struct sock *k, const struct iovec *iov, size_t want, int flags)
{
	bool all = flags & MSG_WAITALL && !(flags & MSG_PEEK);
	sigset_t theirs, *held = NULL;
	uint32_t looks = 0;
	size_t done = 0;
	ssize_t n;

	for (;;) {
		int waited = SLOT_INS(k, lowat) > 1 ? rx_wait_lowat(k, want - done, flags, held, &looks) : 0;
		bool ended = rx_ended(k);

		if (all && !held && !ended && (done || takes_some(k, want)))
			held = hold(k->fd, flags, &theirs);
		n = take_locked(k, iov, done, want - done, flags);
		if (n == -EPROTO)
			n = quarantine(k);
		if (n > 0) {
			done += (size_t)n;
			if (done == want || !all)
				break;
			continue;
		}
		if (n == 0 && done && urgent_stops(k))
			break;
		if (n == 0 && !want && urgent_there(k))
			break; /* nothing is asked for, and a byte is there: enough */
		if (n == 0)
			n = ended ? rx_end(k) : waited ? waited : rx_wait(k, flags, held = done ? held : hold_end(held), &looks);
		if (n == -EINTR && !want)
			return 0; /* Linux waits for a byte once, then has read all that was asked for */
		if (n < 0 || ended)
			break;
	}
	hold_end(held);
	return done ? (ssize_t)done : n;
}

ssize_t data_recv(struct sock *k, const struct iovec *iov, int count, int flags)
{
	size_t want = iov_bytes(iov, count);
	ssize_t n;

	if (IS_DGRAM(k))
		return dgram_recvfrom(k, iov, count, flags, NULL, NULL);
	pthread_testcancel();
	n = rx_ready(k);
	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	if (flags & MSG_OOB)
		return urgent_recv(k, iov, want, flags);
	if (n < 0)
		return n;
	if (SLOT_INS(k, lane) == MW_LANE_STREAM)
		return stream_recv(k, iov, count, option_timeo(k, flags));
	return pull(k, iov, want, flags);
}

void data_lowat(struct sock *k)
{
	uint32_t *lock = MW_WORD(&k->s->app.rx_lock), used = 0;
	int low = (int)SLOT_INS(k, lowat);
	uint64_t cons;
	struct mw_ring r;
	bool taken;

	if (IS_DGRAM(k))
		return;
	if (SLOT_INS(k, lane) == MW_LANE_STREAM) {
		syscall(SYS_setsockopt, k->fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
		return;
	}
	taken = lock_take(lock);
	cons = SLOT_APP(k, rx_cons);
	arena_rx(VIEW(k), k->slot, &r);
	if (ring_used(&r, cons, &used) == 0 && used < token_least(k, cons)) {
		token_hide(k, &r, cons, cons + used);
	} else if (used && SLOT_INS(k, rx_rung) == SLOT_APP(k, rx_taken)) {
		ring_arm(&r, cons + used - 1); /* it is enough by now; and `cons` may be an event that was answered */
		token_service(k);
	}
	if (taken)
		lock_drop(lock);
}

int data_unread(struct sock *k)
{
	uint32_t *lock = MW_WORD(&k->s->app.rx_lock);
	uint64_t cons;
	struct mw_ring r;
	uint32_t used = 0, guests;
	bool taken;

	if (IS_DGRAM(k))
		return dgram_unread(k);
	if (SLOT_INS(k, lane) == MW_LANE_STREAM)
		return stream_unread(k);
	taken = lock_take(lock);
	guests = lock_guests();
	cons = SLOT_APP(k, rx_cons);
	arena_rx(VIEW(k), k->slot, &r);
	if (ring_used(&r, cons, &used) < 0)
		used = 0;
	if (used)
		token_behind(k, &r, cons + used);
	if (guests != lock_guests())
		token_after_guests(k, guests);
	if (taken)
		lock_drop(lock);
	return (int)urgent_unread(k, cons, used);
}

/* --- send --- */

/* What goes into the ring: an iovec, or a file. */
struct source {
	const struct iovec *iov;
	int file;
	off_t *offset;
	bool urgent; /* its last byte, that is */
};

/* Reads from the file straight into ring memory. Bytes, 0 at its end, or -errno. */
static ssize_t file_in(const struct mw_ring *r, uint64_t to, int file, off_t *offset, uint32_t n)
{
	struct mw_span span[2];
	struct iovec iov[2];
	int count = ring_spans(r, to, n, span);
	long got;

	for (int i = 0; i < count; i++) {
		iov[i].iov_base = MW_WORD(span[i].base);
		iov[i].iov_len = span[i].bytes;
	}
	if (offset)
		got = syscall(SYS_preadv, file, iov, count, *offset, 0);
	else
		got = syscall(SYS_readv, file, iov, count);
	if (got < 0)
		return -errno;
	if (offset)
		*offset += got;
	return got;
}

static int tx_room(struct sock *k, struct mw_ring *r, uint64_t prod, uint32_t *room)
{
	uint32_t limit = SLOT_NAMES(k, tx_limit);

	arena_tx(VIEW(k), k->slot, r);
	if (ring_free(r, prod, room) < 0)
		return -EPROTO;
	if (limit && limit < r->bytes) /* the operator has made it small */
		*room = r->bytes - *room < limit ? limit - (r->bytes - *room) : 0;
	return 0;
}

/* Puts what fits: > 0 bytes, -EAGAIN when the ring is full, 0 at the source's end, -errno. With the lock held. */
static ssize_t put(struct sock *k, struct source *src, size_t skip, size_t want, uint32_t *left)
{
	struct mw_ring r;
	uint64_t prod = SLOT_APP(k, tx_prod);
	uint32_t room;
	ssize_t n;

	if (tx_room(k, &r, prod, &room) < 0)
		return -EPROTO;
	if (!room)
		return -EAGAIN;
	n = want < room ? (ssize_t)want : (ssize_t)room;
	if (src->iov && copy(&r, prod, src->iov, skip, (uint32_t)n, true) < 0)
		n = -EFAULT;
	else if (!src->iov)
		n = file_in(&r, prod, src->file, src->offset, (uint32_t)n);
	if (src->urgent && (size_t)n == want)
		mw_store(MW_WORD(&k->s->app.tx_urgent), prod + (uint64_t)n);
	if (n > 0)
		ring_publish(&r, prod + (uint64_t)n);
	*left = room - (n > 0 ? (uint32_t)n : 0);
	return n;
}

/* Why nothing may be sent now: 0, or -errno as Linux orders them. */
static int tx_refused(struct sock *k)
{
	uint32_t state = SLOT_INS(k, state);
	int error = data_error(k);

	doorbell_reseed(k);
	if (error)
		return -error;
	if ((APP_FLAGS(k) & MW_APP_SHUT_WR) || (SLOT_INS(k, rx_state) & MW_RX_ERROR))
		return -EPIPE;
	return state == MW_ST_OPEN || state == MW_ST_LISTEN || state == MW_ST_FREE ? -EPIPE : 0;
}

static int broken_pipe(int flags)
{
	if (!(flags & MSG_NOSIGNAL) && !plain_on)
		syscall(SYS_tkill, own_tid(), SIGPIPE);
	return -EPIPE;
}

/* The ring is full: one filler, and with it the kernel's own blocking, time-out or EAGAIN. 0: look again. As rx_wait(). */
static int tx_wait(struct sock *k, int flags, sigset_t *held)
{
	int r;

	token_service(k);
	flags = option_timeo(k, flags) & MSG_DONTWAIT;
	r = doorbell_fill(k, held ? MSG_DONTWAIT : flags);
	if (r == -EAGAIN && held && !flags)
		return hold_wait(k->fd, POLLOUT, SO_SNDTIMEO, held);
	if (r != -EPIPE && r != -ECONNRESET)
		return r;
	if (!(APP_FLAGS(k) & MW_APP_SHUT_WR))
		mourn(k); /* if it has not said why */
	return 0;
}

/* The next bytes of the source, to memory. As put(), at most STRAY_BYTES. */
static ssize_t source_read(struct source *src, size_t skip, uint8_t *to, size_t want)
{
	struct mw_ring flat = { .data = (uint8_t __peer *)MW_PEER(to), .bytes = STRAY_BYTES };

	if (!src->iov)
		return file_in(&flat, 0, src->file, src->offset, (uint32_t)want);
	return copy(&flat, 0, src->iov, skip, (uint32_t)want, true) < 0 ? -EFAULT : (ssize_t)want;
}

/* What was read of a file, but could not be used, is to be read again. */
static void unread(const struct source *src, ssize_t n)
{
	if (src->offset)
		*src->offset -= n;
	else if (!src->iov)
		syscall(SYS_lseek, src->file, -n, SEEK_CUR);
}

/*
 * Bytes that were written past the shim wait in the doorbell: ours go behind them, the same way, so that the order
 * is kept. The INS sends the ring's bytes first, then these. Filler of a ring that was full may look the same; then
 * this is slower by some records, and as right.
 */
static ssize_t put_behind(struct sock *k, struct source *src, size_t skip, size_t want, int flags)
{
	uint8_t part[STRAY_BYTES];
	ssize_t n, sent;

	if (!src->iov && !doorbell_writable(k))
		return -EAGAIN; /* before we read: what came out of a pipe cannot be put back */
	n = source_read(src, skip, part, want < sizeof(part) ? want : sizeof(part));
	if (n <= 0)
		return n;
	sent = doorbell_send(k, part, (size_t)n, option_timeo(k, flags) & MSG_DONTWAIT);
	if (sent < n)
		unread(src, sent < 0 ? n : n - sent);
	return sent;
}

/*
 * A guest (lock.h) may not write where its host may still be copying to: its bytes go as those written past the shim,
 * without waiting.
 */
static ssize_t put_locked(struct sock *k, struct source *src, size_t skip, size_t want, uint32_t *left)
{
	uint32_t *lock = MW_WORD(&k->s->app.tx_lock);
	ssize_t n;

	if (SLOT_INS(k, state) == MW_ST_CONNECTING)
		return -EAGAIN;
	if (!lock_take(lock))
		return put_behind(k, src, skip, want, MSG_DONTWAIT);
	n = put(k, src, skip, want, left);
	lock_drop(lock);
	return n;
}

/* A pipe, whose bytes another may have read meanwhile. */
static bool source_sleeps(const struct source *src)
{
	return !src->iov && !src->offset && syscall(SYS_lseek, src->file, 0, SEEK_CUR) < 0;
}

static bool puts_some(struct sock *k, size_t want)
{
	struct mw_ring r;
	uint32_t room;

	return tx_room(k, &r, SLOT_APP(k, tx_prod), &room) == 0 && moves_some(room, want);
}

static ssize_t push(struct sock *k, struct source *src, size_t want, int flags)
{
	sigset_t theirs, *held = NULL;
	size_t done = 0;
	uint32_t left = 1;
	bool behind = true; /* this caller writes nothing past us before we return, so once is enough */
	ssize_t n = 0;

	while (done < want) {
		if (!held && (done || puts_some(k, want)) && !source_sleeps(src))
			held = hold(k->fd, flags, &theirs);
		n = tx_refused(k); /* with the seed in its place: doorbell_strays counts on that */
		behind = (behind || src->urgent) && n == 0 && doorbell_strays(k) && SLOT_INS(k, state) == MW_ST_ESTABLISHED;
		if (n == 0 && behind && src->urgent)
			n = -EAGAIN; /* it must be in the ring: when the doorbell is drained */
		else if (n == 0)
			n = behind ? put_behind(k, src, done, want - done, held ? MSG_DONTWAIT : flags)
				   : put_locked(k, src, done, want - done, &left);
		if (n == -EPROTO)
			n = quarantine(k);
		else if (n == -EAGAIN)
			n = tx_wait(k, flags, held = done ? held : hold_end(held));
		else if (n == 0)
			break; /* the file's end */
		if (n < 0)
			break;
		done += (size_t)n;
	}
	hold_end(held);
	if (done) {
		token_service(k);
		twin_settle(k);
	}
	if (done && !left)
		doorbell_fill_all(k); /* full: "not writable" at once, so that the next edge means space */
	if (!done && n == -EPIPE)
		return broken_pipe(flags);
	return done ? (ssize_t)done : n;
}

ssize_t data_send(struct sock *k, const struct iovec *iov, int count, int flags)
{
	struct source src = { .iov = iov, .file = -1, .urgent = flags & MSG_OOB };
	size_t want = iov_bytes(iov, count);
	int refused;

	if (IS_DGRAM(k))
		return dgram_sendto(k, iov, count, flags, NULL, 0);
	pthread_testcancel();
	if (!want || SLOT_INS(k, lane) == MW_LANE_STREAM) {
		refused = tx_refused(k);
		if (refused == 0 && SLOT_INS(k, state) == MW_ST_CONNECTING)
			refused = tx_wait(k, flags, NULL);
		if (refused == -EPIPE)
			return broken_pipe(flags);
		if (refused < 0 || !want)
			return refused;
		return flags & MSG_OOB ? urgent_send(k, iov, count, want, flags) : stream_send(k, iov, count, option_timeo(k, flags));
	}
	return push(k, &src, want, flags & ~MSG_OOB);
}

/* Linux reads the file before it looks at the connection: its end, or what is wrong with it, comes first. */
static ssize_t file_first(struct sock *k, int in, const off_t *offset)
{
	char c;
	off_t at = offset ? *offset : syscall(SYS_lseek, in, 0, SEEK_CUR);
	long n;

	if (at == -1 || (SLOT_INS(k, state) == MW_ST_ESTABLISHED && !(SLOT_INS(k, rx_state) & MW_RX_ERROR) &&
			 !(APP_FLAGS(k) & MW_APP_SHUT_WR)))
		return 1; /* -1: a pipe, by splice() */
	n = syscall(SYS_pread64, in, &c, 1, at);
	return n < 0 ? -errno : n;
}

ssize_t data_sendfile(struct sock *k, int in, off_t *offset, size_t count)
{
	struct source src = { .file = in, .offset = offset };
	ssize_t first = file_first(k, in, offset);

	if (first <= 0)
		return first;
	if (IS_DGRAM(k))
		return -EINVAL;
	if (SLOT_INS(k, lane) == MW_LANE_STREAM)
		return stream_sendfile(k, in, offset, count);
	return push(k, &src, count < 0x7ffff000 ? count : 0x7ffff000, 0);
}
