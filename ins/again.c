// SPDX-License-Identifier: Apache-2.0
/*
 * again.c - a connect() that failed, and the socket that may connect once more.
 * Trust: slot and generation are the application's word: looked up, and only what has failed is given a new slot.
 *
 * Linux tells of the failure once and then has the socket as it was. A doorbell that showed it is closed, and of no more use.
 * So when the application calls connect() again it brings a new one, and the stack's socket moves to a slot of its own with
 * it: name and options are where they always were, and the old slot ends with the old doorbell.
 *
 * On the stream lane nothing tells when the application closes that (stream.c), so the orphan keeps the stack's socket until its
 * slot is used for another. But not its port: who was bound has a socket with the same options there, and is bound again.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "ins/again.h"
#include "ins/bell.h"
#include "ins/data.h"
#include "ins/observe.h"
#include "ins/operator.h"
#include "ins/option.h"
#include "ins/slots.h"
#include "link/sockopts.h"

static void copy_option(int from, int to, int level, int name)
{
	uint8_t was[32], is[32];
	uint32_t n = sizeof(was), m = sizeof(is);

	if (ins.stack->getopt(from, level, name, was, &n) < 0 || ins.stack->getopt(to, level, name, is, &m) < 0 ||
	    (n == m && !memcmp(was, is, n)))
		return;
	n = sockopts_settable(level, name, was, n);
	ins.stack->setopt(to, level, name, was, n);
}

void again_options(int from, int to)
{
	for (int i = 0; sockopts_kept[i][0] >= 0; i++)
		copy_option(from, to, sockopts_kept[i][0], sockopts_kept[i][1]);
}

/* Gives up the attempt, as connect() with AF_UNSPEC. */
static void undo(int h)
{
	static const struct mw_addr none;

	ins.stack->connect(h, &none);
}

/* A socket of our own stack with the same options, or -errno. */
static int like(const struct isock *s, int h)
{
	int to = ins.stack->socket(s->family, s->type);

	if (to >= 0)
		again_options(h, to);
	return to;
}

/* The host's socket was for that one attempt: see loopback.c. */
static void leave_host(struct isock *s)
{
	struct mw_addr own;
	bool named;
	int to = like(s, s->tcp);

	if (to < 0)
		return;
	undo(s->tcp);
	named = s->flags & F_BOUND && ins.stack->name_of(s->tcp, &own, false) == 0;
	ins.stack->close(s->tcp);
	s->tcp = to;
	observe_stack(s);
	if (named)
		ins.stack->bind(to, &own);
}

void again_failed(struct isock *s, int error)
{
	if (s->flags & F_HOSTS)
		leave_host(s);
	s->flags &= ~F_HOSTS;
	if (!(mw_load_acquire(&shared_of(s)->app.flags) & MW_APP_CONNECT_WAITS)) {
		data_fail(s, error, MW_END_REFUSED);
		return;
	}
	undo(s->tcp); /* connect() waits for this answer and nobody looks at the doorbell: as it was before */
	slots_names(s, NULL);
	shared_of(s)->ins.error = error;
	s->refused = error;
	slots_state(s, MW_ST_OPEN);
	s->flags |= F_WANT_SPACE;
	bell_drain(s);
}

int again_keep(struct isock *s)
{
	int h = s->dead;

	s->dead = -1;
	if (s->flags & F_BOUND && h >= 0) {
		int to = like(s, h);

		ins.stack->close(h);
		h = to;
	}
	return h < 0 ? -1 : h;
}

/* What the stack's socket is, its new slot knows. */
static void settle(struct isock *s, const struct isock *old)
{
	struct mw_slot *m = shared_of(s);

	s->flags |= old->flags & F_BOUND;
	s->lowat = old->lowat;
	m->ins.lowat = (uint32_t)old->lowat;
	m->ins.family = s->family;
	m->ins.type = s->type;
	flow_of(s)->type = flow_of(old)->type;
	undo(s->tcp);
	if (!(old->gen & 1) && s->flags & F_BOUND) /* an orphan's */
		ins.stack->bind(s->tcp, &flow_of(old)->local);
	option_was_set(s, SOL_SOCKET, SO_LINGER);
	option_was_set(s, IPPROTO_TCP, TCP_CORK);
	operator_accepted(old, s);
	slots_names(s, NULL);
	observe_stack(s);
	observe(s, MW_EV_CREATE, flow_of(s)->id);
}

int again_start(uint32_t from, uint32_t gen, int fd, int type, uint64_t cookie, uint32_t *slot)
{
	struct isock *old = slots_find_asked(from, gen), *s;
	int r;

	if (!old || old->dead < 0 || flow_of(old)->end != MW_END_REFUSED)
		return -EINVAL;
	if (!ins.door && type != (old->flags & F_STREAM ? SOCK_STREAM : SOCK_SEQPACKET))
		return -EPROTO;
	s = slots_new(slot);
	if (s == old) /* the last that there is, and its socket was closed */
		slots_free(*slot);
	if (!s || s == old)
		return ins.door ? -ENOBUFS : -ENFILE;
	s->family = old->family;
	s->type = old->type;
	r = ins.door ? 0 : bell_adopt(s, fd, type);
	if (r < 0) {
		s->bell = -1;
		slots_free(*slot);
		return r;
	}
	s->tcp = old->dead;
	old->dead = -1;
	settle(s, old);
	mw_store_release(&shared_of(s)->ins.cookie, cookie);
	return 0;
}
