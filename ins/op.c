// SPDX-License-Identifier: Apache-2.0
/*
 * op.c - the application's requests: one row each, {may carry a descriptor, allowed states, handler}.
 * Trust: a request is structurally right (chan/msg.c); its slot, generation, state, descriptor and option are
 * checked here.
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan/msg.h"
#include "ins/accept.h"
#include "ins/again.h"
#include "ins/app.h"
#include "ins/bell.h"
#include "ins/block.h"
#include "ins/dgram.h"
#include "ins/gate.h"
#include "ins/journal.h"
#include "ins/loopback.h"
#include "ins/observe.h"
#include "ins/op.h"
#include "ins/operator.h"
#include "ins/option.h"
#include "ins/poll.h"
#include "ins/share.h"
#include "ins/slots.h"
#include "ins/stream.h"
#include "ins/uplink.h"
#include "ins/urgent.h"
#include "ins/verb.h"
#include "ins/xen/front.h"
#include "link/broker.h"

#define LISTENER_QUEUE_BYTES (1 << 20) /* kernel memory for connections that wait on a listener's doorbell */
#define ST(s) (1u << (s))
#define ST_ANY 0xffffffffu
#define LATER 1 /* a handler's result: the broker will answer */
#define PENDING_BEFORE 0x100u /* job.state, beside the socket's */

struct call {
	uint32_t conn;
	struct mw_req *q;
	const uint8_t *value; /* of an option */
	int fd;
	struct isock *s;
	uint32_t slot;
	struct answer answer;
};

static void wait_for_broker(struct call *c)
{
	c->s->conn = c->conn;
	c->s->conn_gen = app_conn_gen(c->conn);
	c->s->seq = c->q->seq;
	c->s->asked = c->q->op;
	c->s->flags |= F_PENDING;
}

static void ask_broker(struct call *c, uint32_t kind, int fd)
{
	struct broker_msg m = { .kind = kind, .slot = c->slot, .gen = c->s->gen };

	m.addr = kind == BM_LISTEN ? flow_of(c->s)->local : c->q->u.addr;
	m.dual = !!(c->s->flags & F_DUAL);
	m.backlog = kind == BM_LISTEN ? c->q->u.listen.backlog : 0;
	wait_for_broker(c);
	if (kind == BM_LISTEN) {
		share_ask(c->s, &m);
		uplink_ask(&m, NULL, 0, (int[]){ c->s->tcp, c->s->bell });
	} else {
		uplink_ask(&m, NULL, 0, (int[]){ fd, -1 });
	}
}

/* A worker that died was at this before, and the socket's state was that. */
static bool was(uint32_t state)
{
	return journal->job.again && (journal->job.state & ~PENDING_BEFORE) == state;
}

/* SOCK_SEQPACKET or SOCK_STREAM; 0 for what is no doorbell. */
static int doorbell_type(int fd)
{
	int domain = 0, type = 0;
	socklen_t n = sizeof(int);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0 || domain != AF_UNIX ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0)
		return 0;
	return type == SOCK_SEQPACKET || type == SOCK_STREAM ? type : 0;
}

