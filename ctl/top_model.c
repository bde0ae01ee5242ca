// SPDX-License-Identifier: Apache-2.0
/*
 * top_model.c - see top_model.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/top_model.h"
#include "lib/addr.h"

static const struct flow_field *field(const char *name)
{
	for (size_t i = 0; i < flow_field_count; i++)
		if (!strcmp(flow_fields[i].name, name))
			return &flow_fields[i];
	return NULL;
}

static uint64_t number(const struct flow_field *d, const struct flow *f)
{
	const uint8_t *p = (const uint8_t *)f + d->offset;
	uint64_t u64;
	uint32_t u32;

	if (d->type == FLOW_COUNT || d->type == FLOW_SPAN) {
		memcpy(&u64, p, sizeof(u64));
		return u64;
	}
	memcpy(&u32, p, sizeof(u32));
	return u32;
}

void top_init(struct top_model *m)
{
	memset(m, 0, sizeof(*m));
	m->memory = field("mem");
	m->rtt = field("rtt");
}

void top_fini(struct top_model *m)
{
	free(m->rows);
	free(m->groups);
	free(m->order);
	memset(m, 0, sizeof(*m));
}

int top_source_init(struct top_source *s, const char *name, uint32_t ins, uint32_t slots)
{
	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->ins = ins;
	s->slots = slots;
	s->tracks = calloc(slots ? slots : 1, sizeof(*s->tracks));
	return s->tracks ? 0 : -ENOMEM;
}

void top_source_fini(struct top_source *s)
{
	free(s->tracks);
	memset(s, 0, sizeof(*s));
}

/* --- collecting --- */

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

static uint64_t since(uint64_t then, uint64_t now)
{
	return then && now > then ? now - then : 0;
}

static uint64_t a_second(uint64_t bytes, uint64_t ns)
{
	double r = ns ? (double)bytes * 1e9 / (double)ns : 0;

	return r < 1e18 ? (uint64_t)r : (uint64_t)1e18;
}

void top_begin(struct top_model *m, uint64_t now_ns, bool again)
{
	m->now_ns = now_ns;
	m->again = again;
	m->count = m->connections = m->shown = m->group_count = 0;
	memset(&m->totals, 0, sizeof(m->totals));
}

/* Begins it for another flow. False: that one is older than the refresh before, and what it moved since is not known. */
static bool begin_track(struct top_track *t, const struct flow *f, uint64_t last_ns)
{
	memset(t, 0, sizeof(*t));
	t->id = f->f.id;
	return last_ns && f->f.opened_ns >= last_ns;
}

/* What the flow moved since the refresh before. */
static void follow(struct top_track *t, const struct flow *f, uint64_t last_ns, uint64_t now_ns)
{
	bool known = t->id == f->f.id || begin_track(t, f, last_ns);
	uint64_t span = since(known ? last_ns : f->f.opened_ns, now_ns);
	uint64_t rx = f->f.rx_bytes > t->rx ? f->f.rx_bytes - t->rx : 0, tx = f->f.tx_bytes > t->tx ? f->f.tx_bytes - t->tx : 0;

	t->rx = f->f.rx_bytes;
	t->tx = f->f.tx_bytes;
	t->rx_rate = a_second(rx, span);
	t->tx_rate = a_second(tx, span);
	if (!known)
		return;
	memmove(t->history, t->history + 1, sizeof(t->history) - sizeof(t->history[0]));
	t->history[TOP_HISTORY - 1] = sum(rx, tx) < UINT32_MAX ? (uint32_t)(rx + tx) : UINT32_MAX;
	t->looks += t->looks < TOP_HISTORY;
}

/* Room for one more of that size. */
static void *room(void **array, size_t count, size_t *have, size_t size)
{
	size_t want = *have ? *have * 2 : 256;
	void *more;

	if (count < *have)
		return (uint8_t *)*array + count * size;
	more = realloc(*array, want * size);
	if (!more)
		return NULL;
	*array = more;
	*have = want;
	return (uint8_t *)more + count * size;
}

