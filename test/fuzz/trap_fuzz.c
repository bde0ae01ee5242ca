// SPDX-License-Identifier: Apache-2.0
/*
 * trap_fuzz.c - libFuzzer target: the messages of a target that no shim sees, whose headers, pieces, names and control data are anything,
 * and change while they are read.
 * Trust: none. What is copied lies within the place that it has here; what the shim's functions get is within bounds, and what they give is
 * written where the target said.
 */
#include <errno.h>

#include "trap/dgram.c"

#include "test/fuzz/input.h"

#define BASE   0x10000u /* where the target's memory begins */
#define MEMORY 4096u
#define HEADERS 0u      /* in it: struct mmsghdr, */
#define PIECES 1024u    /* struct iovec, */
#define BYTES  2048u    /* and what they name */

static struct input *choices;
static uint8_t *target;       /* its memory: on the heap, so that each step beyond is seen */
static volatile uint64_t sum; /* what is given is read */

/* --- the target's memory --- */

/* One of ours, whole: `n` bytes from there do not leave it. */
static bool within(const void *at, size_t n, const void *whole, size_t bytes)
{
	size_t from = (size_t)((const uint8_t *)at - (const uint8_t *)whole);

	return (const uint8_t *)at >= (const uint8_t *)whole && from <= bytes && n <= bytes - from;
}

static bool has_place(const void *at, size_t n)
{
	if (!within(at, 0, &msg, sizeof(msg)))
		return true; /* on the stack, where the sanitizer looks */
	return within(at, n, msg.bytes, sizeof(msg.bytes)) || within(at, n, msg.control, sizeof(msg.control)) || within(at, n, &msg.name, sizeof(msg.name)) ||
	       within(at, n, msg.theirs, sizeof(msg.theirs));
}

int target_read(int pid, void *to, uint64_t from, size_t n)
{
	must(pid == 1 && has_place(to, n));
	if (!n)
		return 0;
	if (from < BASE || from - BASE > MEMORY || n > MEMORY - (from - BASE))
		return -EFAULT;
	memcpy(to, target + (from - BASE), n);
	if (next_byte(choices) & 1)
		target[next_u32(choices) % MEMORY] = next_byte(choices);
	return 0;
}

int target_write(int pid, uint64_t to, const void *from, size_t n)
{
	must(pid == 1 && has_place(from, n));
	if (!n)
		return 0;
	if (to < BASE || to - BASE > MEMORY || n > MEMORY - (to - BASE))
		return -EFAULT;
	memcpy(target + (to - BASE), from, n);
	return 0;
}

/* --- call.c --- */

enum outcome call_done(struct call *c, int64_t result)
{
	c->result = result;
	return ANSWER;
}

enum outcome call_or_wait(struct call *c, ssize_t r, int flags, bool sending)
{
	(void)flags, (void)sending;
	return r == -EAGAIN ? WAIT : call_done(c, r);
}

int call_get_addr(const struct call *c, uint64_t from, uint64_t len, struct sockaddr_storage *ss)
{
	if ((int)len < 0 || len > sizeof(*ss))
		return -EINVAL;
	return target_read(c->pid, ss, from, (size_t)len);
}

int call_put_addr(const struct call *c, const struct sockaddr_storage *ss, socklen_t n, uint64_t to, uint64_t len_at)
{
	(void)len_at;
	return target_write(c->pid, to, ss, n);
}

/* --- the shim --- */

static void read_all(const void *at, size_t n)
{
	must(!n || (at && has_place(at, n)));
	for (size_t i = 0; i < n; i++)
		sum += ((const uint8_t *)at)[i];
}

static void write_all(void *at, size_t n)
{
	must(!n || (at && has_place(at, n)));
	if (n)
		memset(at, 'x', n);
}

static ssize_t sent(const struct msghdr *m)
{
	must(m->msg_iovlen == 1 && m->msg_iov->iov_len <= SEND_MAX);
	read_all(m->msg_iov->iov_base, m->msg_iov->iov_len);
	read_all(m->msg_name, m->msg_name ? m->msg_namelen : 0);
	read_all(m->msg_control, m->msg_controllen);
	return next_byte(choices) & 1 ? -EAGAIN : (ssize_t)m->msg_iov->iov_len;
}

ssize_t dgram_sendmsg(struct sock *k, const struct msghdr *m, int flags)
{
	must(k && flags & MSG_DONTWAIT);
	return sent(m);
}

