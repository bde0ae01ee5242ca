// SPDX-License-Identifier: GPL-2.0
/*
 * ins.c - the INSs: how they come, what they tell, how they end.
 * Trust: an INS may say anything at any time. What breaks a rule ends that INS (quarantine) and no other.
 *
 * Two work queues. `news` runs when the other side has notified: it takes replies and marks, wakes whoever waits for them, and
 * never waits itself. What must ask an INS and wait (HELLO, GRANT, listeners) is `chores`. The end of an INS is `burial`, when
 * nothing of `news` runs any more, and `disposal`, when nobody holds it.
 */
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "chan/msg.h"
#include "kmod/carrier.h"
#include "kmod/control.h"
#include "kmod/end.h"
#include "kmod/ins.h"
#include "kmod/listen.h"
#include "kmod/main.h"
#include "kmod/pool.h"
#include "kmod/shared.h"
#include "kmod/telem.h"

#define ROUNDS      32      /* of news, before others on that queue have their turn */
#define BEAT_TIME   (10 * HZ)

static LIST_HEAD(all);
static u64 last_serial; /* with it */
static DEFINE_MUTEX(all_lock);
static DECLARE_WAIT_QUEUE_HEAD(up_wait);

void *mwk_ins_private(const struct mwk_ins *i)
{
	return i->carrier_private;
}

struct mwk_ins *mwk_ins_get(struct mwk_ins *i)
{
	kref_get(&i->ref);
	return i;
}

static void last_put(struct kref *ref)
{
	struct mwk_ins *i = container_of(ref, struct mwk_ins, ref);

	queue_work(mwk_slow_wq, &i->disposal);
}

void mwk_ins_put(struct mwk_ins *i)
{
	kref_put(&i->ref, last_put);
}

static void dispose(struct work_struct *work)
{
	struct mwk_ins *i = container_of(work, struct mwk_ins, disposal);

	cancel_delayed_work_sync(&i->tick);
	cancel_work_sync(&i->chores);
	cancel_work_sync(&i->news);
	cancel_work_sync(&i->burial);
	atomic64_sub(i->ring_slots, &mwk_count.ring_slots);
	mwk_shared_free(i);
	i->carrier->release(i);
	kfree(i);
}

/* --- the end --- */

static bool die(struct mwk_ins *i)
{
	bool first;

	spin_lock(&i->lock);
	first = i->state != MWK_INS_DEAD;
	WRITE_ONCE(i->state, MWK_INS_DEAD);
	spin_unlock(&i->lock);
	if (!first)
		return false;
	mwk_control_fail_all(i);
	mwk_ins_get(i);
	queue_work(mwk_slow_wq, &i->burial);
	return true;
}

static void bury(struct work_struct *work)
{
	struct mwk_ins *i = container_of(work, struct mwk_ins, burial);

	cancel_work_sync(&i->news);
	mutex_lock(&all_lock);
	list_del_init(&i->node);
	mutex_unlock(&all_lock);
	mwk_telem_changed();
	mwk_end_bury(i);
	i->carrier->detach(i);
	mwk_ins_put(i);
}

void mwk_ins_quarantine(struct mwk_ins *i, const char *why)
{
	if (!die(i))
		return;
	atomic64_inc(&mwk_count.quarantined);
	pr_warn_ratelimited("mwcomms: INS %u is given up: %s. Its connections are reset; the others go on\n", i->domain, why);
}

void mwk_ins_gone(struct mwk_ins *i, const char *why)
{
	if (die(i))
		pr_info_ratelimited("mwcomms: INS %u is gone: %s\n", i->domain, why);
	flush_work(&i->burial);
	mwk_ins_put(i);
}

/* --- news --- */

void mwk_ins_kick(struct mwk_ins *i, bool sleeps)
{
	if (!sleeps || READ_ONCE(i->state) == MWK_INS_DEAD)
		return;
	atomic64_inc(&mwk_count.notified);
	i->carrier->notify(i);
}

void mwk_ins_mark(struct mwk_end *e)
{
	mwk_ins_kick(e->ins, ready_mark(&e->ins->view, e->slot));
}

/* True if there were any. */
static bool marks(struct mwk_ins *i)
{
	bool any = false;
	u64 bits;
	s32 first;

	for (u32 from = 0; from < i->view.slots; from = (u32)first + 64) {
		first = door_take_ready(&i->door, from, &bits);
		if (first < 0)
			break;
		any = true;
		for (; bits; bits &= bits - 1)
			mwk_end_news(i, (u32)first + (u32)__builtin_ctzll(bits));
	}
	return any;
}

