// SPDX-License-Identifier: Apache-2.0
/*
 * verb.c - what an operator has decided of a connection, carried out here, where it takes effect at once.
 * Trust: records come from telemetry, which parses what clients send: each is checked, and names a socket by its generation,
 * so that one which has ended is never mistaken for its successor.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ins/ins.h"
#include "link/telem.h"

#define AT_ONCE 64 /* then connections have their turn */

static uint8_t value[VERB_VALUE_MAX];

static void acted(struct isock *s, const struct verb_msg *m)
{
	struct mw_flow *f = flow_of(s);

	f->verdict = m->verdict;
	f->verb = m->verb;
	f->verdicts++;
	observe(s, MW_EV_VERB, f->id);
}

/* The peer gets what the stack has taken so far, and FIN; or a reset. The application sees a reset either way. */
static int end(struct isock *s, const struct verb_msg *m)
{
	if (s->type != MW_TYPE_STREAM || s->state < MW_ST_CONNECTING || s->tcp < 0)
		return s->state == MW_ST_CLOSED ? -ESTALE : -EOPNOTSUPP;
	acted(s, m);
	if (m->verb == VERB_CLOSE)
		ins.stack->shutdown_send(s->tcp);
	else
		ins.stack->abort(s->tcp);
	if (m->verb == VERB_RESET)
		s->tcp = -1;
	data_fail(s, ECONNRESET, MW_END_VERB);
	return 0;
}

static int set(struct isock *s, const struct verb_msg *m)
{
	int r = s->tcp < 0 ? -ESTALE : ins.stack->setopt(s->tcp, m->level, m->name, value, m->bytes);

	if (r == 0)
		acted(s, m);
	return r;
}

static int get(struct isock *s, struct verb_msg *m)
{
	return s->tcp < 0 ? -ESTALE : ins.stack->getopt(s->tcp, m->level, m->name, value, &m->bytes);
}

static int carry_out(struct verb_msg *m)
{
	struct isock *s = slots_find(m->slot, m->gen);

	if (!s)
		return -ESTALE;
	switch (m->verb) {
	case VERB_CLOSE:
	case VERB_RESET:
		return end(s, m);
	case VERB_SET:
		return set(s, m);
	case VERB_GET:
		return get(s, m);
	}
	return -EINVAL;
}

/* The value's length: of a GET it is the room for it. */
static bool verb_ok(const struct verb_msg *m, size_t n)
{
	size_t has = n - sizeof(*m);

	return n >= sizeof(*m) && m->bytes <= VERB_VALUE_MAX && has == (m->verb == VERB_SET ? m->bytes : 0);
}

static bool serve_one(void)
{
	struct verb_msg m;
	struct iovec iov[] = { { &m, sizeof(m) }, { value, sizeof(value) } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = recvmsg(INS_VERBS_FD, &h, MSG_DONTWAIT);

	if (n <= 0)
		return false;
	if (!verb_ok(&m, (size_t)n))
		return true;
	m.status = carry_out(&m);
	iov[1].iov_len = m.verb == VERB_GET && m.status == 0 ? m.bytes : 0;
	return sendmsg(INS_VERBS_FD, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

void verb_event(void)
{
	for (int i = 0; i < AT_ONCE; i++)
		if (!serve_one())
			return;
}

int verb_init(void)
{
	return poll_add(INS_VERBS_FD, EV_VERB, 0, 0, 0, EPOLLIN);
}
