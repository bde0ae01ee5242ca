// SPDX-License-Identifier: GPL-2.0
/*
 * pool.c - memory that INSs share: allocated, given a ref by the carrier, seen here in one piece; rings for slots on demand.
 * Trust: `spare` is the INS's word and only a hint: no more is granted than the limit, whatever it says. Rings are taken back when
 * the INS has said so and no socket of ours is in the slot.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "chan/msg.h"
#include "kmod/carrier.h"
#include "kmod/compat.h"
#include "kmod/control.h"
#include "kmod/ins.h"
#include "kmod/main.h"
#include "kmod/pool.h"

#define BATCH 8 /* slots revoked in a second, */
#define HASTE 64 /* or under pressure */

#define PRESSURE_TIME (10 * HZ) /* that rings are scarce after the kernel has asked for some back */

static struct shrinker *shrinker;
static atomic_t pressed;        /* the kernel has ever asked */
static unsigned long pressed_at;

void mwk_mem_free(struct mwk_ins *i, struct mwk_mem *m)
{
	if (m->at)
		vunmap(m->at);
	for (u32 n = 0; n < m->pages; n++) {
		if (n < m->shared)
			i->carrier->unshare(i, m->page[n], m->ref[n]);
		else if (m->page[n])
			__free_page(m->page[n]);
	}
	atomic64_sub(m->shared, &mwk_count.shared_pages);
	kvfree(m->page);
	kvfree(m->ref);
	memset(m, 0, sizeof(*m));
}

