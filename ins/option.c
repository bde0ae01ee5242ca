// SPDX-License-Identifier: Apache-2.0
/*
 * option.c - the application's socket options and ioctls, asked of the stack itself.
 * Trust: level, name, length and value are the application's and may be anything; the value's bytes are a private copy.
 *
 * Which error comes first, how a value is cut and what is written on failure is the kernel's business and differs
 * from option to option. So nothing of it is repeated here: the call is made with the application's own length, on a
 * copy of its memory that ends where its memory ends. Behind that is a page that cannot be touched, and the kernel
 * says EFAULT exactly where it would have said so to the application. No address ever means memory of ours: those in
 * a value (policy.c) are replaced by addresses within the copy.
 */
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "chan/msg.h"
#include "ins/data.h"
#include "ins/operator.h"
#include "ins/option.h"
#include "ins/policy.h"
#include "ins/slots.h"
#include "ins/urgent.h"
#include "link/sockopts.h"

#define AREA_BYTES (1u << 18) /* more than any option takes: Linux bounds them by sysctl net.core.optmem_max, 128 KiB */
#define GUARD_BYTES 65536u    /* a page on every machine */
#define STAMPS_OF_SENT \
	(SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_ACK)

static uint8_t *area, *end;

int option_init(void)
{
	void *at = mmap(NULL, AREA_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	area = at;
	end = area + AREA_BYTES;
	return mprotect(end, GUARD_BYTES, PROT_NONE) < 0 ? -errno : 0;
}

/* Where the application's memory is to us. As much as a message holds stands for any more: no option takes that. */
static uint8_t *place(const struct mw_req_option *o, const uint8_t *value)
{
	uint8_t *at = end - o->have;

	if (o->absent & MW_NO_VALUE)
		return NULL;
	if (o->have == MW_VALUE_MAX) {
		memset(area, 0, AREA_BYTES);
		at = area;
	}
	memcpy(at, value, o->have);
	return at;
}

/* What the application posted in its slot comes before. */
static void posted_first(struct isock *s)
{
	if (s->type != MW_TYPE_DGRAM)
		data_tx(s);
}

/* --- set --- */

/* A classic filter: the value is struct sock_fprog, the instructions that it points to follow. */
static int set_program(int h, const struct mw_req_option *o, const uint8_t *value)
{
	struct sock_fprog f;
	uint32_t n = o->have - (uint32_t)sizeof(f);

	memcpy(&f, value, sizeof(f));
	if (f.filter)
		f.filter = memcpy(end - n, value + sizeof(f), n);
	return ins.stack->setopt(h, o->level, o->name, &f, sizeof(f));
}

/*
 * The value with what the application may not have made into what the kernel refuses, so that everything is checked in
 * its own order: a protocol of no known name above TCP, SO_ZEROCOPY as on a socket that cannot, stamps of sent packets
 * as in a kernel that has none (each would wait for the application in a queue that it cannot reach).
 */
static int set_without(int h, const struct mw_req_option *o, uint8_t *at, enum policy policy)
{
	int v = 0, r;

	if (policy == POLICY_ULP && o->have)
		at[0] = '?';
	if (policy == POLICY_STAMPS && o->have >= sizeof(v)) {
		memcpy(&v, at, sizeof(v));
		v |= v & STAMPS_OF_SENT ? INT32_MIN : 0;
		memcpy(at, &v, sizeof(v));
	}
	if (policy == POLICY_ZEROCOPY && o->have >= sizeof(v))
		memcpy(&v, at, sizeof(v));
	r = policy == POLICY_ZEROCOPY && v == 1 && o->bytes >= (int)sizeof(v) ? -EOPNOTSUPP : 0;
	return r ? r : ins.stack->setopt(h, o->level, o->name, at, (uint32_t)o->bytes);
}

static int set_on(int h, const struct mw_req_option *o, const uint8_t *value, int fd)
{
	enum policy policy = policy_option(o->level, o->name);
	uint8_t *at;

	if (policy == POLICY_PROGRAM && o->bytes == sizeof(struct sock_fprog) && o->have >= sizeof(struct sock_fprog))
		return set_program(h, o, value);
	if (policy == POLICY_DESCRIPTOR && o->have >= sizeof(fd) && o->bytes == sizeof(fd))
		return ins.stack->setopt(h, o->level, o->name, &fd, sizeof(fd));
	at = place(o, value);
	if (policy == POLICY_PLAIN || !at)
		return ins.stack->setopt(h, o->level, o->name, at, (uint32_t)o->bytes);
	return set_without(h, o, at, policy);
}

static int get_int(struct isock *s, int level, int name, int otherwise)
{
	int v = otherwise;
	uint32_t n = sizeof(v);

	return ins.stack->getopt(s->tcp, level, name, &v, &n) < 0 ? otherwise : v;
}

/* No more than what the ring takes while the stack is still read. */
void option_show_lowat(struct isock *s)
{
	uint32_t low = (uint32_t)s->lowat;

	if (s->rx_limit && low > s->rx_limit / 2)
		low = s->rx_limit / 2;
	mw_store_release(&shared_of(s)->ins.lowat, low);
	s->rx_told = MW_NEVER; /* what was answered is to be answered again: the shim hides and shows its readiness anew */
}

/*
 * SO_RCVLOWAT is ours to keep: bytes leave the stack at once, so that the ring has what the application may read. The
 * stack is asked what it would make of the number, then told to wait for nothing.
 */
static void lowat_was_set(struct isock *s)
{
	int one = 1;

	s->lowat = get_int(s, SOL_SOCKET, SO_RCVLOWAT, 1);
	if (s->lowat > 1)
		ins.stack->setopt(s->tcp, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	option_show_lowat(s);
}

/* What else of ours depends on an option that is set now. */
void option_was_set(struct isock *s, int level, int name)
{
	struct linger l = { 0 };
	uint32_t n = sizeof(l);

	if (level == SOL_SOCKET && name == SO_OOBINLINE && s->type != MW_TYPE_DGRAM)
		urgent_inline_was_set(s); /* also of a socket that the stack has ended */
	if (s->tcp < 0)
		return;
	if (level == SOL_SOCKET && name == SO_LINGER && ins.stack->getopt(s->tcp, level, name, &l, &n) == 0) {
		s->flags &= ~(F_LINGER0 | F_LINGER);
		s->flags |= !l.l_onoff ? 0 : l.l_linger ? F_LINGER : F_LINGER0;
		s->linger_s = (uint32_t)l.l_linger;
	} else if (level == SOL_SOCKET && name == SO_RCVLOWAT) {
		lowat_was_set(s);
	} else if (level == IPPROTO_TCP && name == TCP_CORK) {
		s->flags &= ~F_CORKED;
		s->flags |= get_int(s, level, name, 0) ? F_CORKED : 0;
	} else if (level == IPPROTO_IPV6 && name == IPV6_ADDRFORM && s->family == MW_FAMILY_IP6) {
		s->family = MW_FAMILY_IP4;
		mw_store(&shared_of(s)->ins.family, s->family);
		slots_names(s, NULL);
	}
}

static bool turns_on(const struct mw_req_option *o, const uint8_t *value)
{
	int v = 0;

	memcpy(&v, value, o->have < sizeof(v) ? o->have : sizeof(v));
	return v && o->bytes > 0;
}

int option_set(struct isock *s, const struct mw_req_option *o, const uint8_t *value, int fd)
{
	int r;

	posted_first(s);
	if (stack_handle(s) < 0)
		return -EINVAL;
	if (s->type == MW_TYPE_DGRAM && policy_option(o->level, o->name) == POLICY_ERRORS && turns_on(o, value))
		return -ENOPROTOOPT; /* each error would wait in a queue that the application cannot reach */
	r = set_on(stack_handle(s), o, value, fd);
	if (r < 0)
		return r;
	for (int i = 0; i < s->extra_count; i++)
		set_on(s->extra[i], o, value, fd);
	operator_app_set(s, o->level, o->name);
	option_was_set(s, o->level, o->name);
	return 0;
}

/* --- get --- */

/* Tells of the application's memory as much as was written, or may have been. */
static void tell(struct answer *a, const struct mw_req_option *o, const uint8_t *before, const uint8_t *at, int r)
{
	uint32_t n = at ? o->have : 0, least = r < 0 || a->length < 0 ? 0 : (uint32_t)a->length;

	while (n > least && at[n - 1] == before[n - 1])
		n--;
	a->value = at;
	a->bytes = n;
}

/* Values that are ours to know, in place of the stack's. */
static void put_ours(struct isock *s, const struct mw_req_option *o, uint8_t *at, int32_t length)
{
	uint32_t flags = mw_load_acquire(&shared_of(s)->app.flags);
	int v;

	if (o->level == SOL_SOCKET && o->name == SO_RCVLOWAT && s->lowat > 1)
		v = s->lowat;
	else if (o->level == IPPROTO_TCP && o->name == TCP_CORK && flags & MW_APP_CORK_SET)
		v = !!(flags & MW_APP_CORK);
	else
		return;
	memcpy(at, &v, length < (int)sizeof(v) ? (size_t)length : sizeof(v));
}

/* TCP_ZEROCOPY_RECEIVE: its addresses but the first, which must be a mapping of the socket, of which we have none. */
static void without_addresses(const struct mw_req_option *o, uint8_t *at)
{
	const size_t from = 24, to = 56; /* copybuf_address, copybuf_len, flags, msg_control, msg_controllen */

	if (o->have > from)
		memset(at + from, 0, (o->have < to ? o->have : to) - from);
}

int option_get(struct isock *s, const struct mw_req_option *o, const uint8_t *value, struct answer *a)
{
	uint32_t n = (uint32_t)o->bytes, *length = &n;
	uint8_t *at;
	int r;

	posted_first(s);
	if (stack_handle(s) < 0)
		return -EINVAL;
	at = place(o, value);
	if (at && policy_option(o->level, o->name) == POLICY_MAP)
		without_addresses(o, at);
	if (o->absent & MW_NO_LENGTH)
		length = (uint32_t *)(void *)end; /* which cannot be read either */
	if (o->level == SOL_SOCKET && o->name == SO_OOBINLINE)
		r = urgent_inline_get(s, at, length);
	else
		r = ins.stack->getopt(stack_handle(s), o->level, o->name, at, length);
	a->length = (int32_t)n;
	if (r == 0 && at) {
		put_ours(s, o, at, a->length);
		operator_app_get(s, o->level, o->name, at, a->length);
	}
	if (r == 0 || policy_option(o->level, o->name) != POLICY_MAP)
		tell(a, o, value, at, r);
	return r;
}

/* --- ioctl --- */

/* SIOCGIFCONF: struct ifconf, and behind it the room that it points to. */
static int get_interfaces(int h, const struct mw_req_option *o, const uint8_t *value, struct answer *a)
{
	struct ifconf c;
	uint32_t n = o->have - (uint32_t)sizeof(c);
	uint8_t *at = end - n;
	char *theirs;
	int r;

	memcpy(&c, value, sizeof(c));
	memcpy(at, value + sizeof(c), n);
	theirs = c.ifc_buf;
	if (theirs)
		c.ifc_buf = (char *)at;
	r = ins.stack->ioctl(h, SIOCGIFCONF, &c);
	c.ifc_buf = theirs;
	memcpy(at - sizeof(c), &c, sizeof(c));
	tell(a, o, value, at - sizeof(c), r);
	return r;
}

static uint32_t unsent(struct isock *s)
{
	struct mw_ring r;
	uint32_t used = 0;

	arena_tx(&ins.view, slot_of(s), &r);
	return ring_used(&r, s->tx_cons, &used) < 0 ? 0 : used;
}

int option_ioctl(struct isock *s, const struct mw_req_option *o, const uint8_t *value, struct answer *a)
{
	unsigned int request = (unsigned int)o->level;
	int h, r, n;
	uint8_t *at;

	if (!policy_ioctl(request))
		return -ENOTTY;
	posted_first(s);
	h = stack_handle(s);
	if (h < 0)
		return -EINVAL;
	if (request == SIOCGIFCONF && o->have >= sizeof(struct ifconf))
		return get_interfaces(h, o, value, a);
	at = place(o, value);
	r = ins.stack->ioctl(h, request, at);
	if (r == 0 && s->type != MW_TYPE_DGRAM && (request == SIOCOUTQ || request == SIOCOUTQNSD)) {
		memcpy(&n, at, sizeof(n));
		n += (int)unsent(s);
		memcpy(at, &n, sizeof(n));
	}
	if (r == 0 && s->type != MW_TYPE_DGRAM && request == SIOCATMARK) {
		n = urgent_at_mark(s);
		memcpy(at, &n, sizeof(n));
	}
	tell(a, o, value, at, r);
	return r;
}

/* --- listeners --- */

void option_copy(int from, int to)
{
	uint8_t v[64];

	for (int i = 0; sockopts_inherited[i][0] >= 0; i++) {
		uint32_t n = sizeof(v);

		if (ins.stack->getopt(from, sockopts_inherited[i][0], sockopts_inherited[i][1], v, &n) == 0)
			ins.stack->setopt(to, sockopts_inherited[i][0], sockopts_inherited[i][1], v, n);
	}
}
