// SPDX-License-Identifier: GPL-2.0
/*
 * end.c - slots that sockets of ours own.
 * Trust: an INS names a slot and a generation; that it exists, has rings, is in use with that generation and is no other socket's
 * is seen here. Nothing of a slot is touched after our close; it is the INS's until its generation has turned.
 *
 * An end that is claimed and not owned yet, or not any more, is the claimer's: only one that was closed (`closing`) goes with its slot.
 */
#include <linux/slab.h>
#include <net/tcp_states.h>

#include "chan/msg.h"
#include "kmod/control.h"
#include "kmod/end.h"
#include "kmod/ins.h"
#include "kmod/listen.h"
#include "kmod/main.h"
#include "kmod/option.h"
#include "kmod/pool.h"
#include "kmod/sock.h"

static atomic64_t cookies;

struct mwk_end *mwk_end_claim(struct mwk_ins *i, u32 slot, u32 gen)
{
	struct mwk_end *e = kzalloc(sizeof(*e), GFP_KERNEL);
	int error = -EPROTO;

	if (!e)
		return ERR_PTR(-ENOMEM);
	if (slot < i->view.slots)
		mwk_end_news(i, slot); /* it may have been another's a moment ago, and the mark that says so not be looked at yet */
	spin_lock(&i->lock);
	if (i->state == MWK_INS_DEAD)
		error = -ENETDOWN;
	else if (slot < i->view.slots && !i->slot[slot].end && i->sizes[slot].rx_bytes && gen & 1) {
		e->words = arena_slot(&i->view, slot);
		error = mw_load_acquire(MW_WORD(&e->words->ins.gen)) == gen ? 0 : -EPROTO;
	}
	if (!error) {
		refcount_set(&e->refs, 1);
		e->ins = mwk_ins_get(i);
		e->slot = slot;
		e->gen = gen;
		INIT_LIST_HEAD(&e->node);
		arena_rx(&i->view, slot, &e->rx);
		arena_tx(&i->view, slot, &e->tx);
		e->rx.data = MW_PEER(i->slot[slot].rings.at);
		e->tx.data = MW_PEER(i->slot[slot].rings.at + i->sizes[slot].rx_bytes);
		i->slot[slot].end = e;
	}
	spin_unlock(&i->lock);
	if (error) {
		kfree(e);
		if (error == -EPROTO)
			mwk_ins_quarantine(i, "it named a slot that cannot be");
		return ERR_PTR(error);
	}
	atomic64_inc(&mwk_count.sockets);
	return e;
}

int mwk_end_own(struct mwk_end *e, struct mwk_sock *m)
{
	int error = 0;

	if (!(current->flags & PF_KTHREAD)) /* else a listener's further one */
		m->pid = task_tgid_nr(current);
	spin_lock(&e->ins->lock);
	if (e->dead) {
		error = -ENETDOWN;
	} else {
		e->owner = m;
		mw_store(MWK_APP(e, pid), (u32)m->pid);
	}
	spin_unlock(&e->ins->lock);
	return error;
}

int mwk_end_listens(struct mwk_end *e)
{
	int error;

	spin_lock(&e->ins->lock);
	e->listens = !e->dead;
	error = e->dead ? -ENETDOWN : 0;
	spin_unlock(&e->ins->lock);
	return error;
}

struct mwk_end *mwk_end_look(struct mwk_sock *m)
{
	struct mwk_end *e;

	rcu_read_lock();
	e = READ_ONCE(m->end);
	if (e && !refcount_inc_not_zero(&e->refs))
		e = NULL;
	rcu_read_unlock();
	return e;
}

void mwk_end_put(struct mwk_end *e)
{
	if (!refcount_dec_and_test(&e->refs))
		return;
	atomic64_dec(&mwk_count.sockets);
	mwk_ins_put(e->ins);
	kfree_rcu(e, rcu);
}

/* mwk_ins.lock held. The slot is not e's any more. */
static void unlist(struct mwk_end *e)
{
	struct mwk_slot *s = &e->ins->slot[e->slot];

	if (s->end == e) {
		s->end = NULL;
		s->since = jiffies;
	}
	e->dead = true;
}

/* The peer has acknowledged all, or the connection has failed. */
static bool is_over(struct sock *sk, u32 unused)
{
	return READ_ONCE(mwk_sk(sk)->end->dead) || READ_ONCE(sk->sk_state) == TCP_CLOSE;
}

