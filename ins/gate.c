// SPDX-License-Identifier: Apache-2.0
/*
 * gate.c - connections that the application does not see until they have sent something worth its time.
 * Trust: peers decide what they send and when; each costs a slot, a descriptor and what it has sent, until its deadline. An
 * operator's settings are checked.
 *
 * A held connection has no doorbell. It is read like any other, into its rx ring, so that nothing is lost or copied when it
 * goes on. It waits in its listener's list, oldest first; since all of one listener have the same time to live, the first of
 * each list are all that a deadline needs looking at. Nothing wakes us while nobody is held.
 * Room: beyond half of the slots, or when there is no slot left, the one held longest goes; beyond a peer's share, that
 * peer's oldest. The newcomer stays: an honest one is complete at once, and a crowd of slow ones drives out itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "ins/accept.h"
#include "ins/gate.h"
#include "ins/head.h"
#include "ins/journal.h"
#include "ins/list.h"
#include "ins/observe.h"
#include "ins/slots.h"
#include "ins/state.h"
#include "ins/verb.h"
#include "lib/clock.h"
#include "link/telem.h"

#define BUCKETS_BITS  12
#define DROPS_AT_ONCE 256 /* then others have their turn */
#define RULES_MAX     64
#define WAIT (-1)         /* judge() */
#define PASS 0
#define GATE_AT_FIRST ((struct gate_settings){ GATE_NONE, GATE_DEADLINE_MS, GATE_LIMIT_BYTES, GATE_PER_PEER })

/* What is known of a held connection beside its socket. */
struct hold {
	int64_t since_ms;
	uint64_t peer[2];      /* as much of the address as counts */
	uint32_t next, prev;   /* of the same bucket, newest first */
};

static struct hold *holds;     /* by slot */
static uint32_t buckets[1u << BUCKETS_BITS], total;
static uint64_t secret[3];     /* nobody chooses addresses that fall into one bucket */
static struct list gated = { NO_SLOT, NO_SLOT, 0 }; /* listeners that hold somebody */

/* Settings by port: an operator's, else the command line's, else those that the command line has for all. */
struct rule {
	uint16_t port;
	struct gate_settings gate;
};
static struct rules {
	size_t count;
	struct rule rule[RULES_MAX];
} *ordered, given;
static struct gate_settings common = GATE_AT_FIRST;

int gate_init(uint32_t slots)
{
	holds = state_block("held", slots * sizeof(*holds));
	ordered = state_block("gate rules", sizeof(*ordered));
	memset(buckets, 0xff, sizeof(buckets)); /* NO_SLOT */
	if (!holds || !ordered)
		return -ENOMEM;
	return getrandom(secret, sizeof(secret), 0) == sizeof(secret) ? 0 : -EIO;
}

static struct hold *hold_of(const struct isock *s)
{
	return &holds[slot_of(s)];
}

static struct isock *listener_socket(const struct isock *s)
{
	return sock_at((uint32_t)flow_of(s)->listener);
}

/* --- settings --- */

static struct rule *rule_of(struct rules *r, uint16_t port)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->rule[i].port == port)
			return &r->rule[i];
	return NULL;
}

static const struct gate_settings *settings_of(uint16_t port)
{
	const struct rule *r = rule_of(ordered, port);

	if (!r)
		r = rule_of(&given, port);
	return r ? &r->gate : &common;
}

/* False: there is no room for another port. */
static bool keep(struct rules *all, uint16_t port, const struct gate_settings *g)
{
	struct rule *r = rule_of(all, port);

	if (!r && all->count == RULES_MAX)
		return false;
	if (r) {
		r->gate = *g;
		return true;
	}
	all->rule[all->count] = (struct rule){ port, *g };
	mw_order();
	all->count++;
	return true;
}

static void change_one(uint32_t *old, uint32_t new)
{
	if (new != GATE_KEEP)
		*old = new;
}

static void change(struct gate_settings *old, const struct gate_settings *new)
{
	change_one(&old->mode, new->mode);
	change_one(&old->deadline_ms, new->deadline_ms);
	change_one(&old->limit_bytes, new->limit_bytes);
	change_one(&old->per_peer, new->per_peer);
}

bool gate_rule(const char *text)
{
	struct gate_settings g = GATE_AT_FIRST, said;
	uint16_t port;

	if (!gate_parse(text, &port, &said))
		return false;
	change(&g, &said);
	if (port)
		return keep(&given, port, &g);
	common = g;
	return true;
}

void gate_listen(struct isock *l)
{
	*listener_of(l) = (struct listener){ LIST_EMPTY, LIST_EMPTY, { .settings = *settings_of(flow_of(l)->local.port) } };
}

/* --- who is held --- */

