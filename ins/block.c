// SPDX-License-Identifier: Apache-2.0
/*
 * block.c - peers that are blocked, and how many connections a peer may have.
 * Trust: verb.c has checked that the record is whole; prefixes and lengths are checked here.
 *
 * To a blocked peer it is as if its route were "prohibit" here: connect() and send say EACCES. From it nothing reaches the
 * application: a connection is reset when it is accepted, a datagram is dropped. What is refused is a flow with a verdict like
 * any other, so that it is seen who keeps trying.
 *
 * A cap counts what was accepted, by one listener or by all, from the same first bits of the peer's address, until its slot
 * ends. A connection is counted once by its listener's cap and once by that for all; isock.counted says by which, so that the
 * counts stay exact when caps come and go. They need at most two entries a slot: that table is never full.
 */
#include <sys/random.h>

#include "ins/ins.h"
#include "ins/peers.h"
#include "lib/addr.h"
#include "link/telem.h"

#define BLOCKED_MAX 65536
#define CAPS_MAX    64

static struct peers blocked, counts;

static struct cap {
	uint64_t scope;  /* the listener's id, or 0: all */
	uint64_t verdict;
	uint64_t most;
	uint16_t family; /* MW_FAMILY_; 0: a free place */
	uint8_t bits;
} caps[CAPS_MAX];
static uint32_t caps_used;

int block_init(void)
{
	uint64_t seed;
	int r;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	r = peers_init(&blocked, BLOCKED_MAX, seed);
	return r < 0 ? r : peers_init(&counts, 2 * ins.view.slots, seed);
}

/* --- blocked peers --- */

static bool is_blocked(const struct mw_addr *peer, uint64_t *verdict)
{
	struct peers_value *v = peers_match(&blocked, peer);

	if (!v)
		return false;
	v->count++;
	if (verdict)
		*verdict = v->id;
	return true;
}