void mwk_end_close(struct mwk_end *e, bool linger)
{
	struct mwk_ins *i = e->ins;
	bool gone;
	long left;

	if (linger && !READ_ONCE(e->dead)) {
		atomic_or(MW_APP_LINGERS | MW_APP_CLOSED, (atomic_t *)MWK_APP(e, flags));
		mwk_ins_mark(e);
		left = (long)e->owner->sk.sk_lingertime;
		mwk_sock_wait(&e->owner->sk, &left, is_over, 0);
	}
	spin_lock(&i->lock);
	gone = e->dead;
	e->owner = NULL;
	e->closing = true;
	if (!gone) {
		if (linger)
			atomic_and(~MW_APP_LINGERS, (atomic_t *)MWK_APP(e, flags));
		atomic_or(MW_APP_CLOSED, (atomic_t *)MWK_APP(e, flags));
		mwk_ins_mark(e);
	}
	spin_unlock(&i->lock);
	if (gone)
		mwk_end_put(e);
}

/* The owner's, counted. *closed: there is none, and the INS has ended the slot. */
static struct mwk_sock *look(struct mwk_ins *i, u32 slot, struct mwk_end **e, bool *closed)
{
	struct mwk_sock *m = NULL;
	bool turned;

	*closed = false;
	spin_lock(&i->lock);
	*e = i->slot[slot].end;
	if (*e) {
		turned = mw_load_acquire(MW_WORD(&(*e)->words->ins.gen)) != (*e)->gen;
		m = (*e)->owner;
		if (m) {
			sock_hold(&m->sk);
			refcount_inc(&(*e)->refs);
		}
		if (turned)
			unlist(*e);
		*closed = turned && (*e)->closing;
	}
	spin_unlock(&i->lock);
	return m;
}

void mwk_end_news(struct mwk_ins *i, u32 slot)
{
	struct mwk_end *e;
	bool closed;
	struct mwk_sock *m = look(i, slot, &e, &closed);

	if (closed)
		mwk_end_put(e);
	if (!m)
		return;
	mwk_sock_news(m, e);
	mwk_end_put(e);
	sock_put(&m->sk);
}

/* A socket's owner may hold its lock for long, which must not keep the others from hearing of the end: only listeners are locked. */
void mwk_end_bury(struct mwk_ins *i)
{
	for (u32 s = 0; s < i->view.slots; s++) {
		struct mwk_sock *m = NULL;
		struct mwk_end *e;
		bool closed = false, listens = false;

		spin_lock(&i->lock);
		e = i->slot[s].end;
		if (e) {
			m = e->owner;
			if (m) {
				sock_hold(&m->sk);
				refcount_inc(&e->refs);
			}
			unlist(e);
			closed = e->closing;
			listens = e->listens;
		}
		spin_unlock(&i->lock);
		if (closed)
			mwk_end_put(e);
		if (!m)
			continue;
		if (listens)
			mwk_listen_lost(m, e);
		mwk_sock_news(m, e);
		mwk_end_put(e);
		sock_put(&m->sk);
	}
}

struct mwk_end *mwk_end_new(struct mwk_sock *m, struct mwk_ins *i)
{
	struct mw_req q = { .u.socket = { .type = m->wire_type, .cookie = (u64)atomic64_inc_return(&cookies),
					  .family = m->sk.sk_family == AF_INET ? MW_FAMILY_IP4 : MW_FAMILY_IP6 } };
	struct mw_reply r;
	struct mwk_end *e;
	int error = 0;

	for (int tries = 0; tries < 4; tries++) {
		error = mwk_control(i, &q, MW_OP_SOCKET, NULL, &r, NULL);
		if (error != -ENOBUFS)
			break;
		if (mwk_pool_grant(i, m->dgram) < 0)
			break;
	}
	if (error < 0)
		return ERR_PTR(error);
	e = mwk_end_claim(i, r.slot, r.gen);
	if (IS_ERR(e))
		return PTR_ERR(e) == -EPROTO ? ERR_PTR(-ENETDOWN) : e;
	mwk_option_fresh(m, e);
	error = mwk_end_own(e, m);
	if (error < 0) {
		mwk_end_close(e, false);
		return ERR_PTR(error);
	}
	return e;
}

int mwk_end_ask(struct mwk_end *e, struct mw_req *q, u32 op, const void *value, struct mw_reply *r, void *back)
{
	struct mw_reply unused;

	if (READ_ONCE(e->dead))
		return -ENETDOWN;
	q->slot = e->slot;
	q->gen = e->gen;
	return mwk_control(e->ins, q, op, value, r ? r : &unused, back);
}
