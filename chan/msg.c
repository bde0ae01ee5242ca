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
};

uint32_t msg_request_bytes(uint32_t op)
{
	return op < MW_OP_NUM && ops[op].body ? HEADER + ops[op].body : 0;
}

void msg_request_seal(struct mw_req *q, uint32_t op, uint32_t seq)
{
	q->op = (uint16_t)op;
	q->bytes = (uint16_t)msg_request_bytes(op);
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

/* A value only where one is set, and nothing behind it. */
static bool option_ok(const struct mw_req_option *o, bool set)
{
	if (o->pad || o->bytes > MW_VALUE_MAX)
		return false;
	for (uint32_t i = set ? o->bytes : 0; i < MW_VALUE_MAX; i++)
		if (o->value[i])
			return false;
	return true;
}

static bool body_ok(const struct mw_req *q)
{
	switch (q->op) {
	case MW_OP_HELLO:
		return q->u.hello.pad == 0;
	case MW_OP_SOCKET:
		return q->u.socket.pad == 0;
	case MW_OP_BIND:
	case MW_OP_CONNECT:
		return msg_addr_ok(&q->u.addr, true);
	case MW_OP_LISTEN:
		return q->u.listen.pad == 0;
	case MW_OP_SETSOCKOPT:
	case MW_OP_GETSOCKOPT:
		return option_ok(&q->u.option, q->op == MW_OP_SETSOCKOPT);
	case MW_OP_STREAM:
		return true;
	default:
		return false;
	}
}

int msg_request_check(struct mw_req *q, const void *from, size_t n)
{
	struct mw_req c;

	if (n < HEADER || n > sizeof(c))
		return -EPROTO;
	memset(&c, 0, sizeof(c));
	memcpy(&c, from, n);
	if (c.bytes != n || n != msg_request_bytes(c.op) || !body_ok(&c))
		return -EPROTO;
	*q = c;
	return 0;
}

int msg_reply_check(struct mw_reply *r, const void *from, size_t n, const struct mw_req *asked)
{
	struct mw_reply c;

	if (n < MW_REPLY_HEADER || n > sizeof(c))
		return -EPROTO;
	memset(&c, 0, sizeof(c));
	memcpy(&c, from, n);
	if (c.bytes != n || c.value_bytes != n - MW_REPLY_HEADER)
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
	if (!msg_addr_ok(&a.peer, true))
		return -EPROTO;
	*c = a;
	return 0;
}