/* An IPv6 client has a /64 to choose from. IPv4 as IPv6 has zeroes there. */
static void peer_of(const struct isock *s, uint64_t peer[2])
{
	memcpy(peer, flow_of(s)->peer.addr, 16);
	if (flow_of(s)->peer.family == MW_FAMILY_IP6 && peer[0])
		peer[1] = 0;
}

static uint32_t *bucket_of(const struct hold *h)
{
	uint64_t n = (h->peer[0] ^ secret[0]) * (secret[1] | 1);

	n = (n ^ n >> 32 ^ h->peer[1]) * (secret[2] | 1);
	return &buckets[n >> (64 - BUCKETS_BITS)];
}

static void into_bucket(const struct isock *s)
{
	struct hold *h = hold_of(s);
	uint32_t *bucket = bucket_of(h);

	h->prev = NO_SLOT;
	h->next = *bucket;
	if (h->next != NO_SLOT)
		holds[h->next].prev = slot_of(s);
	*bucket = slot_of(s);
}

static void take_in(struct isock *l, struct isock *s)
{
	into_bucket(s);
	if (!listener_of(l)->held.count)
		list_append(&gated, l);
	s->unseen = true;
	mw_store(&flow_of(s)->state, MW_ST_HELD);
	mw_order();
	list_append(&listener_of(l)->held, s);
	total++;
}

static bool is_held(const struct isock *s, const struct isock *l)
{
	return s->gen & 1 && s->unseen && !s->ready && !s->ending && flow_of(s)->listener == flow_of(l)->id;
}

static bool is_ready(const struct isock *s, const struct isock *l)
{
	return s->gen & 1 && s->ready && !s->ending && flow_of(s)->listener == flow_of(l)->id;
}

/* A listener's lists, and with them what else is known of who is held. */
void gate_recover(struct isock *l)
{
	struct list *held = &listener_of(l)->held;

	list_recover(&listener_of(l)->ready, is_ready, l);
	list_recover(held, is_held, l);
	if (held->count)
		list_append(&gated, l);
	total += held->count;
	for (uint32_t i = held->first; i != NO_SLOT; i = sock_at(i)->next)
		into_bucket(sock_at(i));
}

void gate_forget(struct isock *s)
{
	struct isock *l = listener_socket(s);
	struct hold *h = hold_of(s);

	if (h->prev == NO_SLOT)
		*bucket_of(h) = h->next;
	else
		holds[h->prev].next = h->next;
	if (h->next != NO_SLOT)
		holds[h->next].prev = h->prev;
	list_remove(&listener_of(l)->held, s);
	if (!listener_of(l)->held.count)
		list_remove(&gated, l);
	total--;
	s->unseen = false;
}

/* With a reset: a peer that is not worth the application's time is not worth the kernel's either. */
static void drop(struct isock *s, int error)
{
	struct mw_flow *f = flow_of(s);

	listener_of(listener_socket(s))->gate.dropped++;
	f->error = error;
	f->end = MW_END_GATE;
	observe(s, MW_EV_GATE, f->id);
	slots_abort(s);
	slots_free(slot_of(s));
}

static void pass(struct isock *s)
{
	struct isock *l = listener_socket(s);

	listener_of(l)->gate.passed++;
	gate_forget(s);
	mw_store(&flow_of(s)->state, MW_ST_ESTABLISHED);
	accept_ready(l, s);
}

bool gate_make_room(void)
{
	struct isock *oldest = NULL;

	for (uint32_t i = gated.first; i != NO_SLOT; i = sock_at(i)->next) {
		struct isock *s = sock_at(ins.listeners[i].held.first);

		if (!oldest || hold_of(s)->since_ms < hold_of(oldest)->since_ms)
			oldest = s;
	}
	if (oldest)
		drop(oldest, ENOBUFS);
	return oldest;
}

/* Makes room for one more of that peer. Newest first, so those that go are the oldest. */
static void cap(const struct hold *h, const struct isock *l)
{
	uint32_t most = listener_of(l)->gate.settings.per_peer, count = 0, next;

	for (uint32_t i = most ? *bucket_of(h) : NO_SLOT; i != NO_SLOT; i = next) {
		next = holds[i].next;
		if (holds[i].peer[0] == h->peer[0] && holds[i].peer[1] == h->peer[1] && listener_socket(sock_at(i)) == l &&
		    ++count >= most)
			drop(sock_at(i), EDQUOT);
	}
}

static void begin_head(struct isock *s, uint32_t mode)
{
	s->head = (struct head){ .kind = mode == GATE_HTTP ? HEAD_HTTP : mode == GATE_TLS ? HEAD_TLS : HEAD_ANY };
}

bool gate_hold(struct isock *l, struct isock *s)
{
	struct hold *h = hold_of(s);

	if (listener_of(l)->gate.settings.mode == GATE_NONE)
		return false;
	begin_head(s, listener_of(l)->gate.settings.mode);
	peer_of(s, h->peer);
	h->since_ms = clock_ms();
	cap(h, l);
	if (total >= ins.view.slots / 2)
		gate_make_room();
	take_in(l, s);
	job_end_of(JOB_ACCEPT);
	return true;
}

