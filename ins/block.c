// SPDX-License-Identifier: Apache-2.0
/*
 * block.c - peers that are blocked, and how many connections a peer may have.
 * Trust: verb.c has checked that the record is whole; prefixes and lengths are checked here.
 *
 * To a blocked peer it is as if its route were "prohibit" here: connect() and send say EACCES. From it nothing reaches the
 * application: a connection is reset when it is accepted, a datagram is dropped. What is refused is a flow with a verdict like
 * any other, so that it is seen who keeps trying.
 *
 * Connections that are there when the block comes are reset a few at a time, between which others have their turn: resetting
 * thousands takes a good part of a second. Datagram sockets, and who comes later, know at once. The answer waits for the last.
 *
 * A cap counts what was accepted, on one port or on all, from the same first bits of the peer's address, until its slot
 * ends. A connection is counted once by its port's cap and once by that for all; isock.counted says by which, so that the
 * counts stay exact when caps come and go. They need at most two entries a slot: that table is never full.
 */
#include <sys/random.h>

#include "ins/block.h"
#include "ins/dgram.h"
#include "ins/journal.h"
#include "ins/observe.h"
#include "ins/peers.h"
#include "ins/state.h"
#include "ins/verb.h"
#include "lib/addr.h"
#include "link/telem.h"

#define BLOCKED_MAX 65536
#define HITS_AT_ONCE  32   /* of all sweeps together: about a millisecond */
#define LOOKS_AT_ONCE 8192 /* of each */
#define CAPS_MAX    64

static struct peers blocked, counts;

/* A block that has not been through all connections yet. */
static struct sweep {
	struct verb_msg m;
	struct peers_prefix p;
	uint32_t at, end;
	uint32_t used;
} *sweeps;
static uint32_t sweep_count;

static struct cap {
	uint64_t verdict;
	uint64_t most;
	uint16_t port;   /* 0: all */
	uint16_t family; /* MW_FAMILY_; 0: a free place */
	uint8_t bits;
} *caps;
static uint32_t caps_used;
static void *spare;

