// SPDX-License-Identifier: Apache-2.0
/*
 * doorbell.c - tokens, filler and seed on the socket that the application holds.
 * Trust: tokens are counted, never interpreted.
 *
 * The kernel's poll state of this end is the TCP socket's state (doc/design.md, "Doorbell"). Towards us: one
 * record a token. From us: filler while the tx ring is full or the connection is not made, so that the kernel
 * says "not writable"; the INS drains it but for one record, the seed, whose being unread makes a reset visible.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/doorbell.h"
#include "shim/attach.h"
#include "shim/fdtab.h"
#include "shim/libc.h"
#include "shim/plain.h"
#include "shim/sock.h"
#include "shim/stream.h"

#define TYPE_BITS 0xf

int doorbell_cookie(int fd, uint64_t *cookie)
{
	int domain = 0, type = 0, saved = errno;
	socklen_t n = sizeof(domain);
	long r = syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &n);

	if (r == 0) {
		n = sizeof(type);
		r = syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &n);
	}
	n = sizeof(*cookie);
	if (r == 0 && domain == AF_UNIX && (type == SOCK_SEQPACKET || type == SOCK_STREAM))
		r = syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, cookie, &n);
	else
		r = -1;
	errno = saved;
	return r == 0 ? 0 : -ENOTSOCK;
}

int doorbell_pair(int type_flags, int pair[2], uint64_t *cookie)
{
	int budget = MW_STREAM_SNDBUF, r = attach_pair(type_flags, pair);

	if (r < 0)
		return r;
	r = attach_elsewhere(pair[0]) ? -ENONET : doorbell_cookie(pair[0], cookie);
	if (r == 0 && (type_flags & TYPE_BITS) == SOCK_STREAM) { /* the ghost: see ins/stream.c */
		syscall(SYS_setsockopt, pair[0], SOL_SOCKET, SO_SNDBUF, &budget, sizeof(budget));
		r = syscall(SYS_sendto, pair[0], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0) < 0 ? -errno : 0;
	}
	if (r < 0) {
		syscall(SYS_close, pair[0]);
		syscall(SYS_close, pair[1]);
	}
	return r;
}

/*
 * The smallest budget that Linux gives: 4608 bytes of kernel memory on 6.18, where a filler takes 768. One unread
 * record (the seed) must leave the socket writable, which takes a quarter of the budget at most; two must not; and
 * six spend it, so that the next send sleeps or says EAGAIN. Nothing here counts them: the kernel does.
 */