int mwk_mem_new(struct mwk_ins *i, struct mwk_mem *m, u32 pages)
{
	int e = -ENOMEM;

	memset(m, 0, sizeof(*m));
	m->page = kvcalloc(pages, sizeof(struct page *), GFP_KERNEL);
	m->ref = kvcalloc(pages, sizeof(u32), GFP_KERNEL);
	if (!m->page || !m->ref)
		goto undo;
	for (; m->pages < pages; m->pages++) {
		m->page[m->pages] = alloc_page(GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
		if (!m->page[m->pages])
			goto undo;
	}
	m->at = vmap(m->page, pages, VM_MAP, PAGE_KERNEL);
	if (!m->at)
		goto undo;
	for (; m->shared < pages; m->shared++) {
		e = i->carrier->share(i, m->page[m->shared], &m->ref[m->shared]);
		if (e < 0)
			goto undo;
		atomic64_inc(&mwk_count.shared_pages);
	}
	return 0;
undo:
	mwk_mem_free(i, m);
	return e;
}

/* --- rings --- */

static u64 limit_pages(void)
{
	return (u64)mwk_limit_mib << (20 - PAGE_SHIFT);
}

static u32 ring_pages(u32 kib)
{
	return roundup_pow_of_two(clamp(kib, MW_RING_BYTES_MIN >> 10, MWK_ROOM >> 10)) * 1024 / PAGE_SIZE;
}

static u32 find_bare(struct mwk_ins *i)
{
	for (u32 n = 0; n < i->view.slots; n++) {
		u32 s = (i->asked_slot + n) % i->view.slots;

		if (!i->slot[s].rings.pages)
			return s;
	}
	return i->view.slots;
}

/* pool held. A slot's rings, which the INS does not have, are ours again. 0, or -EPROTO: a socket of ours is in the slot. */
static int take_back(struct mwk_ins *i, u32 s)
{
	struct mwk_slot *slot = &i->slot[s];
	struct mwk_mem mem = { };
	bool taken;

	spin_lock(&i->lock);
	taken = slot->end;
	if (!taken) {
		mem = slot->rings;
		memset(&slot->rings, 0, sizeof(slot->rings));
		memset(&i->sizes[s], 0, sizeof(i->sizes[s]));
	}
	spin_unlock(&i->lock);
	if (taken) {
		mwk_ins_quarantine(i, "it has a socket in a slot without rings");
		return -EPROTO;
	}
	i->ring_slots--;
	atomic64_dec(&mwk_count.ring_slots);
	atomic64_sub(mem.pages, &mwk_count.ring_pages);
	mwk_mem_free(i, &mem);
	return 0;
}

/* pool held. */
static int grant(struct mwk_ins *i, u32 rx, u32 tx)
{
	struct mw_req q = { .u.grant = { .rx_pages = rx, .tx_pages = tx } };
	u32 s = find_bare(i);
	struct mw_reply r = { };
	struct mwk_mem mem;
	int e;

	if (s == i->view.slots || (u64)atomic64_read(&mwk_count.ring_pages) + rx + tx > limit_pages())
		return -ENOBUFS;
	e = mwk_mem_new(i, &mem, rx + tx);
	if (e < 0)
		return e;
	i->asked_slot = s + 1;
	q.slot = s;
	/* From here on the INS may use it: before the reply, an accepted connection may be there. */
	spin_lock(&i->lock);
	i->slot[s].rings = mem;
	i->slot[s].since = jiffies;
	i->sizes[s].rx_bytes = rx * PAGE_SIZE;
	i->sizes[s].tx_bytes = tx * PAGE_SIZE;
	spin_unlock(&i->lock);
	i->ring_slots++;
	atomic64_inc(&mwk_count.ring_slots);
	atomic64_add(rx + tx, &mwk_count.ring_pages);
	e = mwk_control(i, &q, MW_OP_GRANT, mem.ref, &r, NULL);
	if (e == -ENOMEM && !r.status) /* not the INS's word: it was not sent */
		return take_back(i, s) ?: e;
	if (e < 0 && e != -ENETDOWN && e != -EINTR) {
		pr_warn_ratelimited("mwcomms: INS %u does not take rings for slot %u: error %d\n", i->domain, s, -e);
		mwk_ins_quarantine(i, "it refused memory for rings");
	}
	return e;
}

int mwk_pool_grant(struct mwk_ins *i, bool dgram)
{
	u32 rx = dgram ? MWK_ROOM / PAGE_SIZE : ring_pages(mwk_rx_kib), tx = dgram ? MWK_ROOM / PAGE_SIZE : ring_pages(mwk_tx_kib);
	int e;

	if (mutex_lock_killable(&i->pool))
		return -EINTR;
	e = grant(i, rx, tx);
	mutex_unlock(&i->pool);
	return e;
}

static u32 spare(struct mwk_ins *i)
{
	struct mw_door __peer *d = door_header(&i->door);

	return mw_load(MW_WORD(&d->spare));
}

static bool under_pressure(void)
{
	return atomic_read(&pressed) && time_before(jiffies, READ_ONCE(pressed_at) + PRESSURE_TIME);
}

/* Slots with rings that nobody uses yet. */
static u32 wanted(void)
{
	return under_pressure() ? min(mwk_spare, 1u) : mwk_spare;
}

bool mwk_pool_low(struct mwk_ins *i)
{
	return READ_ONCE(i->state) == MWK_INS_UP && spare(i) < wanted() && i->ring_slots < i->view.slots &&
	       (u64)atomic64_read(&mwk_count.ring_pages) < limit_pages();
}

void mwk_pool_fill(struct mwk_ins *i)
{
	u32 have = spare(i), most = wanted(), want = have < most ? most - have : 0;

	while (want-- && mwk_pool_grant(i, false) == 0)
		cond_resched();
}

/* --- back --- */

/* pool held. 0: a slot's rings are ours again. */
static int revoke(struct mwk_ins *i, u32 s)
{
	struct mw_req q = { .slot = s };
	struct mw_reply r;
	int e = mwk_control(i, &q, MW_OP_REVOKE, NULL, &r, NULL);

	if (e < 0)
		return e;
	return take_back(i, s);
}

static bool idle(struct mwk_ins *i, u32 s, bool at_once)
{
	struct mw_slot __peer *words = arena_slot(&i->view, s);
	const struct mwk_slot *slot = &i->slot[s];

	return slot->rings.pages && !READ_ONCE(slot->end) && !(mw_load(MW_WORD(&words->ins.gen)) & 1) &&
	       (at_once || time_after(jiffies, slot->since + mwk_idle_s * HZ));
}

void mwk_pool_trim(struct mwk_ins *i)
{
	bool at_once = under_pressure();
	u32 keep = at_once ? wanted() : mwk_spare * 2, have = spare(i), done = 0;

	if (have <= keep || !mutex_trylock(&i->pool))
		return;
	for (u32 s = i->view.slots; s-- && have > keep && done < (at_once ? HASTE : BATCH);) {
		if (!idle(i, s, at_once))
			continue;
		done++;
		if (revoke(i, s) == 0)
			have--;
	}
	mutex_unlock(&i->pool);
}

static unsigned long count_idle(struct shrinker *s, struct shrink_control *sc)
{
	s64 used = atomic64_read(&mwk_count.sockets), have = atomic64_read(&mwk_count.ring_slots);

	return have > used ? (unsigned long)(have - used) : 0;
}

/* An INS must be asked, which cannot be done here: it is noted, and begun with within a second. */
static unsigned long note_pressure(struct shrinker *s, struct shrink_control *sc)
{
	WRITE_ONCE(pressed_at, jiffies);
	atomic_set(&pressed, 1);
	return SHRINK_STOP;
}

int mwk_pool_init(void)
{
	shrinker = mwk_shrinker_new("mwcomms", count_idle, note_pressure);
	return shrinker ? 0 : -ENOMEM;
}

void mwk_pool_fini(void)
{
	mwk_shrinker_free(shrinker);
}