static int do_socket(struct call *c)
{
	const struct mw_req_socket *q = &c->q->u.socket;
	uint16_t type = q->type == MW_TYPE_LITE ? MW_TYPE_DGRAM : q->type;
	struct mw_slot *m;
	int r;

	if ((q->family != MW_FAMILY_IP4 && q->family != MW_FAMILY_IP6) ||
	    (type != MW_TYPE_STREAM && type != MW_TYPE_DGRAM))
		return -EAFNOSUPPORT;
	if (ins.door ? q->lane != MW_LANE_RING : !doorbell_type(c->fd) || (type == MW_TYPE_DGRAM && doorbell_type(c->fd) != SOCK_SEQPACKET))
		return -EPROTO;
	c->s = slots_new_for(type, &c->slot);
	if (!c->s)
		return ins.door ? -ENOBUFS : -ENFILE;
	c->s->family = q->family;
	c->s->type = type;
	c->s->tcp = ins.stack->socket(q->family, q->type);
	r = c->s->tcp < 0 ? c->s->tcp : ins.door ? 0 : bell_adopt(c->s, c->fd, doorbell_type(c->fd));
	if (r == 0 && type == MW_TYPE_DGRAM)
		r = dgram_start(c->s, q->lane);
	if (r < 0) {
		c->s->bell = -1;
		slots_free(c->slot);
		c->s = NULL;
		return r;
	}
	c->fd = -1;
	m = shared_of(c->s);
	m->ins.family = q->family;
	m->ins.type = type;
	flow_of(c->s)->type = q->type;
	slots_names(c->s, NULL);
	operator_new(c->s);
	observe_stack(c->s);
	observe(c->s, MW_EV_CREATE, flow_of(c->s)->id);
	mw_store_release(&m->ins.cookie, q->cookie);
	return 0;
}

static bool is_dual(struct isock *s)
{
	int only = 1;
	uint32_t n = sizeof(only);

	return s->family == MW_FAMILY_IP6 && ins.stack->getopt(s->tcp, 41, 26, &only, &n) == 0 && !only; /* V6ONLY */
}

static int do_bind(struct call *c)
{
	const struct mw_flow *f = flow_of(c->s);
	struct mw_addr name;
	int r;

	if (ins.publish && f->type == MW_TYPE_DGRAM && c->q->u.addr.port && !f->local.port) {
		if (is_dual(c->s))
			c->s->flags |= F_DUAL;
		ask_broker(c, BM_BOUND, -1); /* bound once the port is ours */
		return LATER;
	}
	r = stack_handle(c->s) < 0 ? -EINVAL : ins.stack->bind(stack_handle(c->s), &c->q->u.addr);
	if (r == -EINVAL && journal->job.again && ins.stack->name_of(stack_handle(c->s), &name, false) == 0 && name.port)
		r = 0;
	if (r == -EACCES && !ins.publish) { /* a privileged port: the broker may be allowed */
		ask_broker(c, BM_BIND, c->s->tcp);
		return LATER;
	}
	if (r == 0) {
		c->s->flags |= F_BOUND;
		slots_names(c->s, NULL);
		observe(c->s, MW_EV_BIND, flow_of(c->s)->id);
	}
	return r;
}

