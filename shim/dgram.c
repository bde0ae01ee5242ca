// SPDX-License-Identifier: Apache-2.0
/*
 * dgram.c - UDP: one record on the doorbell is one datagram, header first.
 * Trust: a record that msg_dgram_check refuses is dropped and counted; control data is walked within its bounds.
 *
 * Boundaries, blocking, time-outs, MSG_PEEK and truncation are the kernel's own, the header apart. Linux's sendto() says
 * at once what is wrong with a destination; so the first datagram to one is followed by a request that makes the INS send
 * it and tell. Later ones, and answers to whoever sent us something, go without waiting. `good` remembers: a table of
 * hashes, each with the largest payload that went well. Any change to the socket changes what is hashed with it.
 *
 * Errors that the network reports (ICMP) come as a count and a value in the slot, and as a record that makes the doorbell
 * readable. Each is reported once, before any datagram, by whichever call comes next; then its record is taken back.
 */
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/dgram.h"
#include "chan/msg.h"
#include "lib/addr.h"
#include "shim/attach.h"
#include "shim/doorbell.h"
#include "shim/fork.h"
#include "shim/libc.h"
#include "shim/option.h"
#include "shim/sock.h"
#include "shim/user.h"

#define GOOD_MAX     1024
#define ANSWER_BYTES 1232u /* fits every path that IPv6 allows: 1280 less the headers */
#define HEAD         sizeof(struct mw_dgram)

static uint64_t good[GOOD_MAX]; /* hash, and in the low 16 bits the payload */

/* --- errors --- */

/* On the stream lane: records are payloads, and only what is sent with a header has one, behind the nonce. */
static bool is_plain(struct sock *k)
{
	return SLOT_INS(k, lane) == MW_LANE_STREAM;
}

/* Which place the two digits name, which are closed; MW_DG_PLACES when they name none. */
static uint32_t place_of(struct msghdr *m)
{
	uint32_t place = 0, count = 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= h->cmsg_len; at += sizeof(int), count++) {
			int fd;

			memcpy(&fd, (uint8_t *)h + at, sizeof(fd));
			place = place * MW_DG_DIGITS + ((uint32_t)syscall(SYS_fcntl, fd, F_GETSIG) - 1) % MW_DG_DIGITS;
			syscall(SYS_close, fd);
		}
	}
	return count == 2 && place < MW_DG_PLACES ? place : MW_DG_PLACES;
}

/* A record and its header, as if that had been in front: the length of both, 0 at the end, or -errno. */
static long receive_plain(struct sock *k, struct mw_dgram *d, const struct iovec *iov, int count, int flags)
{
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(2 * sizeof(int))];
	struct msghdr m = { .msg_iov = (struct iovec *)(unsigned long)iov, .msg_iovlen = (size_t)count,
			    .msg_control = control, .msg_controllen = sizeof(control) };
	long n = syscall(SYS_recvmsg, k->fd, &m, flags | MSG_TRUNC | MSG_CMSG_CLOEXEC);
	const uint8_t __peer *from;
	struct mw_ring r;
	uint32_t place;

	if (n < 0)
		return -errno;
	place = place_of(&m);
	if (place == MW_DG_PLACES)
		return n ? 1 : 0; /* too short for any */
	arena_rx(VIEW(k), k->slot, &r);
	from = (const uint8_t __peer *)r.data + place * HEAD;
	for (size_t i = 0; i < HEAD; i++)
		((uint8_t *)d)[i] = mw_load((const uint8_t *)(mw_uintptr)(from + i));
	return n + (long)HEAD;
}

/* Takes the first record. */
static bool drop_first(struct sock *k)
{
	char c;

	return is_plain(k) ? syscall(SYS_recvfrom, k->fd, &c, 1, MSG_DONTWAIT, NULL, NULL) >= 0 : doorbell_take(k->fd);
}

/* What waits first: its kind, or 0. With *bytes, its payload. */
static uint32_t look(struct sock *k, uint32_t *bytes)
{
	const int flags = MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC;
	struct mw_dgram d;
	long n = is_plain(k) ? receive_plain(k, &d, NULL, 0, flags)
			     : syscall(SYS_recvfrom, k->fd, &d, HEAD, flags, NULL, NULL);

	if (n < (long)HEAD || (d.kind != MW_DG_DATA && d.kind != MW_DG_ERROR))
		return 0;
	*bytes = (uint32_t)(n - (long)HEAD);
	return d.kind;
}

