// SPDX-License-Identifier: Apache-2.0
/*
 * share.c - listeners that every INS of the application serves.
 * Trust: the broker is believed, in what it relays of another INS too, as far as an option's value is checked by option.c.
 *
 * A listener is configuration. The INS on which listen() was called tells the broker, which makes a socket that listens on the
 * same port in the network of each other INS, and gives it to that with a duplicate of the doorbell. So there are several
 * sockets of the stacks and one accept queue, the application's, into which each INS puts what it has accepted. The slot of
 * each has the listener's cookie: when the INS that the application asked dies, another answers for it.
 * The application's close is HUP on every duplicate. Its shutdown(), options and backlog go by way of the broker.
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan/msg.h"
#include "ins/accept.h"
#include "ins/gate.h"
#include "ins/observe.h"
#include "ins/operator.h"
#include "ins/option.h"
#include "ins/poll.h"
#include "ins/share.h"
#include "ins/slots.h"
#include "ins/uplink.h"
#include "link/broker.h"

/* There are few, and seldom asked for. */
static struct isock *find(uint32_t share)
{
	for (uint32_t i = 0; share && i < ins_arena()->slots_high; i++)
		if (sock_at(i)->gen & 1 && sock_at(i)->share == share)
			return sock_at(i);
	return NULL;
}

void share_ask(struct isock *l, struct broker_msg *m)
{
	m->cookie = mw_load(&shared_of(l)->ins.cookie);
	m->inherited = l->flags & F_URGENT_INLINE;
	m->lowat = l->lowat;
}

void share_told(struct isock *l, const struct mw_req_option *o, const uint8_t *value)
{
	struct broker_msg m = { .kind = BM_SET, .share = l->share, .level = o->level, .name = o->name, .bytes = o->bytes };

	if (o->have <= BM_VALUE_MAX && !(o->absent & MW_NO_VALUE))
		uplink_pass(&m, value, o->have);
}

void share_backlog(struct isock *l, int backlog)
{
	struct broker_msg m = { .kind = BM_SET, .share = l->share, .level = -1, .backlog = backlog };

	if (l->share)
		uplink_send(&m);
}

/* What a listener is besides its socket, as op.c makes it of an application's own. */
static void describe(struct isock *l, const struct broker_msg *m)
{
	struct mw_slot *s = shared_of(l);
	int type = 0;
	socklen_t n = sizeof(type);

	l->share = m->share;
	l->family = (uint16_t)m->name;
	l->type = MW_TYPE_STREAM;
	l->lowat = m->lowat;
	ins.stack->listen(l->tcp, operator_listen(l, m->backlog)); /* the operator may have ordered another for all */
	l->flags |= F_BOUND | (m->inherited & F_URGENT_INLINE) | (m->dual ? F_DUAL : 0);
	if (getsockopt(l->bell, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM) {
		l->flags |= F_STREAM;
		s->ins.lane = MW_LANE_STREAM;
	}
	s->ins.family = l->family;
	s->ins.type = MW_TYPE_STREAM;
	s->ins.urgent_inline = !!(l->flags & F_URGENT_INLINE);
	flow_of(l)->type = MW_TYPE_STREAM;
	option_was_set(l, SOL_SOCKET, SO_LINGER);
	option_was_set(l, 6, 3); /* TCP_CORK */
	operator_new(l);
	slots_names(l, NULL);
	observe_stack(l);
}

static void begin(const struct broker_msg *m, int fds[2])
{
	uint32_t slot;
	struct isock *l = fds[0] < 0 || fds[1] < 0 ? NULL : slots_new(&slot);

	if (!l)
		return;
	l->tcp = fds[0];
	l->bell = fds[1];
	fds[0] = fds[1] = -1;
	describe(l, m);
	if (poll_add(l->bell, EV_BELL, 0, slot, l->gen, EPOLLRDHUP | EPOLLET) < 0) {
		slots_free(slot);
		return;
	}
	gate_listen(l);
	slots_state(l, MW_ST_LISTEN);
	observe(l, MW_EV_LISTEN, flow_of(l)->id);
	accept_watch(l);
	mw_store_release(&shared_of(l)->ins.cookie, m->cookie);
}

static void set(struct isock *l, const struct broker_msg *m, const uint8_t *value)
{
	struct mw_req_option o = { .level = m->level, .name = m->name, .bytes = m->bytes };

	o.have = m->bytes < 0 ? 0 : (uint32_t)m->bytes < BM_VALUE_MAX ? (uint32_t)m->bytes : BM_VALUE_MAX;
	if (m->level < 0)
		ins.stack->listen(l->tcp, operator_listen(l, m->backlog));
	else
		option_set(l, &o, value, -1);
}

static void hosts(struct isock *l, int fds[2])
{
	while (l->extra_count) {
		int h = l->extra[--l->extra_count];

		mw_order();
		if (h != fds[0] && h != fds[1]) /* as those are which a worker had given it before it died */
			ins.stack->close(h);
	}
	for (int i = 0; i < 2; i++) {
		if (fds[i] < 0 || l->extra_count == EXTRA_MAX)
			continue;
		l->extra[l->extra_count] = fds[i];
		mw_order();
		l->extra_count++;
		fds[i] = -1;
	}
	if (!(l->flags & F_PAUSED))
		accept_watch(l);
}

void share_event(const struct broker_msg *m, const uint8_t *value, int fds[2])
{
	struct isock *l = find(m->share);

	if (m->kind == BM_SHARE && !l)
		begin(m, fds);
	else if (m->kind == BM_UNSHARE && l)
		slots_free(slot_of(l));
	else if (m->kind == BM_SET && l)
		set(l, m, value);
	else if (m->kind == BM_HOSTS && l)
		hosts(l, fds);
}