static void count_in(struct top_totals *t, const struct flow *f, uint64_t memory, const struct top_track *k)
{
	t->sockets++;
	t->established += f->f.state == MW_ST_ESTABLISHED;
	t->listening += f->f.state == MW_ST_LISTEN;
	t->unread = sum(t->unread, f->unread);
	t->memory = sum(t->memory, memory);
	t->rx_rate = sum(t->rx_rate, k->rx_rate);
	t->tx_rate = sum(t->tx_rate, k->tx_rate);
}

static void fill(struct top_row *r, const struct flow *f, uint64_t now_ns)
{
	uint64_t last = f->f.opened_ns;

	if (f->f.last_rx_ns > last)
		last = f->f.last_rx_ns;
	if (f->f.last_tx_ns > last)
		last = f->f.last_tx_ns;
	r->id = f->f.id;
	r->peer = f->f.peer;
	addr_unmap(&r->peer);
	r->local = f->f.local;
	r->count = 1;
	r->pid = f->f.pid;
	r->state = f->f.state;
	r->head = f->f.head;
	r->suspect = f->suspect;
	r->age_ns = since(f->f.opened_ns, now_ns);
	r->silence_ns = since(last, now_ns);
	r->rx = f->f.rx_bytes;
	r->tx = f->f.tx_bytes;
	r->unread = f->unread;
}

int top_add(struct top_model *m, struct top_source *s, uint32_t slot, const struct flow *f)
{
	struct top_track *t = &s->tracks[slot];
	uint64_t memory = m->memory ? number(m->memory, f) : 0;
	struct top_row *r;

	if (!m->again)
		follow(t, f, s->last_ns, m->now_ns);
	else if (t->id != f->f.id)
		return 0; /* the next refresh's */
	count_in(&m->totals, f, memory, t);
	if (f->f.peer.family == MW_FAMILY_NONE)
		return 0;
	m->connections++;
	if (m->filter && !filter_match(m->filter, f, m->now_ns))
		return 0;
	r = room((void **)&m->rows, m->count, &m->room, sizeof(*r));
	if (!r)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	fill(r, f, m->now_ns);
	r->source = s;
	r->slot = slot;
	r->memory = memory;
	r->rtt_us = m->rtt ? (uint32_t)number(m->rtt, f) : 0;
	r->rate = sum(t->rx_rate, t->tx_rate);
	r->looks = t->looks;
	memcpy(r->history, t->history, sizeof(r->history));
	m->count++;
	return 0;
}

void top_added(struct top_model *m, struct top_source *s)
{
	s->last_ns = m->now_ns;
}

/* --- groups --- */

/* Bytes of an address that a group shares: all; or /24 and /64. */
static uint32_t bytes_of(const struct mw_addr *a, enum top_group group)
{
	if (a->family == MW_FAMILY_IP4)
		return group == TOP_PREFIX ? 3 : 4;
	return group == TOP_PREFIX ? 8 : 16;
}

static struct prefix cut(const struct mw_addr *a, uint32_t bytes)
{
	struct prefix p = { .addr.family = a->family, .bits = bytes * 8 };

	memcpy(p.addr.addr, a->addr, bytes);
	return p;
}

struct prefix top_prefix(const struct top_row *r)
{
	return cut(&r->peer, r->id ? bytes_of(&r->peer, TOP_PEER) : r->bits / 8);
}

static int compare_from(const struct mw_addr *a, const struct mw_addr *b, enum top_group group)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->addr, b->addr, bytes_of(a, group));
}

static int by_peer(const void *a, const void *b)
{
	return compare_from(&(*(struct top_row *const *)a)->peer, &(*(struct top_row *const *)b)->peer, TOP_PEER);
}

static int by_prefix(const void *a, const void *b)
{
	return compare_from(&(*(struct top_row *const *)a)->peer, &(*(struct top_row *const *)b)->peer, TOP_PREFIX);
}