static void count_taken(struct sock *k)
{
	__atomic_fetch_add(MW_WORD(&k->s->app.rx_taken), 1, __ATOMIC_RELAXED);
}

/* Takes back records of errors that have been reported, as far as they wait first. */
static void purge(struct sock *k)
{
	uint32_t bytes;
	int saved = errno;

	while (SLOT_APP(k, rx_taken) != SLOT_INS(k, rx_rung) && SLOT_INS(k, rx_state) == SLOT_APP(k, seeded) &&
	       look(k, &bytes) == MW_DG_ERROR && drop_first(k))
		count_taken(k);
	errno = saved;
}

int dgram_error(struct sock *k)
{
	uint32_t told = SLOT_APP(k, seeded), stored;
	int error;

	do {
		stored = SLOT_INS(k, rx_state);
		if (__builtin_expect(told == stored, 1))
			return 0;
	} while (!__atomic_compare_exchange_n(MW_WORD(&k->s->app.seeded), &told, stored, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	error = SLOT_INS(k, error);
	purge(k);
	return error > 0 && error < 4096 ? error : ECONNREFUSED;
}

/* --- destinations that were good --- */

static uint64_t mix(uint64_t h, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (; n >= 8; n -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, sizeof(w));
		h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 29;
	}
	return h;
}

static uint64_t hash_of(struct sock *k, const void *bytes, size_t n)
{
	uint64_t who[2] = { (uint64_t)SLOT_INS(k, gen) << 32 | k->slot, (uint64_t)SLOT_INS(k, want_seed) << 32 | n };

	return mix(mix(1, who, sizeof(who)), bytes, n);
}

static bool is_good(uint64_t h, size_t payload)
{
	uint64_t e = __atomic_load_n(&good[h >> 16 & (GOOD_MAX - 1)], __ATOMIC_RELAXED);

	return (e ^ h) >> 16 == 0 && payload <= (e & 0xffff);
}

static void remember(uint64_t h, size_t payload)
{
	if (!is_good(h, payload))
		__atomic_store_n(&good[h >> 16 & (GOOD_MAX - 1)], (h & ~0xffffULL) | payload, __ATOMIC_RELAXED);
}

static bool destination_good(struct sock *k, const struct mw_dgram *d, size_t payload)
{
	return !d->flags && is_good(hash_of(k, &d->peer, sizeof(d->peer)), payload) &&
	       (!d->control_bytes || is_good(hash_of(k, d->control, d->control_bytes), 0));
}

static void remember_destination(struct sock *k, const struct mw_dgram *d, size_t payload)
{
	remember(hash_of(k, &d->peer, sizeof(d->peer)), payload);
	if (d->control_bytes)
		remember(hash_of(k, d->control, d->control_bytes), 0);
}

/* --- send --- */

/* As Linux reads msg_name; what only the stack can know (port 0, no route) is left to it. */
static int read_destination(struct sock *k, struct mw_addr *a, const struct sockaddr *sa, socklen_t len)
{
	bool six = SLOT_INS(k, family) == MW_FAMILY_IP6;
	struct sockaddr_in in;

	if (!sa)
		return 0;
	if (len > sizeof(struct sockaddr_storage) || len < (six ? sizeof(sa_family_t) : sizeof(in)))
		return -EINVAL;
	if (six && sa->sa_family == AF_UNSPEC)
		return 0; /* as if there were none */
	if (six && sa->sa_family != AF_INET && sa->sa_family != AF_INET6)
		return -EINVAL;
	if (six || sa->sa_family != AF_UNSPEC)
		return sa->sa_family == AF_INET6 && !six ? -EAFNOSUPPORT : addr_from_sockaddr(a, sa, len);
	memcpy(&in, sa, sizeof(in));
	in.sin_family = AF_INET;
	return addr_from_sockaddr(a, (struct sockaddr *)&in, sizeof(in));
}

/* Linux lets descriptors and credentials pass on an IP socket, and does nothing with them. */
static bool is_ignored(const struct cmsghdr *h)
{
	return h->cmsg_level == SOL_SOCKET && (h->cmsg_type == SCM_RIGHTS || h->cmsg_type == SCM_CREDENTIALS);
}

static int read_control(struct mw_dgram *d, const void *control, size_t bytes)
{
	size_t at = 0;

	while (bytes - at >= sizeof(struct cmsghdr)) {
		struct cmsghdr h;

		memcpy(&h, (const uint8_t *)control + at, sizeof(h));
		if (h.cmsg_len < sizeof(h) || h.cmsg_len > bytes - at)
			return -EINVAL;
		if (!is_ignored(&h)) {
			if (h.cmsg_len > MW_DGRAM_CONTROL - d->control_bytes)
				return -EINVAL;
			memcpy(d->control + d->control_bytes, (const uint8_t *)control + at, h.cmsg_len);
			d->control_bytes += (uint32_t)CMSG_ALIGN(h.cmsg_len);
		}
		if (CMSG_ALIGN(h.cmsg_len) > bytes - at)
			break;
		at += CMSG_ALIGN(h.cmsg_len);
	}
	return 0;
}

static size_t total(const struct iovec *iov, int count)
{
	size_t n = 0;

	for (int i = 0; i < count && n <= MW_DGRAM_PAYLOAD; i++)
		n = iov[i].iov_len > MW_DGRAM_PAYLOAD ? iov[i].iov_len : n + iov[i].iov_len;
	return n;
}

static void flatten(uint8_t *flat, const struct iovec *iov, int count, size_t n, bool scatter)
{
	for (size_t at = 0; count > 0 && at < n; iov++, count--) {
		size_t part = iov->iov_len < n - at ? iov->iov_len : n - at;

		if (scatter)
			memcpy(iov->iov_base, flat + at, part);
		else
			memcpy(flat + at, iov->iov_base, part);
		at += part;
	}
}

/* By libc, whose calls are cancellation points. */
static long message(int fd, struct msghdr *m, int flags, bool out)
{
	return out ? libc()->sendmsg(fd, m, flags) : libc()->recvmsg(fd, m, flags);
}

/* The kernel's own limit leaves no place for the header. Payload or -errno, as sendmsg and recvmsg of *d and iov. */
static __attribute__((noinline)) long move_long(struct sock *k, struct mw_dgram *d, const struct iovec *iov, int count,
						int flags, bool out)
{
	uint8_t flat[MW_DGRAM_PAYLOAD];
	size_t room = total(iov, count);
	struct iovec v[2] = { { d, HEAD }, { flat, room < sizeof(flat) ? room : sizeof(flat) } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	long n;

	if (out)
		flatten(flat, iov, count, v[1].iov_len, false);
	n = message(k->fd, &m, flags, out);
	if (!out && n > (long)HEAD)
		flatten(flat, iov, count, (size_t)n - HEAD < v[1].iov_len ? (size_t)n - HEAD : v[1].iov_len, true);
	return n < 0 ? -errno : n;
}

/* The record's length, or -errno. */
static long move(struct sock *k, struct mw_dgram *d, const struct iovec *iov, int count, int flags, bool out)
{
	struct iovec *v;
	struct msghdr m = { 0 };
	uint8_t nonce[MW_NONCE_BYTES];
	long n;

	if (is_plain(k) && !out)
		return receive_plain(k, d, iov, count, flags);
	if (count >= IOV_MAX - 1)
		return move_long(k, d, iov, count, flags, out);
	m.msg_iov = v = alloca(((size_t)count + 2) * sizeof(*v));
	if (is_plain(k)) {
		for (unsigned int i = 0; i < sizeof(nonce); i++)
			nonce[i] = mw_load(MW_WORD(&k->s->ins.nonce[i]));
		*v++ = (struct iovec){ nonce, sizeof(nonce) };
	}
	*v++ = (struct iovec){ d, HEAD };
	if (count)
		memcpy(v, iov, (size_t)count * sizeof(*v));
	m.msg_iovlen = (size_t)(v + count - m.msg_iov);
	n = message(k->fd, &m, flags, out);
	return n < 0 ? -errno : n;
}

/* Unlike any other that is asked for now: one of a thread at a time, the thread's number above bit 10. */
static uint32_t next_tag(void)
{
	static __thread uint32_t asked __attribute__((tls_model("initial-exec")));
	uint32_t tag = (uint32_t)own_tid() << 10 | (++asked & 0x3ff);

	return tag ? tag : 1;
}

static int ask(struct sock *k, uint32_t op, uint32_t value)
{
	struct mw_req q = { .slot = k->slot, .gen = SLOT_INS(k, gen) };
	struct mw_reply r;

	q.u.flush.tag = value;
	return ctl_call(k, &q, op, -1, &r);
}

static uint16_t header_flags(int flags)
{
	return (uint16_t)((flags & MSG_MORE ? MW_DGF_MORE : 0) | (flags & MSG_DONTROUTE ? MW_DGF_DONTROUTE : 0) |
			  (flags & MSG_CONFIRM ? MW_DGF_CONFIRM : 0));
}

static ssize_t send_one(struct sock *k, const struct msghdr *m, const struct sockaddr *sa, int flags)
{
	size_t n = total(m->msg_iov, (int)m->msg_iovlen);
	struct mw_dgram d = { .kind = MW_DG_DATA, .flags = header_flags(flags) };
	int error, r;
	long sent;

	if (n > MW_DGRAM_PAYLOAD)
		return -EMSGSIZE;
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	r = read_destination(k, &d.peer, sa, m->msg_namelen);
	if (r == 0 && m->msg_control)
		r = read_control(&d, m->msg_control, m->msg_controllen);
	if (r < 0)
		return r;
	error = dgram_error(k);
	if (error)
		return -error;
	d.tag = destination_good(k, &d, n) ? 0 : next_tag();
	sent = move(k, &d, m->msg_iov, (int)m->msg_iovlen, (option_timeo(k, flags) & MSG_DONTWAIT) | MSG_NOSIGNAL, true);
	if (sent < 0)
		return sent == -EPIPE || sent == -ECONNRESET ? -ENETDOWN : sent;
	if (d.tag) {
		r = ask(k, MW_OP_FLUSH, d.tag);
		if (r < 0) /* closed meanwhile, perhaps by who received it: what is queued goes out all the same */
			return r == -EBADF ? (ssize_t)n : r;
		remember_destination(k, &d, n);
	}
	return (ssize_t)n;
}

ssize_t dgram_sendmsg(struct sock *k, const struct msghdr *m, int flags)
{
	struct msghdr h = *m;

	if ((int)m->msg_namelen < 0)
		return -EINVAL;
	if (h.msg_namelen > sizeof(struct sockaddr_storage))
		h.msg_namelen = sizeof(struct sockaddr_storage);
	return send_one(k, &h, h.msg_namelen ? m->msg_name : NULL, flags);
}

ssize_t dgram_sendto(struct sock *k, const struct iovec *iov, int count, int flags, const struct sockaddr *sa, socklen_t len)
{
	struct msghdr m = { .msg_namelen = len, .msg_iov = (struct iovec *)(unsigned long)iov, .msg_iovlen = (size_t)count };

	return send_one(k, &m, sa, flags);
}

/* --- receive --- */

/* A record that no honest INS sends. */
static void drop_bad(struct sock *k, int flags)
{
	__atomic_fetch_add(MW_WORD(&arena_header(VIEW(k))->app_violations), 1, __ATOMIC_RELAXED);
	if (flags & MSG_PEEK)
		drop_first(k);
}

/* Shut down for receiving: the end is only for who waits. */
static bool deaf(struct sock *k, int flags)
{
	return APP_FLAGS(k) & MW_APP_SHUT_RD && (flags & MSG_DONTWAIT || syscall(SYS_fcntl, k->fd, F_GETFL) & O_NONBLOCK);
}

/* The next datagram: its payload's length with 1, or 0 at the end (shut down), or -errno. */
static int take(struct sock *k, struct mw_dgram *d, const struct iovec *iov, int count, int flags, size_t *payload)
{
	for (;;) {
		int error = dgram_error(k);
		long n;

		if (error)
			return -error;
		n = move(k, d, iov, count, (option_timeo(k, flags) & (MSG_PEEK | MSG_DONTWAIT)) | MSG_TRUNC, false);
		if (n == 0 && deaf(k, flags))
			return -EAGAIN;
		if (n == 0 && !(APP_FLAGS(k) & MW_APP_SHUT_RD)) /* its INS has ended */
			return -ENETDOWN;
		if (n <= 0)
			return n == -ECONNRESET ? -ENETDOWN : (int)n;
		if (n < (long)HEAD || msg_dgram_check(d, d, (size_t)n) < 0) {
			drop_bad(k, flags);
		} else if (d->kind == MW_DG_DATA) {
			*payload = (size_t)n - HEAD;
			break;
		} else if (!(flags & MSG_PEEK) || drop_first(k)) {
			count_taken(k);
		}
	}
	remember(hash_of(k, &d->peer, sizeof(d->peer)), ANSWER_BYTES);
	if (SLOT_APP(k, rx_taken) != SLOT_INS(k, rx_rung))
		purge(k);
	return 1;
}

/* As Linux's put_cmsg: a piece that does not fit is cut, and said to be. */
static void give_control(const struct mw_dgram *d, struct msghdr *m)
{
	uint8_t *to = m->msg_control;
	size_t room = to ? m->msg_controllen : 0;
	struct mw_control c;
	uint32_t at = 0, from = 0;

	m->msg_controllen = 0;
	for (; msg_control_next(&c, d->control, d->control_bytes, &at) > 0; from = at) {
		size_t n = c.bytes, step;

		if (room < sizeof(c)) {
			m->msg_flags |= MSG_CTRUNC;
			return;
		}
		if (n > room) {
			m->msg_flags |= MSG_CTRUNC;
			n = room;
		}
		memcpy(to, d->control + from, n);
		((struct cmsghdr *)(void *)to)->cmsg_len = n;
		step = CMSG_ALIGN(c.bytes) < room ? CMSG_ALIGN(c.bytes) : room;
		to += step;
		room -= step;
		m->msg_controllen += step;
	}
}

ssize_t dgram_recvmsg(struct sock *k, struct msghdr *m, int flags)
{
	size_t room = total(m->msg_iov, (int)m->msg_iovlen), payload = 0;
	struct mw_dgram d = { 0 };
	int r;

	if (flags & MSG_ERRQUEUE)
		return -EAGAIN; /* always empty: IP_RECVERR is refused */
	if ((int)m->msg_namelen < 0)
		return -EINVAL;
	r = take(k, &d, m->msg_iov, (int)m->msg_iovlen, flags, &payload);
	if (r < 0)
		return r;
	m->msg_flags = (payload > room ? MSG_TRUNC : 0) | (d.flags & MW_DGF_CTRUNC ? MSG_CTRUNC : 0) |
		       (flags & MSG_CMSG_CLOEXEC);
	give_control(&d, m);
	if (m->msg_name)
		sock_give_name(&d.peer, m->msg_name, &m->msg_namelen);
	return (ssize_t)(payload > room && !(flags & MSG_TRUNC) ? room : payload);
}

ssize_t dgram_recvfrom(struct sock *k, const struct iovec *iov, int count, int flags, struct sockaddr *sa, socklen_t *len)
{
	size_t room = total(iov, count), payload = 0;
	struct mw_dgram d = { 0 };
	int r;

	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	r = take(k, &d, iov, count, flags, &payload);
	if (r >= 0 && sa)
		r = sock_give_name(&d.peer, sa, len);
	if (r < 0)
		return r;
	return (ssize_t)(payload > room && !(flags & MSG_TRUNC) ? room : payload);
}

int dgram_unread(struct sock *k)
{
	uint32_t bytes = 0;

	purge(k);
	return look(k, &bytes) == MW_DG_DATA ? (int)bytes : 0;
}

int dgram_shutdown(struct sock *k, int how)
{
	if (how != SHUT_WR)
		APP_SET(k, MW_APP_SHUT_RD); /* before whoever waits there is woken by it; refused, there is no INS any more */
	return ask(k, MW_OP_SHUTDOWN, (uint32_t)how);
}