void mwk_ins_drain(struct mwk_ins *i)
{
	WRITE_ONCE(i->drains, true);
	smp_mb(); /* pairs with cmpxchg() in chores(): one of the two sees the other's word */
	if (cmpxchg(&i->state, MWK_INS_UP, MWK_INS_DRAIN) == MWK_INS_UP)
		pr_info("mwcomms: INS %u is drained: it gets no new sockets\n", i->domain);
}

static void look_at_state(struct mwk_ins *i)
{
	struct mw_door __peer *d = door_header(&i->door);
	u32 state = mw_load(MW_WORD(&d->state));

	if (state == MW_DOOR_ENDED && die(i))
		pr_info_ratelimited("mwcomms: INS %u has ended\n", i->domain);
	if (state == MW_DOOR_DRAIN)
		mwk_ins_drain(i);
}

/* True if there were any. */
static bool take_news(struct mwk_ins *i)
{
	u64 replies = i->rep_cons;
	bool any = false;

	for (int round = 0; round < ROUNDS; round++) {
		if (READ_ONCE(i->state) == MWK_INS_DEAD || !mwk_control_replies(i))
			return any;
		any |= marks(i) || i->rep_cons != replies;
		look_at_state(i);
		mwk_telem_events(i);
		if (mwk_pool_low(i))
			queue_work(mwk_slow_wq, &i->chores);
		if (door_sleep(&i->door, i->rep_cons))
			return any;
	}
	queue_work(mwk_wq, &i->news);
	return true;
}

/* Works do not count while they wait in their queue, so that disposal can call them off; who has begun does. */
static void serve_news(struct work_struct *work)
{
	struct mwk_ins *i = container_of(work, struct mwk_ins, news);
	bool any;

	if (!kref_get_unless_zero(&i->ref))
		return;
	any = take_news(i);
	if (i->carrier->served)
		i->carrier->served(i, any);
	mwk_ins_put(i);
}

void mwk_ins_news(struct mwk_ins *i)
{
	atomic64_inc(&mwk_count.news);
	if (READ_ONCE(i->state) != MWK_INS_DEAD)
		queue_work(mwk_wq, &i->news);
}

/* --- what takes time --- */

static bool hello(struct mwk_ins *i)
{
	struct mw_req q = { .u.hello.version = MW_VERSION };
	struct mw_reply r;
	int e = mwk_control(i, &q, MW_OP_HELLO, NULL, &r, NULL);

	if (e < 0 && e != -ENETDOWN)
		mwk_ins_quarantine(i, e == -EPROTONOSUPPORT ? "it speaks another version" : "it refused HELLO");
	return e == 0;
}

static void chores(struct mwk_ins *i)
{
	if (READ_ONCE(i->state) == MWK_INS_DEAD)
		return;
	if (READ_ONCE(i->state) == MWK_INS_NEW) {
		if (!hello(i))
			return;
		mwk_pool_fill(i);
		i->beat = jiffies;
		if (cmpxchg(&i->state, MWK_INS_NEW, MWK_INS_UP) != MWK_INS_NEW)
			return;
		pr_info("mwcomms: INS %u serves\n", i->domain);
		if (READ_ONCE(i->drains))
			mwk_ins_drain(i);
		queue_delayed_work(mwk_slow_wq, &i->tick, HZ);
		wake_up_all(&up_wait);
		mwk_telem_changed();
	} else {
		mwk_pool_fill(i);
	}
	mwk_listen_replicate(i);
}

static void do_chores(struct work_struct *work)
{
	struct mwk_ins *i = container_of(work, struct mwk_ins, chores);

	if (!kref_get_unless_zero(&i->ref))
		return;
	chores(i);
	mwk_ins_put(i);
}

static void tick(struct mwk_ins *i)
{
	struct mw_door __peer *d = door_header(&i->door);
	u64 beat = mw_load(MW_WORD(&d->heartbeat));

	if (READ_ONCE(i->state) == MWK_INS_DEAD)
		return;
	if (beat != i->heartbeat) {
		i->heartbeat = beat;
		i->beat = jiffies;
	} else if (time_after(jiffies, i->beat + BEAT_TIME)) {
		mwk_ins_quarantine(i, "no sign of life for 10 s");
		return;
	}
	mwk_pool_trim(i);
	queue_work(mwk_wq, &i->news);
	queue_delayed_work(mwk_slow_wq, &i->tick, HZ);
}

