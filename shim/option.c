// SPDX-License-Identifier: Apache-2.0
/*
 * option.c - socket options and ioctls.
 * Trust: addresses and lengths are the application's, and may be anything; of a reply no more is written than the
 * application asked for.
 *
 * The INS asks its kernel, with the application's own length and as much of its memory as there is (ins/option.c), so
 * order and kind of errors are Linux's and not repeated here. Answered here is only what the doorbell itself knows, what
 * the slot says, and the error that is taken once.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/option.h"
#include "chan/msg.h"
#include "shim/attach.h"
#include "shim/data.h"
#include "shim/fdtab.h"
#include "shim/memory.h"
#include "shim/sock.h"
#include "shim/token.h"
#include "shim/urgent.h"

#define SMALL_BYTES 512 /* values up to this are on the stack */

/* One call: the request, and the application's memory that goes with it. */
struct call {
	struct sock *k;
	struct mw_req q;
	struct mw_reply r;
	uint8_t small[SMALL_BYTES];
	uint8_t *value; /* q.u.option.have bytes, room for `room` */
	uint32_t room;
	int pass_fd;
};

static int begin(struct call *c, struct sock *k, int level, int name, int bytes, uint32_t room)
{
	memset(&c->q, 0, sizeof(c->q));
	memset(&c->r, 0, sizeof(c->r));
	c->k = k;
	c->r.length = bytes;
	address_request(k, &c->q);
	c->q.u.option.level = level;
	c->q.u.option.name = name;
	c->q.u.option.bytes = bytes;
	c->q.u.option.absent = memory.privileged ? 0 : MW_NO_PRIVILEGE;
	c->room = room < MW_VALUE_MAX ? room : MW_VALUE_MAX;
	c->value = c->small;
	c->pass_fd = -1;
	if (c->room > SMALL_BYTES)
		c->value = mmap(NULL, MW_VALUE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return c->value == MAP_FAILED ? -ENOBUFS : 0;
}

static void finish(struct call *c)
{
	if (c->value != c->small)
		munmap(c->value, MW_VALUE_MAX);
}

/* Takes along at most n bytes of the application's memory: all that can be read. */
static void take(struct call *c, const void *from, uint32_t n)
{
	struct mw_req_option *o = &c->q.u.option;

	if (n > c->room - o->have)
		n = c->room - o->have;
	o->have += (uint32_t)memory_read(c->value + o->have, from, n);
}

/* A listener outlives the INS that it was made on: any other that serves it will do. */
static int ask(struct call *c, uint32_t op)
{
	int r = ctl_call_value(c->k, &c->q, op, c->pass_fd, &c->r, c->value);

	if (r != -ENETDOWN || !fdtab_again(c->k))
		return r;
	address_request(c->k, &c->q);
	return ctl_call_value(c->k, &c->q, op, c->pass_fd, &c->r, c->value);
}

/* --- what is known here --- */

/* Answered by the doorbell itself: blocking is the kernel's, so its time-outs are too. */
static bool on_doorbell(int level, int name)
{
	return level == SOL_SOCKET && (name == SO_RCVTIMEO_OLD || name == SO_SNDTIMEO_OLD || name == SO_RCVTIMEO_NEW ||
				       name == SO_SNDTIMEO_NEW);
}

/* Time-outs of receiving, then of sending: the application's own, as getsockopt() says them. */
static int own_timeo(struct sock *k, int which, struct timeval *t)
{
	uint64_t us = which ? SLOT_APP(k, sndtimeo) : SLOT_APP(k, rcvtimeo);

	t->tv_sec = us ? (time_t)((us - 1) / 1000000) : 0;
	t->tv_usec = us ? (suseconds_t)((us - 1) % 1000000) : 0;
	return us != 0;
}

static void keep_own(struct sock *k, int which, const struct timeval *t)
{
	mw_store(which ? MW_WORD(&k->s->app.sndtimeo) : MW_WORD(&k->s->app.rcvtimeo),
		 (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec + 1);
}

static uint32_t operators(struct sock *k, int which)
{
	return which ? SLOT_NAMES(k, sndtimeo) : SLOT_NAMES(k, rcvtimeo);
}

static int which_timeo(int name)
{
	return name == SO_SNDTIMEO_OLD || name == SO_SNDTIMEO_NEW;
}

static void put_in_force(struct sock *k, int which)
{
	uint32_t ms = operators(k, which);
	struct timeval t;

	own_timeo(k, which, &t);
	if (ms) {
		t.tv_sec = (ms - 1) / 1000;
		t.tv_usec = (ms - 1) % 1000 * 1000;
	}
	syscall(SYS_setsockopt, k->fd, SOL_SOCKET, which ? SO_SNDTIMEO_OLD : SO_RCVTIMEO_OLD, &t, sizeof(t));
}

int option_timeo(struct sock *k, int flags)
{
	uint32_t now = SLOT_NAMES(k, timeo);

	if (__builtin_expect(now != SLOT_APP(k, timeo), 0)) {
		int saved = errno;

		put_in_force(k, 0);
		put_in_force(k, 1);
		mw_store(MW_WORD(&k->s->app.timeo), now);
		errno = saved;
	}
	return now & MW_TIMEO_NO_WAIT ? flags | MSG_DONTWAIT : flags;
}

static int set_on_doorbell(struct sock *k, int name, const void *value, socklen_t len)
{
	int which = which_timeo(name);
	socklen_t all = sizeof(struct timeval);
	struct timeval t;
	size_t n = len < sizeof(t) ? len : sizeof(t); /* it reads no more */

	if (memory.pid)
		value = memory_get(&t, value, n) == 0 ? &t : NULL;
	if (syscall(SYS_setsockopt, k->fd, SOL_SOCKET, name, value, len) < 0)
		return -errno;
	if (syscall(SYS_getsockopt, k->fd, SOL_SOCKET, name, &t, &all) == 0) /* as the kernel rounds it */
		keep_own(k, which, &t);
	if (operators(k, which))
		put_in_force(k, which);
	return 0;
}

static int give(const void *from, uint32_t n, void *value, int was, int is, socklen_t *len)
{
	if (n && memory_put(value, from, n) < 0)
		return -EFAULT;
	return is != was ? memory_put(len, &is, sizeof(is)) : 0;
}

/* Its own value, whatever the doorbell has: an operator's may be in force, or may only just have been taken away. */
static int get_on_doorbell(struct sock *k, int name, void *value, socklen_t *len)
{
	struct timeval t;
	socklen_t room, n;

	if (!memory.pid) {
		if (syscall(SYS_getsockopt, k->fd, SOL_SOCKET, name, value, len) < 0)
			return -errno;
		own_timeo(k, which_timeo(name), &t);
		return memory_get(&n, len, sizeof(n)) == 0 ? memory_put(value, &t, n < sizeof(t) ? n : sizeof(t)) : 0;
	}
	if (memory_get(&room, len, sizeof(room)) < 0)
		return -EFAULT;
	n = room < sizeof(t) || (int)room < 0 ? room : sizeof(t);
	if (syscall(SYS_getsockopt, k->fd, SOL_SOCKET, name, &t, &n) < 0)
		return -errno;
	own_timeo(k, which_timeo(name), &t);
	return give(&t, n, value, (int)room, (int)n, len);
}

/* An accepted socket has its listener's time-outs; they are the doorbells' here. */
void option_inherit(struct sock *listener, struct sock *k)
{
	struct timeval t;

	for (int which = 0; which < 2; which++) {
		if (!own_timeo(listener, which, &t))
			continue;
		keep_own(k, which, &t);
		put_in_force(k, which);
	}
}

/*
 * TCP_NODELAY and TCP_CORK on a connection go through the slot: they cannot fail there, and cost no round trip, nor a
 * system call where the value is in a caller's frame.
 */
static bool posted(struct sock *k, int level, int name, const void *value, socklen_t len)
{
	int on;

	if (level != IPPROTO_TCP || IS_DGRAM(k) || (name != TCP_NODELAY && name != TCP_CORK) || (int)len < (int)sizeof(on) ||
	    SLOT_INS(k, state) != MW_ST_ESTABLISHED)
		return false;
	if (memory_near(value, __builtin_frame_address(0)))
		memcpy(&on, value, sizeof(on));
	else if (memory_get(&on, value, sizeof(on)) < 0)
		return false;
	if (name == TCP_NODELAY) {
		if (!on)
			APP_CLR(k, MW_APP_NODELAY);
		APP_SET(k, MW_APP_NODELAY_SET | (on ? MW_APP_NODELAY : 0));
		return true;
	}
	if (on) {
		APP_SET(k, MW_APP_CORK | MW_APP_CORK_SET);
		return true;
	}
	APP_CLR(k, MW_APP_CORK);
	APP_SET(k, MW_APP_CORK_SET);
	token_service(k);
	return true;
}

/* Options whose answer is known here. */
static bool known(struct sock *k, int level, int name, int *answer)
{
	if (level != SOL_SOCKET)
		return false;
	switch (name) {
	case SO_TYPE:
		*answer = IS_DGRAM(k) ? SOCK_DGRAM : SOCK_STREAM;
		return true;
	case SO_DOMAIN:
		*answer = SLOT_INS(k, family) == MW_FAMILY_IP4 ? AF_INET : AF_INET6;
		return true;
	case SO_PROTOCOL:
		*answer = IPPROTO_TCP;
		return !IS_DGRAM(k); /* UDP or UDP-Lite */
	case SO_ERROR:
		*answer = data_error(k);
		return true;
	default:
		return false;
	}
}

/* --- set --- */

/* A classic filter: its instructions go along behind the struct that points to them. */
static int set_program(struct sock *k, int level, int name, const void *value, socklen_t len)
{
	struct sock_fprog f;
	struct call c;
	int r = begin(&c, k, level, name, (int)len, MW_VALUE_MAX);

	if (r < 0)
		return r;
	take(&c, value, sizeof(f));
	if (c.q.u.option.have == sizeof(f)) {
		memcpy(&f, c.value, sizeof(f));
		take(&c, f.filter, f.len * (uint32_t)sizeof(*f.filter));
	}
	r = ask(&c, MW_OP_SETSOCKOPT);
	finish(&c);
	return r;
}

static bool has_program(int level, int name)
{
	return level == SOL_SOCKET && (name == SO_ATTACH_FILTER || name == SO_ATTACH_REUSEPORT_CBPF);
}

static bool has_descriptor(int level, int name)
{
	return level == SOL_SOCKET && (name == SO_ATTACH_BPF || name == SO_ATTACH_REUSEPORT_EBPF);
}

/* The descriptor in the value, if it is one of the application's: for another process a duplicate. */
static int descriptor_in(const struct call *c)
{
	int fd = -1;

	if (c->q.u.option.have >= sizeof(fd))
		memcpy(&fd, c->value, sizeof(fd));
	if (memory.pid)
		return memory.descriptor(memory.pid, fd);
	return fd >= 0 && !attach_owns(fd) && syscall(SYS_fcntl, fd, F_GETFD) >= 0 ? fd : -1;
}

int option_set(struct sock *k, int level, int name, const void *value, socklen_t len)
{
	struct call c;
	int r;

	if (on_doorbell(level, name))
		return set_on_doorbell(k, name, value, len);
	if (posted(k, level, name, value, len))
		return 0;
	if (has_program(level, name) && len == sizeof(struct sock_fprog))
		return set_program(k, level, name, value, len);
	r = begin(&c, k, level, name, (int)len, (int)len < 0 ? 0 : len);
	if (r < 0)
		return r;
	c.q.u.option.absent |= value ? 0 : MW_NO_VALUE;
	if (value)
		take(&c, value, c.room);
	if (has_descriptor(level, name))
		c.pass_fd = descriptor_in(&c);
	r = ask(&c, MW_OP_SETSOCKOPT);
	if (memory.pid && c.pass_fd >= 0)
		syscall(SYS_close, c.pass_fd);
	finish(&c);
	if (r == 0 && level == SOL_SOCKET && name == SO_LINGER)
		APP_SET(k, MW_APP_LINGER_SET);
	if (r == 0 && level == SOL_SOCKET && name == SO_RCVLOWAT)
		data_lowat(k);
	if (r == 0 && level == SOL_SOCKET && name == SO_OOBINLINE && !IS_DGRAM(k))
		urgent_inline_set(k);
	return r;
}

/* --- get --- */

/* Never more than there is room for, whatever the INS says. Without any it may be a count, as SO_GET_FILTER's is. */
static int length_of(const struct call *c, int r, int room)
{
	int n = c->r.length;

	return r == 0 && room >= 0 && (n < 0 || (room && n > room)) ? room : n;
}

int option_get(struct sock *k, int level, int name, void *value, socklen_t *len)
{
	struct call c;
	int bytes = 0, n, answer, r;
	bool counted;

	if (on_doorbell(level, name))
		return get_on_doorbell(k, name, value, len);
	counted = memory_get(&bytes, len, sizeof(bytes)) == 0;
	if (counted && bytes >= 0 && known(k, level, name, &answer)) {
		n = bytes < (int)sizeof(answer) ? bytes : (int)sizeof(answer);
		return give(&answer, (uint32_t)n, value, bytes, n, len);
	}
	r = begin(&c, k, level, name, bytes, bytes < 0 ? 0 : (uint32_t)bytes);
	if (r < 0)
		return r;
	c.q.u.option.absent |= (value ? 0 : MW_NO_VALUE) | (counted ? 0 : MW_NO_LENGTH);
	if (value)
		take(&c, value, c.room);
	r = ask(&c, MW_OP_GETSOCKOPT);
	n = give(c.value, c.r.value_bytes, value, bytes, length_of(&c, r, bytes), len);
	finish(&c);
	return n < 0 ? n : r;
}

/* --- ioctl --- */

static int unread(struct sock *k, void *argument)
{
	int n = data_unread(k);

	if (SLOT_INS(k, state) == MW_ST_LISTEN)
		return -EINVAL;
	return memory_put(argument, &n, sizeof(n));
}

/* Bytes of its argument; 0: not ours. */
static uint32_t argument_bytes(unsigned int request)
{
	switch (request) {
	case SIOCOUTQ:
	case SIOCOUTQNSD:
	case SIOCATMARK:
		return sizeof(int);
	case SIOCGSTAMP_OLD:
	case SIOCGSTAMPNS_OLD:
	case SIOCGSTAMP_NEW:
	case SIOCGSTAMPNS_NEW:
		return 2 * sizeof(long);
	case SIOCGIFCONF:
		return sizeof(struct ifconf);
	case SIOCGARP:
	case SIOCSARP:
	case SIOCDARP:
		return 68; /* struct arpreq */
	default: /* the interfaces' */
		return request >= SIOCGIFNAME && request <= SIOCSIFMAP && request != SIOCGIFBR && request != SIOCSIFBR
			       ? sizeof(struct ifreq)
			       : 0;
	}
}

/* SIOCGIFCONF: the room that it points to goes along behind it, and comes back. */
static int interfaces(struct sock *k, struct ifconf *at)
{
	struct call c;
	struct ifconf f;
	uint32_t more;
	int n, r;

	if (memory_get(&f, at, sizeof(f)) < 0)
		return -EFAULT;
	more = f.ifc_buf && f.ifc_len > 0 ? (uint32_t)f.ifc_len : 0;
	r = begin(&c, k, SIOCGIFCONF, 0, sizeof(f), more < MW_VALUE_MAX ? sizeof(f) + more : MW_VALUE_MAX);
	if (r < 0)
		return r;
	take(&c, at, sizeof(f));
	take(&c, f.ifc_buf, more);
	r = ask(&c, MW_OP_IOCTL);
	if (r == 0 && c.r.value_bytes > sizeof(f))
		r = memory_put(f.ifc_buf, c.value + sizeof(f), c.r.value_bytes - sizeof(f));
	memcpy(&n, c.value, sizeof(n));
	if (f.ifc_buf && (n < 0 || n > f.ifc_len)) /* there is no more room, whatever the INS says */
		n = f.ifc_len;
	if (r == 0 && c.r.value_bytes)
		r = memory_put(&at->ifc_len, &n, sizeof(n));
	finish(&c);
	return r;
}

int option_ioctl(struct sock *k, unsigned long request, void *argument)
{
	uint32_t bytes = argument_bytes((unsigned int)request);
	struct call c;
	int r;

	if (request == FIONREAD)
		return unread(k, argument);
	if (!bytes || request > UINT32_MAX)
		return -ENOSYS;
	if (request == SIOCATMARK && SLOT_INS(k, lane) == MW_LANE_STREAM && SLOT_INS(k, state) == MW_ST_ESTABLISHED)
		return -ENOSYS;
	if (request == SIOCGIFCONF)
		return interfaces(k, argument);
	r = begin(&c, k, (int)request, 0, (int)bytes, bytes);
	if (r < 0)
		return r;
	take(&c, argument, bytes);
	r = ask(&c, MW_OP_IOCTL);
	if (r == 0 && memory_put(argument, c.value, c.r.value_bytes) < 0)
		r = -EFAULT;
	return r;
}