int block_init(void)
{
	void *memory = state_block("blocked", peers_bytes(BLOCKED_MAX)), *count = state_block("counts", peers_bytes(2 * ins.view.slots));
	uint64_t seed;

	caps = state_block("caps", CAPS_MAX * sizeof(*caps));
	spare = state_block("spare", peers_bytes(BLOCKED_MAX));
	sweeps = state_block("sweeps", VERBS_IN_FLIGHT * sizeof(*sweeps));
	if (!memory || !count || !caps || !spare || !sweeps)
		return -ENOMEM;
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	peers_init(&blocked, memory, BLOCKED_MAX, seed);
	peers_init(&counts, count, 2 * ins.view.slots, seed);
	return 0;
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

static bool is_blockable(uint32_t slot, uint32_t type, const struct peers_prefix *p)
{
	struct isock *s = sock_at(slot);

	return s->gen & 1 && (s->type == MW_TYPE_DGRAM) == (type == MW_TYPE_DGRAM) && peers_covers(p, &flow_of(s)->peer);
}

/* Each destination is asked for anew. */
static void block_datagrams(struct sweep *w)
{
	for (uint32_t i = 0; i < w->end; i++) {
		if (sock_at(i)->gen & 1 && sock_at(i)->type == MW_TYPE_DGRAM)
			dgram_changed(sock_at(i));
		if (!is_blockable(i, MW_TYPE_DGRAM, &w->p))
			continue;
		verb_acted(sock_at(i), w->m.verb, w->m.verdict);
		w->m.number++;
	}
}

/* True when it has been through all. */
static bool sweep(struct sweep *w, uint32_t most)
{
	uint32_t looks = LOOKS_AT_ONCE;

	for (; w->at < w->end && looks && most; w->at++, looks--) {
		if (!is_blockable(w->at, MW_TYPE_STREAM, &w->p))
			continue;
		w->m.number += verb_end(sock_at(w->at), &w->m) == 0;
		most--;
	}
	return w->at == w->end;
}

/* The next worker gives no second answer: block_recover(). */
static void swept(struct sweep *w)
{
	verb_answer(&w->m, (uint32_t)(w - sweeps));
	mw_store(&w->used, 0u);
	deed_end();
	sweep_count--;
}

bool block_sweeping(void)
{
	return sweep_count;
}

void block_sweep(void)
{
	uint32_t most = sweep_count ? 1 + HITS_AT_ONCE / sweep_count : 0;

	for (struct sweep *w = sweeps; sweep_count && w < sweeps + VERBS_IN_FLIGHT; w++)
		if (w->used && sweep(w, most))
			swept(w);
}

static void keep_sweep(const struct sweep *w)
{
	struct sweep *to = sweeps;

	while (to->used)
		to++;
	*to = *w; /* which is not in use yet */
	mw_order();
	mw_store(&to->used, 1u);
	sweep_count++;
}

/* A worker died when that was begun: it has an answer coming. */
static bool is_swept(const struct verb_msg *m)
{
	for (struct sweep *w = sweeps; w < sweeps + VERBS_IN_FLIGHT; w++)
		if (w->used && w->m.seq == m->seq)
			return true;
	return false;
}

int block_add(struct verb_msg *m)
{
	struct sweep w = { .m = *m, .end = observe_header()->slots_high };
	struct peers_value *v;
	int r = peers_prefix_of(&w.p, &m->addr, m->prefix);

	if (r < 0)
		return r;
	if (journal->job.again && is_swept(m))
		return VERB_LATER;
	if (sweep_count == VERBS_IN_FLIGHT)
		return -EBUSY;
	v = peers_add(&blocked, &w.p);
	if (!v)
		return -ENOSPC;
	v->id = m->verdict;
	w.m.number = 0;
	block_datagrams(&w);
	if (!sweep(&w, HITS_AT_ONCE)) {
		keep_sweep(&w);
		return VERB_LATER;
	}
	m->number = w.m.number;
	return 0;
}

/* Whom its sweep has not come to yet stays. */
static void end_sweeps(const struct peers_prefix *p)
{
	for (struct sweep *w = sweeps; sweep_count && w < sweeps + VERBS_IN_FLIGHT; w++)
		if (w->used && peers_same(&w->p, p))
			swept(w);
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
	end_sweeps(&p);
	return 0;
}

/* --- caps --- */

static struct cap *find_cap(uint16_t port, uint16_t family)
{
	for (uint32_t i = 0; caps_used && i < CAPS_MAX; i++)
		if (caps[i].family == family && caps[i].port == port)
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
	c = find_cap(all ? 0 : f->local.port, p->six ? MW_FAMILY_IP6 : MW_FAMILY_IP4);
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

/* What a worker that died has left; counted anew. */
void block_recover(void)
{
	struct isock *s;

	peers_recover(&blocked, spare);
	if (verb_answered())
		sweeps[verb_answered() - 1].used = 0;
	for (struct sweep *w = sweeps; w < sweeps + VERBS_IN_FLIGHT; w++)
		sweep_count += w->used;
	caps_used = 0;
	for (uint32_t i = 0; i < CAPS_MAX; i++)
		caps_used += caps[i].family != 0;
	if (caps_used)
		peers_clear(&counts);
	for (uint32_t at = 0; caps_used && (s = next_accepted(&at));) {
		s->counted = 0;
		count(s);
	}
}

static int change_cap(struct cap *c, const struct verb_msg *m)
{
	if (m->flags & VERB_UNDO) {
		if (!c)
			return -ENOENT;
		c->family = 0;
		caps_used--;
		return 0;
	}
	for (c = c ? c : caps; c < caps + CAPS_MAX && c->family && (c->family != m->addr.family || c->port != m->addr.port); c++)
		;
	if (c == caps + CAPS_MAX)
		return -ENOSPC;
	caps_used += !c->family;
	mw_store(&c->family, (uint16_t)0);
	mw_order();
	c->port = m->addr.port;
	c->verdict = m->verdict;
	c->most = m->number;
	c->bits = (uint8_t)m->prefix;
	mw_order();
	mw_store(&c->family, m->addr.family);
	return 0;
}

static int set_cap(const struct verb_msg *m)
{
	struct cap *c = find_cap(m->addr.port, m->addr.family);
	struct isock *s;
	int r;

	if (c && c->bits == m->prefix && !(m->flags & VERB_UNDO))
		return change_cap(c, m); /* the groups are the same */
	for (uint32_t at = 0; (s = next_accepted(&at));)
		uncount(s);
	r = change_cap(c, m);
	for (uint32_t at = 0; (s = next_accepted(&at));)
		count(s);
	return r;
}

/* Connections that are there stay; the answer says how many are in groups that have too many. */
int block_cap(struct verb_msg *m)
{
	struct peers_prefix p;
	struct isock *s;
	uint64_t verdict;
	int r = peers_prefix_of(&p, &m->addr, m->prefix);

	if (r == 0)
		r = set_cap(m);
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
	return verb != 0;
}

void block_gone(struct isock *s)
{
	if (s->counted)
		uncount(s);
}