void doorbell_shrink(struct sock *k)
{
	int least = 1;

	syscall(SYS_setsockopt, k->fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
	APP_SET(k, MW_APP_SNDBUF_SET);
}

/* What blocks goes through libc, whose calls are cancellation points; no lock is held then. */
static ssize_t send_bytes(int fd, const void *from, size_t n, int flags)
{
	ssize_t r;

	if (plain_on)
		return plain_send(fd, from, n, flags);
	flags |= MSG_NOSIGNAL;
	if (flags & MSG_DONTWAIT)
		r = syscall(SYS_sendto, fd, from, n, flags, NULL, 0);
	else
		r = libc()->send(fd, from, n, flags);
	return r < 0 ? -errno : r;
}

static int send_nonce(struct sock *k, int flags)
{
	uint8_t filler[MW_NONCE_BYTES];
	ssize_t r;

	for (unsigned int i = 0; i < MW_NONCE_BYTES; i++)
		filler[i] = mw_load(MW_WORD(&k->s->ins.nonce[i]));
	r = send_bytes(k->fd, filler, sizeof(filler), flags);
	return r < 0 ? (int)r : 0;
}

int doorbell_fill(struct sock *k, int flags)
{
	if (!(APP_FLAGS(k) & MW_APP_SNDBUF_SET))
		doorbell_shrink(k);
	return send_nonce(k, flags);
}

void doorbell_reseed(struct sock *k)
{
	uint32_t want = SLOT_INS(k, want_seed);

	if (__builtin_expect(want == SLOT_APP(k, seeded), 1))
		return;
	mw_store(MW_WORD(&k->s->app.seeded), want);
	send_nonce(k, MSG_DONTWAIT); /* if there is no room, what fills it is unread and does as well */
}

/* Without this a send right after connect() would find filler that looks like stray data, and no room behind it. */
void doorbell_fill_all(struct sock *k)
{
	if (SLOT_INS(k, lane) == MW_LANE_STREAM) {
		stream_fill(k->fd);
		return;
	}
	while (doorbell_fill(k, MSG_DONTWAIT) == 0)
		;
}

/* Kernel memory that one nonce takes while it is unread: what a doorbell holds when only the seed is in it. */
static int seed_memory(void)
{
	static int known;
	uint8_t nonce[MW_NONCE_BYTES] = { 0 };
	int pair[2], n = 0;

	if (known)
		return known;
	if (syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		return 0;
	if (syscall(SYS_sendto, pair[0], nonce, sizeof(nonce), MSG_DONTWAIT, NULL, 0) == sizeof(nonce) &&
	    syscall(SYS_ioctl, pair[0], SIOCOUTQ, &n) == 0)
		known = n;
	syscall(SYS_close, pair[0]);
	syscall(SYS_close, pair[1]);
	return known;
}

bool doorbell_strays(struct sock *k)
{
	int unread = 0;

	if (plain_on || syscall(SYS_ioctl, k->fd, SIOCOUTQ, &unread) < 0)
		return false;
	return unread > seed_memory() || SLOT_INS(k, bell_busy); /* in this order: busy is set before a record goes */
}

bool doorbell_writable(struct sock *k)
{
	struct pollfd p = { .fd = k->fd, .events = POLLOUT };

	return syscall(SYS_poll, &p, 1, 0) > 0;
}

ssize_t doorbell_send(struct sock *k, const void *from, size_t n, int flags)
{
	return send_bytes(k->fd, from, n < STRAY_BYTES ? n : STRAY_BYTES, flags);
}

struct sleeper {
	struct sock *k;
	uint32_t gen;
};

/* It woke, or was cancelled. If it was the last to use the socket, the slot may be another's by now. */
static void ceases(void *of)
{
	struct sleeper *me = of;

	if (SLOT_INS(me->k, gen) == me->gen)
		__atomic_fetch_add(MW_WORD(&me->k->s->app.rx_woken), 1, __ATOMIC_RELEASE);
}

/* Counted, for one record wakes one that sleeps so: the INS sends enough for all (PROTOCOL.md 4). */
static ssize_t sleep_there(struct sock *k)
{
	struct sleeper me = { k, SLOT_INS(k, gen) };
	char c;
	ssize_t r;

	pthread_cleanup_push(ceases, &me);
	__atomic_fetch_add(MW_WORD(&k->s->app.rx_waits), 1, __ATOMIC_SEQ_CST);
	r = libc()->recv(k->fd, &c, 1, MSG_PEEK);
	pthread_cleanup_pop(1);
	return r;
}

int doorbell_wait(struct sock *k, int flags)
{
	char c;
	ssize_t r;

	if (plain_on)
		return plain_wait(k->fd, flags);
	if (flags & MSG_DONTWAIT)
		r = syscall(SYS_recvfrom, k->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);
	else
		r = sleep_there(k);
	return r < 0 ? -errno : r > 0;
}

void doorbell_drained(struct sock *k)
{
	struct pollfd p = { .fd = k->fd, .events = POLLOUT };
	struct timespec limit = { .tv_sec = 1 };

	syscall(SYS_ppoll, &p, 1, &limit, NULL, 0);
}

bool doorbell_take(int fd)
{
	char c;

	if (plain_on)
		return plain_take(fd);
	return syscall(SYS_recvfrom, fd, &c, 1, MSG_DONTWAIT, NULL, NULL) > 0;
}

/* --- another in its place --- */

void doorbell_copy_file(int from, int to)
{
	static const int options[] = { SO_RCVTIMEO, SO_SNDTIMEO };
	long flags = syscall(SYS_fcntl, from, F_GETFL);
	struct f_owner_ex owner;

	if (flags >= 0)
		syscall(SYS_fcntl, to, F_SETFL, flags);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		uint8_t value[32];
		socklen_t n = sizeof(value);

		if (syscall(SYS_getsockopt, from, SOL_SOCKET, options[i], value, &n) == 0)
			syscall(SYS_setsockopt, to, SOL_SOCKET, options[i], value, n);
	}
	if (syscall(SYS_fcntl, from, F_GETOWN_EX, &owner) == 0 && owner.pid)
		syscall(SYS_fcntl, to, F_SETOWN_EX, &owner);
}

void doorbell_replace(const struct sock *from, int fd, uint32_t to)
{
	struct sock k;

	for (int i = 0; i < (int)FDTAB_MAX; i++) {
		if (!sock_get(i, &k) || k.s != from->s)
			continue;
		long cloexec = syscall(SYS_fcntl, i, F_GETFD);

		if (syscall(SYS_dup3, fd, i, cloexec & FD_CLOEXEC ? O_CLOEXEC : 0) == i)
			fdtab_set(i, to);
	}
}