/* Linux takes no address at all for loopback. */
bool block_hits(const struct mw_addr *peer)
{
	struct mw_addr to = *peer;

	if (!blocked.used)
		return false;
	if (addr_is_any(&to))
		memcpy(to.addr, to.family == MW_FAMILY_IP4 ? "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0" : "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	return is_blocked(&to, NULL);
}

static bool hit(struct isock *s, const struct verb_msg *m)
{
	if (s->type != MW_TYPE_DGRAM)
		return verb_end(s, m) == 0;
	verb_acted(s, m->verb, m->verdict);
	return true;
}

int block_add(struct verb_msg *m)
{
	struct peers_value *v;
	struct peers_prefix p;
	int r = peers_prefix_of(&p, &m->addr, m->prefix);

	if (r < 0)
		return r;
	v = peers_add(&blocked, &p);
	if (!v)
		return -ENOSPC;
	v->id = m->verdict;
	m->number = 0;
	for (uint32_t i = 0; i < observe_header()->slots_high; i++) {
		struct isock *s = sock_at(i);

		if (!(s->gen & 1))
			continue;
		if (s->type == MW_TYPE_DGRAM)
			dgram_changed(s); /* each destination is asked for anew */
		if (peers_covers(&p, &flow_of(s)->peer))
			m->number += hit(s, m);
	}
	return 0;
}

int block_remove(struct verb_msg *m)
{
	struct peers_value *v;
	struct peers_prefix p;
	int r = peers_prefix_of(&p, &m->addr, m->prefix);

	if (r < 0)
		return r;
	v = peers_find(&blocked, &p);
	if (!v)
		return -ENOENT;
	m->number = v->count;
	peers_remove(&blocked, &p);
	return 0;
}

/* --- caps --- */

static struct cap *find_cap(uint64_t scope, uint16_t family)
{
	for (uint32_t i = 0; caps_used && i < CAPS_MAX; i++)
		if (caps[i].family == family && caps[i].scope == scope)
			return &caps[i];
	return NULL;
}

/* The group of s under one of the two caps that may concern it: the count's key. NULL: there is no such cap. */
static struct cap *group(const struct isock *s, bool all, struct peers_prefix *p)
{
	const struct mw_flow *f = flow_of(s);
	struct cap *c;

	if (peers_prefix_of(p, &f->peer, f->peer.family == MW_FAMILY_IP6 ? 128 : 32) < 0)
		return NULL;
	c = find_cap(all ? 0 : f->listener, p->six ? MW_FAMILY_IP6 : MW_FAMILY_IP4);
	if (!c)
		return NULL;
	peers_cut(p, c->bits);
	p->tag = (uint16_t)(c - caps + 1);
	return c;
}

static void count(struct isock *s)
{
	for (int all = 0; all < 2; all++) {
		struct peers_prefix p;
		struct peers_value *v = group(s, all, &p) ? peers_add(&counts, &p) : NULL;

		if (!v)
			continue;
		v->count++;
		s->counted |= (uint8_t)(1 << all);
	}
}

static void uncount(struct isock *s)
{
	for (int all = 0; all < 2; all++) {
		struct peers_value *v;
		struct peers_prefix p;

		if (!(s->counted & 1 << all) || !group(s, all, &p))
			continue;
		v = peers_find(&counts, &p);
		if (v && --v->count == 0)
			peers_remove(&counts, &p);
	}
	s->counted = 0;
}

static bool is_over(const struct isock *s, uint64_t more, uint64_t *verdict)
{
	for (int all = 0; all < 2; all++) {
		struct peers_prefix p;
		const struct cap *c = group(s, all, &p);
		const struct peers_value *v = c ? peers_find(&counts, &p) : NULL;

		if (!c || (v ? v->count : 0) + more <= c->most)
			continue;
		*verdict = c->verdict;
		return true;
	}
	return false;
}

static struct isock *next_accepted(uint32_t *at)
{
	while (*at < observe_header()->slots_high) {
		struct isock *s = sock_at((*at)++);

		if (s->gen & 1 && flow_of(s)->listener)
			return s;
	}
	return NULL;
}

static int change_cap(struct cap *c, uint64_t scope, const struct verb_msg *m)
{
	if (m->flags & VERB_UNDO) {
		if (!c)
			return -ENOENT;
		c->family = 0;
		caps_used--;
		return 0;
	}
	for (c = c ? c : caps; c < caps + CAPS_MAX && c->family && (c->family != m->addr.family || c->scope != scope); c++)
		;
	if (c == caps + CAPS_MAX)
		return -ENOSPC;
	caps_used += !c->family;
	*c = (struct cap){ scope, m->verdict, m->number, m->addr.family, (uint8_t)m->prefix };
	return 0;
}

static int set_cap(uint64_t scope, const struct verb_msg *m)
{
	struct cap *c = find_cap(scope, m->addr.family);
	struct isock *s;
	int r;

	if (c && c->bits == m->prefix && !(m->flags & VERB_UNDO))
		return change_cap(c, scope, m); /* the groups are the same */
	for (uint32_t at = 0; (s = next_accepted(&at));)
		uncount(s);
	r = change_cap(c, scope, m);
	for (uint32_t at = 0; (s = next_accepted(&at));)
		count(s);
	return r;
}

/* Connections that are there stay; the answer says how many are in groups that have too many. */
int block_cap(struct verb_msg *m, const struct isock *listener)
{
	struct peers_prefix p;
	struct isock *s;
	uint64_t verdict;
	int r = peers_prefix_of(&p, &m->addr, m->prefix);

	if (r == 0)
		r = set_cap(listener ? flow_of(listener)->id : 0, m);
	if (r < 0)
		return r;
	m->number = 0;
	if (!(m->flags & VERB_UNDO))
		for (uint32_t at = 0; (s = next_accepted(&at));)
			m->number += is_over(s, 0, &verdict) && verdict == m->verdict;
	return 0;
}

/* --- a connection comes, and goes --- */

bool block_refuses(struct isock *s)
{
	struct mw_flow *f = flow_of(s);
	uint32_t verb = 0;
	uint64_t verdict;

	if (blocked.used && is_blocked(&f->peer, &verdict))
		verb = VERB_BLOCK;
	else if (caps_used && is_over(s, 1, &verdict))
		verb = VERB_CAP;
	if (!verb && caps_used)
		count(s);
	if (verb)
		verb_acted(s, verb, verdict);
	return verb;
}

void block_gone(struct isock *s)
{
	const uint64_t id = flow_of(s)->id;

	if (s->counted)
		uncount(s);
	if (s->state != MW_ST_LISTEN || !caps_used)
		return;
	for (struct cap *c = caps; c < caps + CAPS_MAX; c++) {
		struct verb_msg undo = { .flags = VERB_UNDO, .addr.family = c->family };

		if (c->family && c->scope == id)
			set_cap(id, &undo);
	}
}