ssize_t route_send(int fd, const struct msghdr *m, int flags)
{
	must(fd == 3 && flags & MSG_DONTWAIT);
	return sent(m);
}

ssize_t dgram_sendto(struct sock *k, const struct iovec *iov, int count, int flags, const struct sockaddr *sa, socklen_t len)
{
	must(k && count == 1 && flags & MSG_DONTWAIT);
	read_all(iov->iov_base, iov->iov_len);
	read_all(sa, sa ? len : 0);
	return (ssize_t)iov->iov_len;
}

/* Of a datagram as long as the input says, which may have more than there was room for. */
static ssize_t received(const struct iovec *iov)
{
	size_t have = next_u32(choices) % (SEND_MAX + 1);

	write_all(iov->iov_base, have < iov->iov_len ? have : iov->iov_len);
	return next_byte(choices) & 1 ? -EAGAIN : (ssize_t)have;
}

ssize_t dgram_recvmsg(struct sock *k, struct msghdr *m, int flags)
{
	must(k && flags & MSG_DONTWAIT && m->msg_iovlen == 1 && m->msg_controllen <= CONTROL_MAX);
	write_all(m->msg_control, m->msg_controllen);
	write_all(m->msg_name, m->msg_name ? m->msg_namelen : 0);
	m->msg_controllen = m->msg_control ? next_u32(choices) % (m->msg_controllen + 1) : 0;
	m->msg_namelen = m->msg_name ? next_byte(choices) % (m->msg_namelen + 1) : 0;
	return received(m->msg_iov);
}

ssize_t dgram_recvfrom(struct sock *k, const struct iovec *iov, int count, int flags, struct sockaddr *sa, socklen_t *len)
{
	must(k && count == 1 && flags & MSG_DONTWAIT);
	write_all(sa, sa ? *len : 0);
	return received(iov);
}

/* --- the target --- */

static void fill(struct input *in)
{
	struct mmsghdr h[4];
	struct iovec pieces[8];
	uint8_t lies;

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		pieces[i] = (struct iovec){ (void *)(uintptr_t)(BASE + BYTES + next_byte(in)), next_byte(in) };
	for (size_t i = 0; i < sizeof(h) / sizeof(h[0]); i++) {
		uint8_t how = next_byte(in);

		h[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = (void *)(uintptr_t)(BASE + PIECES), .msg_iovlen = how % 8 } };
		if (how & 8)
			h[i].msg_hdr.msg_name = (void *)(uintptr_t)(BASE + BYTES), h[i].msg_hdr.msg_namelen = next_byte(in);
		if (how & 16)
			h[i].msg_hdr.msg_control = (void *)(uintptr_t)(BASE + BYTES), h[i].msg_hdr.msg_controllen = next_byte(in) * 32u;
	}
	memset(target, 0, MEMORY);
	memcpy(target + HEADERS, h, sizeof(h));
	memcpy(target + PIECES, pieces, sizeof(pieces));
	for (lies = next_byte(in) % 8; lies; lies--)
		next_bytes(in, target + next_u32(in) % (MEMORY - 8), 8);
}

static void call(struct input *in, uint8_t how)
{
	uint64_t args[6] = { 3, BASE, next_byte(in), 0, how & 16 ? BASE + BYTES : 0, next_byte(in) };
	struct call c = { .pid = 1, .fd = 3, .args = args, .ours = how & 8 };
	const uint8_t *bytes = NULL;
	ssize_t n;

	if (how & 32)
		args[1 + next_byte(in) % 5] = next_u64(in);
	switch (how % 8) {
	case 0: call_dgram_send(&c); break;
	case 1: call_dgram_receive(&c); break;
	case 2: call_dgram_sendmsg(&c); break;
	case 3: call_dgram_recvmsg(&c); break;
	case 4: call_dgram_many(&c, true); break;
	case 5: call_dgram_many(&c, false); break;
	default:
		n = call_message_bytes(&c, &bytes);
		read_all(bytes, n > 0 ? (size_t)n : 0);
	}
	must(c.result > -4096 && c.result <= SEND_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };

	choices = &in;
	target = malloc(MEMORY);
	must(target != NULL);
	fill(&in);
	for (int i = 0; i < 4 && in.at < in.end; i++)
		call(&in, next_byte(&in));
	free(target);
	return 0;
}
