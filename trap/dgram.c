// SPDX-License-Identifier: Apache-2.0
/*
 * dgram.c - the data calls on UDP sockets, and what is sent on netlink sockets: a target's message is copied here, then the shim's
 * own functions have it.
 * Trust: see trap.h. Pieces, names and control data are bounded; one message at a time.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "shim/dgram.h"
#include "shim/route.h"
#include "trap/trap.h"

#define PIECES_MAX  1024 /* UIO_MAXIOV */
#define CONTROL_MAX 4096
#define SECOND_NS   1000000000LL

static struct message {
	struct msghdr m;                /* ours: name, control and data are below */
	struct iovec theirs[PIECES_MAX], data;
	struct sockaddr_storage name;
	_Alignas(8) uint8_t control[CONTROL_MAX];
	uint8_t bytes[SEND_MAX];
} msg;

/* The bytes that the target's pieces have room for, at most SEND_MAX; -errno. */
static ssize_t pieces_bytes(size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if ((ssize_t)msg.theirs[i].iov_len < 0)
			return -EINVAL;
		n += msg.theirs[i].iov_len < SEND_MAX - n ? msg.theirs[i].iov_len : SEND_MAX - n;
	}
	return (ssize_t)n;
}

static int move_pieces(const struct call *c, size_t count, size_t n, bool in)
{
	size_t at = 0;

	for (size_t i = 0; i < count && at < n; i++) {
		size_t part = msg.theirs[i].iov_len < n - at ? msg.theirs[i].iov_len : n - at;
		uint64_t there = (uint64_t)(uintptr_t)msg.theirs[i].iov_base;
		int r = in ? target_read(c->pid, msg.bytes + at, there, part)
			   : target_write(c->pid, there, msg.bytes + at, part);

		if (r < 0)
			return r;
		at += part;
	}
	return 0;
}

/* The target's header at `from`, with its pieces; msg.m is ours with what is to be sent or room for what comes. */
static int get_message(const struct call *c, uint64_t from, struct msghdr *theirs)
{
	size_t control;
	ssize_t n;
	int r = target_read(c->pid, theirs, from, sizeof(*theirs));

	if (r == 0 && theirs->msg_iovlen > PIECES_MAX)
		return -EMSGSIZE;
	if (r == 0)
		r = target_read(c->pid, msg.theirs, (uint64_t)(uintptr_t)theirs->msg_iov, theirs->msg_iovlen * sizeof(msg.theirs[0]));
	if (r < 0)
		return r;
	if (theirs->msg_name && (int)theirs->msg_namelen < 0)
		return -EINVAL;
	n = pieces_bytes(theirs->msg_iovlen);
	if (n < 0)
		return (int)n;
	control = theirs->msg_control ? theirs->msg_controllen : 0;
	msg.data = (struct iovec){ msg.bytes, (size_t)n };
	msg.m = (struct msghdr){ .msg_iov = &msg.data, .msg_iovlen = 1, .msg_control = control ? msg.control : NULL,
				 .msg_controllen = control < CONTROL_MAX ? control : CONTROL_MAX };
	return 0;
}

/* msg.m, whole. */
static ssize_t send_copy(struct call *c, int flags)
{
	ssize_t r;

	if (c->ours)
		return dgram_sendmsg(&c->k, &msg.m, flags);
	r = route_send(c->fd, &msg.m, flags);
	if (r == -ENOSYS)
		r = sendmsg(c->fd, &msg.m, flags) < 0 ? -errno : (ssize_t)msg.data.iov_len;
	return r;
}

static ssize_t send_message(struct call *c, uint64_t from, int flags)
{
	struct msghdr theirs;
	int r = get_message(c, from, &theirs);

	if (r == 0)
		r = move_pieces(c, theirs.msg_iovlen, msg.data.iov_len, true);
	if (r == 0 && theirs.msg_controllen > CONTROL_MAX && theirs.msg_control)
		r = -ENOBUFS;
	if (r == 0)
		r = target_read(c->pid, msg.control, (uint64_t)(uintptr_t)theirs.msg_control, msg.m.msg_controllen);
	if (r == 0 && theirs.msg_name && theirs.msg_namelen) {
		msg.m.msg_name = &msg.name;
		msg.m.msg_namelen = theirs.msg_namelen < sizeof(msg.name) ? theirs.msg_namelen : sizeof(msg.name);
		r = target_read(c->pid, &msg.name, (uint64_t)(uintptr_t)theirs.msg_name, msg.m.msg_namelen);
	}
	return r < 0 ? r : send_copy(c, flags | MSG_DONTWAIT);
}

ssize_t call_message_bytes(struct call *c, const uint8_t **bytes)
{
	struct msghdr theirs;
	int r = get_message(c, c->args[1], &theirs);

	*bytes = msg.bytes;
	if (r == 0)
		r = move_pieces(c, theirs.msg_iovlen, msg.data.iov_len, true);
	return r < 0 ? r : (ssize_t)msg.data.iov_len;
}

static ssize_t recv_message(struct call *c, uint64_t to, int flags)
{
	struct msghdr theirs;
	size_t got;
	ssize_t n;
	int r = get_message(c, to, &theirs);

	if (r < 0)
		return r;
	if (theirs.msg_name) {
		msg.m.msg_name = &msg.name;
		msg.m.msg_namelen = sizeof(msg.name);
	}
	n = dgram_recvmsg(&c->k, &msg.m, flags | MSG_DONTWAIT);
	if (n < 0)
		return n;
	got = (size_t)n < msg.data.iov_len ? (size_t)n : msg.data.iov_len;
	r = move_pieces(c, theirs.msg_iovlen, got, false);
	if (r == 0 && theirs.msg_name)
		r = target_write(c->pid, (uint64_t)(uintptr_t)theirs.msg_name, &msg.name,
				 theirs.msg_namelen < msg.m.msg_namelen ? theirs.msg_namelen : msg.m.msg_namelen);
	if (r == 0)
		r = target_write(c->pid, (uint64_t)(uintptr_t)theirs.msg_control, msg.control, msg.m.msg_controllen);
	theirs.msg_namelen = theirs.msg_name ? msg.m.msg_namelen : theirs.msg_namelen;
	theirs.msg_controllen = msg.m.msg_controllen;
	theirs.msg_flags = msg.m.msg_flags;
	if (r == 0)
		r = target_write(c->pid, to, &theirs, sizeof(theirs));
	return r < 0 ? r : n;
}

