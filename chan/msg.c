// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * msg.c - see msg.h.
 * Trust: works on private copies only.
 */
#include "msg.h"

#define HEADER (uint32_t)offsetof(struct mw_req, u)

static const struct {
	uint32_t body; /* exact bytes after the header */
} ops[MW_OP_NUM] = {
	[MW_OP_HELLO]      = { sizeof(struct mw_req_hello) },
	[MW_OP_SOCKET]     = { sizeof(struct mw_req_socket) },
	[MW_OP_BIND]       = { sizeof(struct mw_addr) },
	[MW_OP_LISTEN]     = { sizeof(struct mw_req_listen) },
	[MW_OP_CONNECT]    = { sizeof(struct mw_addr) },
	[MW_OP_SETSOCKOPT] = { sizeof(struct mw_req_option) },
	[MW_OP_GETSOCKOPT] = { sizeof(struct mw_req_option) },
	[MW_OP_STREAM]     = { sizeof(struct mw_req_stream) },
	[MW_OP_IOCTL]      = { sizeof(struct mw_req_option) },
	[MW_OP_FLUSH]      = { sizeof(struct mw_req_flush) },
	[MW_OP_SHUTDOWN]   = { sizeof(struct mw_req_shutdown) },
	[MW_OP_AGAIN]      = { sizeof(struct mw_req_stream) },
	[MW_OP_URGENT]     = { sizeof(struct mw_req_urgent) },
	[MW_OP_GRANT]      = { sizeof(struct mw_req_grant) },
	[MW_OP_REVOKE]     = { sizeof(struct mw_req_revoke) },
	[MW_OP_VERB]       = { sizeof(struct mw_req_verb) },
};

uint32_t msg_request_bytes(uint32_t op)
{
	return op < MW_OP_NUM && ops[op].body ? HEADER + ops[op].body : 0;
}

static bool pages_ok(uint32_t n)
{
	return n && !(n & (n - 1)) && n <= MW_RING_BYTES_MAX / MW_PAGE;
}

/* Bytes of the caller's memory, of refs, or of an order, that go with it. */
static uint32_t value_of(const struct mw_req *q)
{
	if (q->op == MW_OP_GRANT)
		return pages_ok(q->u.grant.rx_pages) && pages_ok(q->u.grant.tx_pages)
			? (q->u.grant.rx_pages + q->u.grant.tx_pages) * (uint32_t)sizeof(uint32_t) : 0;
	if (q->op == MW_OP_VERB)
		return MW_VERB_BYTES;
	return q->op == MW_OP_SETSOCKOPT || q->op == MW_OP_GETSOCKOPT || q->op == MW_OP_IOCTL ? q->u.option.have : 0;
}

void msg_request_seal(struct mw_req *q, uint32_t op, uint32_t seq)
{
	q->op = (uint16_t)op;
	q->bytes = (uint16_t)(msg_request_bytes(op) + value_of(q));
	q->seq = seq;
}

bool msg_addr_ok(const struct mw_addr *a, bool none_allowed)
{
	int used = a->family == MW_FAMILY_IP4 ? 4 : 0; /* bytes of addr */

	if (a->pad)
		return false;
	if (a->family == MW_FAMILY_IP6)
		return true;
	if (a->family == MW_FAMILY_NONE ? !none_allowed || a->port : a->family != MW_FAMILY_IP4)
		return false;
	if (a->scope_id || a->flowinfo)
		return false;
	for (int i = used; i < 16; i++)
		if (a->addr[i])
			return false;
	return true;
}

static bool option_ok(const struct mw_req_option *o, bool is_ioctl)
{
	return o->have <= MW_VALUE_MAX && o->absent <= (MW_NO_VALUE | MW_NO_LENGTH | MW_NO_PRIVILEGE) && !o->pad && !(is_ioctl && o->name);
}