static int do_listen(struct call *c)
{
	int bytes = LISTENER_QUEUE_BYTES, r;

	if (was(MW_ST_OPEN))
		slots_state(c->s, MW_ST_OPEN);
	r = ins.stack->listen(c->s->tcp, operator_listen(c->s, c->q->u.listen.backlog));
	if (r == 0 && c->s->state == MW_ST_LISTEN)
		share_backlog(c->s, c->q->u.listen.backlog);
	if (r < 0 || c->s->state == MW_ST_LISTEN)
		return r;
	if (!ins.door)
		setsockopt(c->s->bell, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	slots_names(c->s, NULL);
	if (is_dual(c->s))
		c->s->flags |= F_DUAL;
	gate_listen(c->s);
	c->s->flags &= ~F_PAUSED; /* as which it was left when it listened before */
	c->s->refused = 0;
	slots_state(c->s, MW_ST_LISTEN);
	observe(c->s, MW_EV_LISTEN, flow_of(c->s)->id);
	if (ins.publish) {
		ask_broker(c, BM_LISTEN, -1);
		return LATER;
	}
	accept_watch(c->s);
	return 0;
}

static int do_connect(struct call *c)
{
	static const int busy[MW_ST_NUM] = { [MW_ST_LISTEN] = -EISCONN, [MW_ST_CONNECTING] = -EALREADY,
					     [MW_ST_ESTABLISHED] = -EISCONN, [MW_ST_CLOSED] = -ECONNABORTED };
	struct isock *s = c->s;
	int r, watched;

	if (block_hits(&c->q->u.addr))
		return -EACCES;
	if (s->type == MW_TYPE_DGRAM)
		return dgram_connect(s, &c->q->u.addr);
	if (s->state != MW_ST_OPEN)
		return !was(MW_ST_OPEN) ? busy[s->state] : s->state == MW_ST_CONNECTING ? -EINPROGRESS : 0;
	if (s->flags & F_STREAM)
		stream_filled(s);
	r = ins.stack->connect(s->tcp, &c->q->u.addr);
	if (was(MW_ST_OPEN))
		r = r == -EALREADY ? -EINPROGRESS : r == -EISCONN ? 0 : r;
	if ((r < 0 && r != -EINPROGRESS) || c->q->u.addr.family == MW_FAMILY_NONE) {
		s->flags |= F_WANT_SPACE;
		bell_drain(s);
		return r;
	}
	s->flags &= ~F_LOOP_ASKED;
	watched = poll_add(s->tcp, EV_TCP, 0, c->slot, s->gen, TCP_MASK);
	if (watched < 0)
		return watched;
	slots_names(s, &c->q->u.addr);
	s->refused = 0;
	flow_of(s)->opened_ns = ins.now_ns;
	slots_state(s, r == 0 ? MW_ST_ESTABLISHED : MW_ST_CONNECTING);
	if (r == 0)
		observe(s, MW_EV_CONNECT, flow_of(s)->id);
	if (r == 0)
		bell_drain(s);
	return r;
}

static int do_stream(struct call *c)
{
	int r;

	if (ins.door)
		return -EOPNOTSUPP;
	if (c->s->flags & F_STREAM && c->s->bell != c->fd)
		return -EALREADY;
	if (doorbell_type(c->fd) != SOCK_STREAM || c->s->type != MW_TYPE_STREAM)
		return -EPROTO;
	r = stream_adopt(c->s, c->fd, c->q->u.stream.cookie);
	if (r == 0)
		c->fd = -1;
	return r;
}

static int do_again(struct call *c)
{
	int r = again_start(c->q->slot, c->q->gen, c->fd, doorbell_type(c->fd), c->q->u.stream.cookie, &c->slot);

	if (r == 0)
		c->fd = -1;
	return r;
}

/* The application may have the privilege that we lack: the broker sees for itself, and sets it if so. */
static void ask_privileged(struct call *c, int refused)
{
	const struct mw_req_option *o = &c->q->u.option;
	struct broker_msg m = { .kind = BM_OPTION, .slot = c->slot, .gen = c->s->gen, .status = refused,
				.level = o->level, .name = o->name, .bytes = o->bytes };
	int fds[2] = { stack_handle(c->s), app_conn_fd(c->conn) };

	wait_for_broker(c);
	uplink_ask(&m, c->value, o->have < BM_VALUE_MAX ? o->have : BM_VALUE_MAX, fds);
}

static int do_setsockopt(struct call *c)
{
	const struct mw_req_option *o = &c->q->u.option;
	int r = option_set(c->s, o, c->value, c->fd);

	if (r == 0 && c->s->share)
		share_told(c->s, o, c->value);
	if ((r != -EPERM && r != -EACCES) || o->absent & MW_NO_PRIVILEGE || stack_handle(c->s) < 0 || c->s->flags & F_PENDING || o->bytes < 0)
		return r;
	ask_privileged(c, r);
	return LATER;
}

static int do_getsockopt(struct call *c)
{
	return option_get(c->s, &c->q->u.option, c->value, &c->answer);
}

static int do_ioctl(struct call *c)
{
	return option_ioctl(c->s, &c->q->u.option, c->value, &c->answer);
}

static int do_flush(struct call *c)
{
	return c->s->type == MW_TYPE_DGRAM ? dgram_flush(c->s, c->q->u.flush.tag) : -EINVAL;
}

static int do_shutdown(struct call *c)
{
	return c->s->type == MW_TYPE_DGRAM ? dgram_shutdown(c->s, c->q->u.shutdown.how) : -EINVAL;
}

static int do_urgent(struct call *c)
{
	const struct mw_req_urgent *q = &c->q->u.urgent;
	int r;

	if (c->s->type != MW_TYPE_STREAM)
		return -EINVAL;
	if (q->what == MW_URGENT_SEND)
		return urgent_send(c->s, (uint8_t)q->byte);
	if (q->what != MW_URGENT_OWNER)
		return urgent_take(c->s, q->what == MW_URGENT_PEEK, &c->answer.length);
	if (ins.door)
		return -EOPNOTSUPP;
	r = doorbell_type(c->fd) == SOCK_STREAM ? urgent_owner(c->s, c->fd) : -EPROTO;
	if (r == 0)
		c->fd = -1;
	return r;
}

/* The slot is in nobody's use, and so no socket's: it is looked at here. */
static int do_grant(struct call *c)
{
	const struct mw_req_grant *g = &c->q->u.grant;

	c->slot = c->q->slot;
	return !ins.door ? -EOPNOTSUPP : memory_grant(c->slot, g->rx_pages, g->tx_pages, c->value, journal->job.again);
}

static int do_revoke(struct call *c)
{
	c->slot = c->q->slot;
	return !ins.door ? -EOPNOTSUPP : memory_revoke(c->slot, journal->job.again);
}

static int do_verb(struct call *c)
{
	return !ins.door ? -EOPNOTSUPP : verb_asked(c->value, c->q->seq, &c->answer);
}

static const struct {
	int (*handle)(struct call *c);
	uint32_t states; /* of the socket; 0: the request names none that lives */
} rows[MW_OP_NUM] = {
	[MW_OP_SOCKET]     = { do_socket, 0 },
	[MW_OP_BIND]       = { do_bind, ST_ANY },
	[MW_OP_LISTEN]     = { do_listen, ST(MW_ST_OPEN) | ST(MW_ST_LISTEN) },
	[MW_OP_CONNECT]    = { do_connect, ST_ANY },
	[MW_OP_SETSOCKOPT] = { do_setsockopt, ST_ANY },
	[MW_OP_GETSOCKOPT] = { do_getsockopt, ST_ANY },
	[MW_OP_STREAM]     = { do_stream, ST(MW_ST_ESTABLISHED) },
	[MW_OP_FLUSH]      = { do_flush, ST(MW_ST_OPEN) | ST(MW_ST_ESTABLISHED) },
	[MW_OP_SHUTDOWN]   = { do_shutdown, ST(MW_ST_OPEN) | ST(MW_ST_ESTABLISHED) },
	[MW_OP_IOCTL]      = { do_ioctl, ST_ANY },
	[MW_OP_AGAIN]      = { do_again, 0 },
	[MW_OP_URGENT]     = { do_urgent, ST_ANY },
	[MW_OP_GRANT]      = { do_grant, 0 },
	[MW_OP_REVOKE]     = { do_revoke, 0 },
	[MW_OP_VERB]       = { do_verb, 0 },
};

static bool about_options(uint32_t op)
{
	return op == MW_OP_SETSOCKOPT || op == MW_OP_GETSOCKOPT || op == MW_OP_IOCTL;
}

/* For a worker that has to do it again. */
static void note_before(struct isock *s)
{
	struct job *j = &journal->job;
	uint32_t bits = s->state | (s->flags & F_PENDING ? PENDING_BEFORE : 0);

	if (!j->again)
		j->state = bits;
	else if (!(j->state & PENDING_BEFORE))
		s->flags &= ~F_PENDING;
}

static int run(struct call *c)
{
	uint32_t states = rows[c->q->op].states;

	if (!states)
		return rows[c->q->op].handle(c);
	c->slot = c->q->slot;
	c->s = about_options(c->q->op) ? slots_find_asked(c->q->slot, c->q->gen) : slots_find(c->q->slot, c->q->gen);
	if (!c->s || c->s->flags & F_APP_GONE || c->s->unseen)
		return -EBADF;
	note_before(c->s);
	if (!(states & ST(c->s->state)) || (c->s->flags & F_PENDING && states != ST_ANY))
		return -EINVAL;
	if (c->s->type == MW_TYPE_DGRAM && c->q->op != MW_OP_FLUSH && c->q->op != MW_OP_GETSOCKOPT)
		dgram_changed(c->s);
	return rows[c->q->op].handle(c);
}

/* Must the answer wait until this machine is done? Connecting to itself it is, and when it is asked for 0 bytes. */
static bool settles(const struct call *c)
{
	const struct mw_flow *f = c->s ? flow_of(c->s) : NULL;

	if (c->q->op == MW_OP_GETSOCKOPT)
		return c->q->u.option.bytes == 0 && c->q->u.option.level == SOL_SOCKET && c->q->u.option.name == SO_ERROR;
	return c->q->op == MW_OP_CONNECT && f && !memcmp(f->local.addr, f->peer.addr, sizeof(f->local.addr));
}

static void answer(struct call *c, int r)
{
	if (settles(c))
		app_reply_settled(c->conn, app_conn_gen(c->conn), c->q, r, c->slot);
	else
		app_reply(c->conn, app_conn_gen(c->conn), c->q, r, c->slot, &c->answer);
}

void op_handle(uint32_t conn, struct mw_req *q, const uint8_t *value, int fd)
{
	struct call c = { .conn = conn, .q = q, .value = value, .fd = fd, .answer.length = q->u.option.bytes };
	int r;

	if (q->op == MW_OP_HELLO) {
		app_reply_hello(conn, q);
	} else {
		r = run(&c);
		if (r != LATER)
			answer(&c, r);
	}
	if (c.fd >= 0)
		close(c.fd);
}

/* The broker's listeners of the host's loopback join the socket's own. */
static int listen_answered(struct isock *s, const struct broker_msg *m, int *fds, int count)
{
	if (journal->job.again)
		s->extra_count = 0;
	for (int i = 0; i < count && i < EXTRA_MAX && m->status == 0; i++) {
		option_copy(s->tcp, fds[i]);
		s->extra[s->extra_count] = fds[i];
		mw_order();
		s->extra_count++;
		fds[i] = -1;
	}
	s->share = m->status == 0 ? m->share : 0;
	if (m->status == 0)
		accept_watch(s);
	else
		slots_state(s, MW_ST_OPEN);
	return m->status;
}

/* To whom wait_for_broker() noted. */
static void answer_late(struct isock *s, int r)
{
	app_reply_late(s, r);
	s->flags &= ~F_PENDING;
	deed_end();
}

void op_abandon(struct isock *s)
{
	if (s->flags & F_PENDING)
		answer_late(s, -EBADF);
}

static void was_set(struct isock *s, int level, int name)
{
	operator_app_set(s, level, name);
	option_was_set(s, level, name);
}

void op_broker_answer(const struct broker_msg *m, int *fds, int count)
{
	struct isock *s = slots_find_asked(m->slot, m->gen);
	int r = m->status;

	if (m->kind == BM_LOOPBACK) {
		loopback_answer(m, &fds[0]);
	} else if (s && s->flags & F_PENDING && m->kind < BM_NUM) {
		if (m->kind == BM_LISTEN)
			r = listen_answered(s, m, fds, count);
		else if (m->kind == BM_BOUND)
			r = dgram_bound(s, m, fds, count);
		else if (m->status == 0 && m->kind == BM_OPTION)
			was_set(s, m->level, m->name);
		else if (m->status == 0)
			slots_names(s, NULL);
		answer_late(s, r);
	}
	for (int i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}