static void ticked(struct work_struct *work)
{
	struct mwk_ins *i = container_of(to_delayed_work(work), struct mwk_ins, tick);

	if (!kref_get_unless_zero(&i->ref))
		return;
	tick(i);
	mwk_ins_put(i);
}

void mwk_ins_up(struct mwk_ins *i)
{
	queue_work(mwk_slow_wq, &i->chores);
}

void mwk_ins_chores_all(void)
{
	struct mwk_ins *i;

	mutex_lock(&all_lock);
	list_for_each_entry(i, &all, node)
		if (READ_ONCE(i->state) == MWK_INS_UP)
			queue_work(mwk_slow_wq, &i->chores);
	mutex_unlock(&all_lock);
}

/* --- which --- */

u32 mwk_ins_up_count(void)
{
	struct mwk_ins *i;
	u32 n = 0;

	mutex_lock(&all_lock);
	list_for_each_entry(i, &all, node)
		n += READ_ONCE(i->state) == MWK_INS_UP;
	mutex_unlock(&all_lock);
	return n;
}

struct mwk_ins *mwk_ins_find(u64 serial)
{
	struct mwk_ins *i, *found = NULL;

	mutex_lock(&all_lock);
	list_for_each_entry(i, &all, node)
		if (i->serial == serial && READ_ONCE(i->state) != MWK_INS_DEAD)
			found = mwk_ins_get(i);
	mutex_unlock(&all_lock);
	return found;
}

struct mwk_ins *mwk_ins_after(u64 serial)
{
	struct mwk_ins *i, *found = NULL;
	u32 state;

	mutex_lock(&all_lock);
	list_for_each_entry(i, &all, node) {
		state = READ_ONCE(i->state);
		if ((state == MWK_INS_UP || state == MWK_INS_DRAIN) && i->serial > serial && (!found || i->serial < found->serial))
			found = i;
	}
	if (found)
		mwk_ins_get(found);
	mutex_unlock(&all_lock);
	return found;
}

static struct mwk_ins *next_up(void)
{
	struct mwk_ins *i, *found = NULL;

	mutex_lock(&all_lock);
	list_for_each_entry(i, &all, node) {
		if (READ_ONCE(i->state) != MWK_INS_UP)
			continue;
		found = mwk_ins_get(i);
		list_move_tail(&i->node, &all);
		break;
	}
	mutex_unlock(&all_lock);
	return found;
}

struct mwk_ins *mwk_ins_choose(void)
{
	struct mwk_ins *i = next_up();
	long left = (long)mwk_wait_s * HZ;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);

	if (i)
		return i;
	add_wait_queue(&up_wait, &wait);
	while (!(i = next_up()) && left && !signal_pending(current))
		left = wait_woken(&wait, TASK_INTERRUPTIBLE, left);
	remove_wait_queue(&up_wait, &wait);
	if (i)
		return i;
	return ERR_PTR(signal_pending(current) ? -ERESTARTSYS : -ENETDOWN);
}

/* --- the beginning --- */

struct mwk_ins *mwk_ins_add(const struct mwk_carrier *c, void *carrier_private, u32 domain, u32 slots, u32 *directory)
{
	struct mwk_ins *i = kzalloc(sizeof(*i), GFP_KERNEL);
	int e;

	if (!i)
		return NULL;
	kref_init(&i->ref);
	INIT_LIST_HEAD(&i->node);
	INIT_LIST_HEAD(&i->calls);
	spin_lock_init(&i->lock);
	spin_lock_init(&i->calls_lock);
	mutex_init(&i->pool);
	init_waitqueue_head(&i->calls_wait);
	INIT_WORK(&i->news, serve_news);
	INIT_WORK(&i->chores, do_chores);
	INIT_WORK(&i->burial, bury);
	INIT_WORK(&i->disposal, dispose);
	INIT_DELAYED_WORK(&i->tick, ticked);
	i->carrier = c;
	i->carrier_private = carrier_private;
	i->domain = domain;
	i->replies_room = MW_DOOR_RING;
	e = mwk_shared_new(i, clamp(slots & ~63u, 64u, MW_SLOTS_MAX));
	if (e) {
		pr_err_ratelimited("mwcomms: no memory to share with INS %u: error %d\n", domain, -e);
		mwk_shared_free(i);
		kfree(i);
		return NULL;
	}
	*directory = i->directory.ref[0];
	door_sleep(&i->door, 0); /* the first news notifies */
	mutex_lock(&all_lock);
	i->serial = ++last_serial;
	list_add_tail(&i->node, &all);
	mutex_unlock(&all_lock);
	return i;
}