static void join(struct top_row *g, const struct top_row *r)
{
	if (g->source && g->source != r->source) {
		g->inss = true;
		if (strcmp(g->source->name, r->source->name) != 0)
			g->source = NULL;
	}
	g->count++;
	g->age_ns = r->age_ns > g->age_ns ? r->age_ns : g->age_ns;
	g->silence_ns = r->silence_ns > g->silence_ns ? r->silence_ns : g->silence_ns;
	g->looks = r->looks > g->looks ? r->looks : g->looks;
	g->rx = sum(g->rx, r->rx);
	g->tx = sum(g->tx, r->tx);
	g->unread = sum(g->unread, r->unread);
	g->memory = sum(g->memory, r->memory);
	g->rate = sum(g->rate, r->rate);
	for (int i = 0; i < TOP_HISTORY; i++)
		g->history[i] = g->history[i] + r->history[i] < g->history[i] ? UINT32_MAX : g->history[i] + r->history[i];
}

/* Of the rows in m->order. */
static int make_groups(struct top_model *m, enum top_group group)
{
	struct top_row *g = NULL;

	if (m->count)
		qsort(m->order, m->count, sizeof(*m->order), group == TOP_PREFIX ? by_prefix : by_peer);
	for (size_t i = 0; i < m->count; i++) {
		const struct top_row *r = m->order[i];

		if (!g || compare_from(&g->peer, &r->peer, group) != 0) {
			struct prefix p = cut(&r->peer, bytes_of(&r->peer, group));

			g = room((void **)&m->groups, m->group_count, &m->group_room, sizeof(*g));
			if (!g)
				return -ENOMEM;
			memset(g, 0, sizeof(*g));
			m->group_count++;
			g->source = r->source;
			g->peer = p.addr;
			g->bits = p.bits;
		}
		join(g, r);
	}
	return 0;
}

/* --- order --- */

static uint64_t key(const struct top_row *r, enum top_sort sort)
{
	switch (sort) {
	case TOP_AGE:
		return r->age_ns;
	case TOP_SILENCE:
		return r->silence_ns;
	case TOP_BYTES:
		return sum(r->rx, r->tx);
	case TOP_UNREAD:
		return r->unread;
	case TOP_MEMORY:
		return r->memory;
	case TOP_RATE:
		return r->rate;
	default:
		return r->count;
	}
}

/* Equal ones keep their places: by address, then id, then INS. */
static int before(const void *a, const void *b)
{
	const struct top_row *x = *(struct top_row *const *)a, *y = *(struct top_row *const *)b;
	int r;

	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	r = memcmp(x->peer.addr, y->peer.addr, sizeof(x->peer.addr));
	if (r)
		return r;
	if (x->id != y->id || !x->source || !y->source)
		return x->id < y->id ? -1 : x->id > y->id;
	return x->source->ins < y->source->ins ? -1 : x->source->ins > y->source->ins;
}

static int order_room(struct top_model *m)
{
	struct top_row **more = m->count > m->order_room ? realloc(m->order, m->count * sizeof(*more)) : m->order;

	if (!more && m->count)
		return -ENOMEM;
	if (m->count > m->order_room)
		m->order_room = m->count;
	m->order = more;
	return 0;
}

int top_arrange(struct top_model *m, enum top_group group, enum top_sort sort, bool reverse)
{
	struct top_row *rows = m->rows;
	size_t n = m->count;

	m->shown = m->group_count = 0;
	if (order_room(m) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		m->order[i] = &rows[i];
	if (group != TOP_EACH) {
		if (make_groups(m, group) < 0)
			return -ENOMEM;
		rows = m->groups;
		n = m->group_count;
	}
	for (size_t i = 0; i < n; i++) {
		rows[i].key = reverse ? UINT64_MAX - key(&rows[i], sort) : key(&rows[i], sort);
		m->order[i] = &rows[i];
	}
	if (n)
		qsort(m->order, n, sizeof(*m->order), before);
	m->shown = n;
	return 0;
}