/* PASS, WAIT, or the error to drop it with. However the bytes were split, the outcome is the same. */
static int judge(const struct isock *s, const struct gate_settings *g)
{
	const struct head *h = &s->head;

	if (g->mode == GATE_NONE || (g->mode == GATE_DATA && s->rx_prod))
		return PASS;
	if (h->bytes > g->limit_bytes)
		return EMSGSIZE;
	if (s->rx_urgent && !(s->flags & F_URGENT_INLINE))
		return EPROTO; /* it is in the ring, but not among what the application reads */
	if (h->state == MW_HEAD_COMPLETE || (h->kind == HEAD_PLAIN && g->mode == GATE_AUTO))
		return PASS;
	if (h->state == MW_HEAD_OTHER)
		return h->bytes == HEAD_BYTES_MAX ? EMSGSIZE : EPROTO;
	return s->flags & F_RX_DONE ? ENODATA : WAIT;
}

void gate_received(struct isock *s)
{
	int r = judge(s, &listener_of(listener_socket(s))->gate.settings);

	if (r == PASS)
		pass(s);
	else if (r != WAIT)
		drop(s, r);
}

void gate_close(struct isock *l)
{
	while (listener_of(l)->held.count)
		drop(sock_at(listener_of(l)->held.first), ECONNABORTED);
}

/* --- time --- */

static int64_t due_ms(const struct isock *l)
{
	return holds[listener_of(l)->held.first].since_ms + listener_of(l)->gate.settings.deadline_ms;
}

int gate_wait_ms(void)
{
	int64_t first = INT64_MAX;

	if (!total)
		return -1;
	for (uint32_t i = gated.first; i != NO_SLOT; i = sock_at(i)->next)
		if (due_ms(sock_at(i)) < first)
			first = due_ms(sock_at(i));
	return clock_until(first);
}

void gate_tick(void)
{
	int64_t now = total ? clock_ms() : 0;
	int left = DROPS_AT_ONCE;
	uint32_t next;

	for (uint32_t i = gated.first; i != NO_SLOT; i = next) {
		struct isock *l = sock_at(i);

		next = l->next;
		while (left && listener_of(l)->held.count && due_ms(l) <= now) {
			drop(sock_at(listener_of(l)->held.first), ETIMEDOUT);
			left--;
		}
	}
}

/* --- a change while it runs --- */

/* Those that are held, by the new rule. What they sent is looked at again: all of it is in the ring. */
static void again(struct isock *l)
{
	uint32_t next;

	for (uint32_t i = listener_of(l)->held.first; i != NO_SLOT; i = next) {
		struct isock *s = sock_at(i);

		next = s->next;
		begin_head(s, listener_of(l)->gate.settings.mode);
		observe_head(s, 0);
		gate_received(s);
	}
}

/* All listeners of that port, as its settings are now: how many. */
static uint64_t apply(uint16_t port, const struct verb_msg *m)
{
	uint64_t hit = 0;

	for (uint32_t at = 0; at < observe_header()->slots_high; at++) {
		struct isock *l = sock_at(at);

		if (!(l->gen & 1) || l->state != MW_ST_LISTEN || flow_of(l)->local.port != port)
			continue;
		listener_of(l)->gate.settings = *settings_of(port);
		verb_acted(l, m->verb, m->verdict);
		again(l);
		hit++;
	}
	return hit;
}

int gate_change(struct verb_msg *m, const void *value)
{
	struct gate_settings new, g;
	struct rule *r;

	if (m->number == 0 || m->number > UINT16_MAX || m->bytes != (m->flags & VERB_UNDO ? 0 : sizeof(new)))
		return -EINVAL;
	r = rule_of(ordered, (uint16_t)m->number);
	if (m->flags & VERB_UNDO) {
		if (!r)
			return -ENOENT;
		*r = ordered->rule[ordered->count - 1];
		mw_order();
		ordered->count--;
	} else {
		memcpy(&new, value, sizeof(new));
		if (!gate_ok(&new))
			return -EINVAL;
		g = *settings_of((uint16_t)m->number);
		change(&g, &new);
		if (!keep(ordered, (uint16_t)m->number, &g))
			return -ENOSPC;
	}
	m->number = apply((uint16_t)m->number, m);
	return 0;
}

int gate_tell(const struct isock *l, struct verb_msg *m, void *value)
{
	struct verb_gate g;

	if (m->bytes || m->flags)
		return -EINVAL;
	if (l->state != MW_ST_LISTEN)
		return -EOPNOTSUPP;
	g = listener_of(l)->gate;
	g.held = listener_of(l)->held.count;
	memcpy(value, &g, sizeof(g));
	m->bytes = sizeof(g);
	return 0;
}
