/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ins.h - the INSs. Used by kmod/; what a carrier needs of them is in carrier.h.
 * Trust: what an INS can write (view, door, rings) is touched through chan/ only; everything in these structs is ours.
 *
 * Lifetimes. An INS (struct mwk_ins) is counted: one for its carrier, one for each end, one for each control call. With the last
 * its pages are given back. An end is a slot that a socket of ours owns; it lives until the INS has turned the slot's
 * generation after our close, or until both socket and INS are gone.
 *
 * Lock order: lock_sock(sk), then mwk_sock.news or mwk_ins.lock or mwk_ins.calls_lock, none of which nests in another of them. The
 * worker that serves an INS's news never takes lock_sock, so that a caller may wait for a reply while it holds that.
 */
#ifndef MW_KMOD_INS_H
#define MW_KMOD_INS_H

#include <linux/atomic.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "chan/arena.h"
#include "chan/door.h"
#include "chan/ring.h"
#include "kmod/pool.h"

struct mwk_carrier;
struct mwk_end;

struct mwk_slot {
	struct mwk_mem rings;  /* rx, then tx; none: pages is 0 */
	struct mwk_end *end;   /* ours; under mwk_ins.lock */
	unsigned long since;   /* jiffies when it was last given back */
};

enum mwk_ins_state {
	MWK_INS_NEW,
	MWK_INS_UP,
	MWK_INS_DRAIN, /* gets nothing new */
	MWK_INS_DEAD,
};

struct mwk_ins {
	struct kref ref;
	struct list_head node; /* of ins.c's list of all */
	const struct mwk_carrier *carrier;
	void *carrier_private;
	u32 domain;
	u64 serial;            /* which one it is of all that ever came */
	u32 state;             /* MWK_INS_; once DEAD, for ever */
	bool drains;           /* it shall get nothing new, also when it is to serve yet */

	struct mw_view view;
	struct mw_door_view door;
	struct mw_ring requests, replies;
	struct mw_ring_sizes *sizes;
	struct mwk_slot *slot;
	struct mwk_mem directory, arena, door_mem, tele;

	spinlock_t lock;       /* slot[].end, mwk_end.owner, the step to DEAD */
	spinlock_t calls_lock; /* what follows */
	struct list_head calls;
	u64 req_prod;
	u32 replies_room;      /* bytes of the reply ring that no call under way may need */
	u32 seq;
	wait_queue_head_t calls_wait;
	u64 rep_cons;          /* the worker's */
	u8 *reply;

	struct mutex pool;     /* GRANT and REVOKE, one at a time */
	u32 ring_slots;        /* that have rings */
	u32 asked_slot;        /* where to look for one without */
	u64 heartbeat;
	unsigned long beat;    /* jiffies when it was last seen to move */

	atomic64_t event_armed; /* what the door says of it; 0: nobody waits for events */

	struct work_struct news, chores, burial, disposal;
	struct delayed_work tick;
};

struct mwk_ins *mwk_ins_get(struct mwk_ins *i);
void mwk_ins_put(struct mwk_ins *i);
void mwk_ins_quarantine(struct mwk_ins *i, const char *why); /* any context but hard interrupts */
struct mwk_ins *mwk_ins_choose(void);   /* in turn, counted; or ERR_PTR: -ENETDOWN, -ERESTARTSYS. May wait */
u32 mwk_ins_up_count(void);
void mwk_ins_kick(struct mwk_ins *i, bool sleeps);
void mwk_ins_mark(struct mwk_end *e);   /* the slot has work for the INS */
struct mwk_ins *mwk_ins_find(u64 serial); /* counted; NULL: it is gone */
struct mwk_ins *mwk_ins_after(u64 serial); /* the next one that came and serves, counted; NULL: none */
void mwk_ins_chores_all(void);          /* each shall look at its listeners */

#endif