static bool body_ok(const struct mw_req *q)
{
	switch (q->op) {
	case MW_OP_HELLO:
		return q->u.hello.pad == 0;
	case MW_OP_SOCKET:
		return q->u.socket.lane <= MW_LANE_STREAM;
	case MW_OP_BIND:
	case MW_OP_CONNECT:
		return msg_addr_ok(&q->u.addr, true);
	case MW_OP_LISTEN:
		return q->u.listen.pad == 0;
	case MW_OP_SETSOCKOPT:
	case MW_OP_GETSOCKOPT:
	case MW_OP_IOCTL:
		return option_ok(&q->u.option, q->op == MW_OP_IOCTL);
	case MW_OP_STREAM:
	case MW_OP_AGAIN:
		return true;
	case MW_OP_FLUSH:
		return q->u.flush.pad == 0;
	case MW_OP_SHUTDOWN:
		return q->u.shutdown.pad == 0 && q->u.shutdown.how <= 2;
	case MW_OP_URGENT:
		return q->u.urgent.what <= MW_URGENT_OWNER && q->u.urgent.byte <= (q->u.urgent.what == MW_URGENT_SEND ? 255 : 0);
	case MW_OP_GRANT:
		return pages_ok(q->u.grant.rx_pages) && pages_ok(q->u.grant.tx_pages);
	case MW_OP_REVOKE:
		return q->u.revoke.pad == 0;
	case MW_OP_VERB:
		return q->u.verb.pad == 0;
	default:
		return false;
	}
}

int msg_request_check(struct mw_req *q, const void *from, size_t n)
{
	struct mw_req c;
	uint32_t fixed;

	if (n < HEADER)
		return -EPROTO;
	memset(&c, 0, sizeof(c));
	memcpy(&c, from, HEADER);
	fixed = msg_request_bytes(c.op);
	if (!fixed || n < fixed || c.bytes != n)
		return -EPROTO;
	memcpy(&c, from, fixed);
	if (!body_ok(&c) || n != fixed + value_of(&c))
		return -EPROTO;
	*q = c;
	return 0;
}

int msg_reply_check(struct mw_reply *r, const void *from, size_t n, const struct mw_req *asked)
{
	struct mw_reply c;

	if (n < sizeof(c))
		return -EPROTO;
	memcpy(&c, from, sizeof(c));
	if (c.bytes != n || c.value_bytes != n - sizeof(c) || c.value_bytes > value_of(asked))
		return -EPROTO;
	if (c.op != asked->op || c.seq != asked->seq)
		return -EPROTO;
	if (c.status > 0 || c.status < -4095)
		return -EPROTO;
	*r = c;
	return 0;
}

int msg_accepted_check(struct mw_accepted *c, const void *from, size_t n)
{
	struct mw_accepted a;

	if (n != sizeof(a))
		return -EPROTO;
	memcpy(&a, from, n);
	if (a.ins >= MW_INS_MAX || a.pad || !msg_addr_ok(&a.peer, true))
		return -EPROTO;
	*c = a;
	return 0;
}

int msg_control_next(struct mw_control *c, const void *control, uint32_t bytes, uint32_t *at)
{
	uint32_t left = bytes - *at;

	if (*at >= bytes)
		return 0;
	if (left < sizeof(*c))
		return -EPROTO;
	memcpy(c, (const uint8_t *)control + *at, sizeof(*c));
	if (c->bytes < sizeof(*c) || c->bytes > left)
		return -EPROTO;
	*at += ((uint32_t)c->bytes + 7) & ~7u;
	return 1;
}

static bool control_ok(const struct mw_dgram *d)
{
	struct mw_control c;
	uint32_t at = 0;
	int r;

	if (d->control_bytes > MW_DGRAM_CONTROL || d->control_bytes % 8)
		return false;
	do
		r = msg_control_next(&c, d->control, d->control_bytes, &at);
	while (r > 0);
	for (uint32_t i = d->control_bytes; i < MW_DGRAM_CONTROL; i++)
		if (d->control[i])
			return false;
	return r == 0;
}

int msg_dgram_check(struct mw_dgram *d, const void *from, size_t n)
{
	struct mw_dgram c;

	if (n < sizeof(c) || n > sizeof(c) + MW_DGRAM_PAYLOAD)
		return -EPROTO;
	memcpy(&c, from, sizeof(c));
	if ((c.kind != MW_DG_DATA && c.kind != MW_DG_ERROR) || c.flags & ~MW_DGF_ALL || c.pad || !msg_addr_ok(&c.peer, true))
		return -EPROTO;
	if ((c.kind == MW_DG_ERROR && n != sizeof(c)) || !control_ok(&c))
		return -EPROTO;
	*d = c;
	return 0;
}