enum outcome call_dgram_sendmsg(struct call *c)
{
	return call_or_wait(c, send_message(c, c->args[1], (int)c->args[2]), (int)c->args[2], true);
}

enum outcome call_dgram_recvmsg(struct call *c)
{
	return call_or_wait(c, recv_message(c, c->args[1], (int)c->args[2]), (int)c->args[2], false);
}

/* --- many --- */

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND_NS + t.tv_nsec;
}

/* When recvmmsg()'s time is over, counted from when the call began: INT64_MAX where there is none. */
static int get_limit(struct call *c, int64_t *end_ns)
{
	struct timespec t;
	int r;

	*end_ns = INT64_MAX;
	if (!c->args[4])
		return 0;
	r = target_read(c->pid, &t, c->args[4], sizeof(t));
	if (r < 0)
		return r;
	if (t.tv_sec < 0 || t.tv_nsec < 0 || t.tv_nsec >= SECOND_NS)
		return -EINVAL;
	if (!c->began_ns)
		c->began_ns = now_ns();
	if (t.tv_sec < INT32_MAX)
		*end_ns = c->began_ns + t.tv_sec * SECOND_NS + t.tv_nsec;
	return 0;
}

static int put_left(const struct call *c, int64_t end_ns)
{
	int64_t left = end_ns - now_ns();
	struct timespec t = { .tv_sec = left > 0 ? left / SECOND_NS : 0, .tv_nsec = left > 0 ? left % SECOND_NS : 0 };

	return c->args[4] ? target_write(c->pid, c->args[4], &t, sizeof(t)) : 0;
}

/*
 * The first is waited for; then it is what is there, and as in Linux the time is looked at behind each. Linux waits for the others too,
 * and when a signal ends that wait says how many there are. Here a signal would void the notification, and they would be lost.
 */
enum outcome call_dgram_many(struct call *c, bool sending)
{
	unsigned int count = (unsigned int)c->args[2] < PIECES_MAX ? (unsigned int)c->args[2] : PIECES_MAX, i;
	int flags = (int)c->args[3];
	int64_t end_ns = INT64_MAX;
	ssize_t r = sending ? 0 : get_limit(c, &end_ns);

	if (r < 0)
		return call_done(c, r);
	for (i = 0; i < count && (!i || end_ns == INT64_MAX || now_ns() < end_ns); i++) {
		uint64_t at = c->args[1] + (uint64_t)i * sizeof(struct mmsghdr);
		unsigned int bytes;

		r = sending ? send_message(c, at, flags) : recv_message(c, at, flags & ~MSG_WAITFORONE);
		bytes = (unsigned int)r;
		if (r >= 0)
			r = target_write(c->pid, at + offsetof(struct mmsghdr, msg_len), &bytes, sizeof(bytes));
		if (r < 0)
			break;
	}
	if (!i)
		return call_or_wait(c, r, flags, sending);
	r = sending ? 0 : put_left(c, end_ns);
	return call_done(c, r < 0 ? r : i);
}

enum outcome call_dgram_send(struct call *c)
{
	size_t n = c->args[2] < sizeof(msg.bytes) ? (size_t)c->args[2] : sizeof(msg.bytes);
	struct sockaddr *sa = c->args[4] ? (struct sockaddr *)&msg.name : NULL;
	socklen_t len = (socklen_t)c->args[5];
	int flags = (int)c->args[3];
	ssize_t r = target_read(c->pid, msg.bytes, c->args[1], n);

	msg.data = (struct iovec){ msg.bytes, n };
	msg.m = (struct msghdr){ .msg_iov = &msg.data, .msg_iovlen = 1, .msg_name = sa, .msg_namelen = sa ? len : 0 };
	if (r == 0 && sa)
		r = call_get_addr(c, c->args[4], c->args[5], &msg.name);
	if (r < 0)
		return call_done(c, r);
	if (c->ours)
		r = dgram_sendto(&c->k, &msg.data, 1, flags | MSG_DONTWAIT, sa, len);
	else
		r = send_copy(c, flags | MSG_DONTWAIT);
	return call_or_wait(c, r, flags, true);
}

enum outcome call_dgram_receive(struct call *c)
{
	size_t room = c->args[2] < sizeof(msg.bytes) ? (size_t)c->args[2] : sizeof(msg.bytes);
	struct iovec iov = { msg.bytes, room };
	socklen_t len = sizeof(msg.name);
	ssize_t n = dgram_recvfrom(&c->k, &iov, 1, (int)c->args[3] | MSG_DONTWAIT,
				   c->args[4] ? (struct sockaddr *)&msg.name : NULL, &len);
	int r;

	if (n < 0)
		return call_or_wait(c, n, (int)c->args[3], false);
	r = target_write(c->pid, c->args[1], msg.bytes, (size_t)n < room ? (size_t)n : room);
	if (r == 0 && c->args[4])
		r = call_put_addr(c, &msg.name, len, c->args[4], c->args[5]);
	return call_done(c, r < 0 ? r : n);
}
