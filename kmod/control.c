// SPDX-License-Identifier: GPL-2.0
/*
 * control.c - requests to an INS and its replies, any number under way.
 * Trust: a reply is found by its number and checked against what was asked; one that answers nothing is a breach. An INS that
 * does not answer in time is given up, and so is every caller's wait.
 *
 * A caller that is killed leaves its call behind; the reply's room stays taken until the reply comes, and a socket that it
 * brings is closed.
 */
#include <linux/completion.h>
#include <linux/list.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "chan/bits.h"
#include "chan/msg.h"
#include "kmod/control.h"
#include "kmod/end.h"
#include "kmod/ins.h"
#include "kmod/main.h"

#define ANSWER_TIME (10 * HZ) /* an INS that takes longer is given up */

struct call {
	struct list_head node;
	struct mwk_ins *ins;
	struct mw_req q;
	struct mw_reply r;
	void *back;             /* room for the reply's value */
	u32 reserve;            /* bytes of the reply ring */
	int result;
	bool abandoned;
	struct completion done;
};

static u32 value_bytes(const struct mw_req *q, u32 op)
{
	if (op == MW_OP_GRANT)
		return (q->u.grant.rx_pages + q->u.grant.tx_pages) * (u32)sizeof(u32);
	if (op == MW_OP_VERB)
		return MW_VERB_BYTES;
	return op == MW_OP_SETSOCKOPT || op == MW_OP_GETSOCKOPT || op == MW_OP_IOCTL ? q->u.option.have : 0;
}

static void free_call(struct call *c)
{
	mwk_ins_put(c->ins);
	kvfree(c->back);
	kfree(c);
}

/* 0, -EAGAIN: no room now, -ENETDOWN. */
static int put(struct call *c, const void *value, u32 bytes)
{
	struct mwk_ins *i = c->ins;
	int e = -EAGAIN;

	spin_lock(&i->calls_lock);
	if (READ_ONCE(i->state) == MWK_INS_DEAD) {
		e = -ENETDOWN;
	} else if (i->replies_room >= c->reserve) {
		msg_request_seal(&c->q, c->q.op, i->seq + 1);
		e = door_put(&i->requests, &i->req_prod, &c->q, msg_request_bytes(c->q.op), value, bytes);
		if (e == 0) {
			i->seq++;
			i->replies_room -= c->reserve;
			list_add_tail(&c->node, &i->calls);
		}
	}
	spin_unlock(&i->calls_lock);
	if (e == -EPROTO) {
		mwk_ins_quarantine(i, "an impossible index in the request ring");
		e = -ENETDOWN;
	}
	return e;
}

static int send(struct call *c, const void *value)
{
	struct mwk_ins *i = c->ins;
	struct mw_arena __peer *a = arena_header(&i->view);
	long left;
	int e;

	left = wait_event_killable_timeout(i->calls_wait, (e = put(c, value, value_bytes(&c->q, c->q.op))) != -EAGAIN, ANSWER_TIME);
	if (e == -EAGAIN && left < 0)
		return -EINTR;
	if (e == -EAGAIN) {
		mwk_ins_quarantine(i, "no room for a request for 10 s");
		return -ENETDOWN;
	}
	if (e < 0)
		return e;
	atomic64_inc(&mwk_count.requests);
	mw_fence(); /* pairs with the INS's, between saying that it sleeps and its look at the ring */
	mwk_ins_kick(i, bits_flag_take(MW_WORD(&a->sleeping)));
	return 0;
}

/* True: the call is ours to free; false: its reply will do that. */
static bool leave(struct call *c)
{
	struct mwk_ins *i = c->ins;
	bool done;

	spin_lock(&i->calls_lock);
	done = list_empty(&c->node);
	c->abandoned = !done;
	spin_unlock(&i->calls_lock);
	return done;
}

static int wait(struct call *c)
{
	long left = wait_for_completion_killable_timeout(&c->done, ANSWER_TIME);

	if (left > 0)
		return c->result;
	if (left == 0) {
		mwk_ins_quarantine(c->ins, "a request was not answered within 10 s");
		return -ENETDOWN;
	}
	return -EINTR;
}

int mwk_control(struct mwk_ins *i, struct mw_req *q, u32 op, const void *value, struct mw_reply *r, void *back)
{
	struct call *c = kzalloc(sizeof(*c), GFP_KERNEL);
	u32 bytes = value_bytes(q, op);
	int e;

	if (!c)
		return -ENOMEM;
	c->ins = mwk_ins_get(i);
	INIT_LIST_HEAD(&c->node);
	init_completion(&c->done);
	c->q = *q;
	c->q.op = (u16)op;
	c->reserve = ALIGN((u32)sizeof(*r) + bytes, 8);
	if (back && bytes) {
		c->back = kvmalloc(bytes, GFP_KERNEL);
		if (!c->back) {
			free_call(c);
			return -ENOMEM;
		}
	}
	e = send(c, value);
	if (e < 0) {
		free_call(c);
		return e;
	}
	e = wait(c);
	if (!leave(c))
		return e;
	if (c->result != -ENETDOWN && r) {
		*r = c->r;
		if (c->back)
			memcpy(back, c->back, c->r.value_bytes);
	}
	e = e == -EINTR ? c->result : e; /* it came all the same */
	free_call(c);
	return e;
}

/* --- replies --- */

static struct call *find(struct mwk_ins *i, u32 seq)
{
	struct call *c;

	list_for_each_entry(c, &i->calls, node)
		if (c->q.seq == seq)
			return c;
	return NULL;
}

/* Nobody waits for it: a socket that it brings has no owner. */
static void drop(struct call *c, const struct mw_reply *r)
{
	struct mwk_end *e;

	if (c->q.op == MW_OP_SOCKET && r->status == 0) {
		e = mwk_end_claim(c->ins, r->slot, r->gen);
		if (!IS_ERR(e))
			mwk_end_close(e, false);
	}
	free_call(c);
}

static bool take(struct mwk_ins *i, u32 n)
{
	struct mw_reply r;
	struct call *c;
	bool abandoned;

	memcpy(&r, i->reply, sizeof(r));
	spin_lock(&i->calls_lock);
	c = find(i, r.seq);
	if (!c || msg_reply_check(&r, i->reply, n, &c->q) < 0) {
		spin_unlock(&i->calls_lock);
		mwk_ins_quarantine(i, c ? "a malformed reply" : "a reply that answers nothing");
		return false;
	}
	list_del_init(&c->node);
	i->replies_room += c->reserve;
	abandoned = c->abandoned;
	if (!abandoned) {
		c->r = r;
		c->result = r.status;
		if (c->back)
			memcpy(c->back, i->reply + sizeof(r), r.value_bytes);
		complete(&c->done); /* the caller frees it, once it has had this lock */
	}
	spin_unlock(&i->calls_lock);
	wake_up(&i->calls_wait);
	if (abandoned)
		drop(c, &r);
	return true;
}

bool mwk_control_replies(struct mwk_ins *i)
{
	for (;;) {
		s32 n = door_take(&i->replies, &i->rep_cons, i->reply, sizeof(struct mw_reply), sizeof(struct mw_reply) + MW_VALUE_MAX);

		if (n == 0)
			return true;
		if (n < 0) {
			mwk_ins_quarantine(i, "the reply ring does not check");
			return false;
		}
		if (!take(i, (u32)n))
			return false;
	}
}

void mwk_control_fail_all(struct mwk_ins *i)
{
	struct call *c, *next;
	LIST_HEAD(orphans);

	spin_lock(&i->calls_lock);
	list_for_each_entry_safe(c, next, &i->calls, node) {
		list_del_init(&c->node);
		c->result = -ENETDOWN;
		if (c->abandoned)
			list_add(&c->node, &orphans);
		else
			complete(&c->done);
	}
	spin_unlock(&i->calls_lock);
	wake_up_all(&i->calls_wait);
	list_for_each_entry_safe(c, next, &orphans, node)
		free_call(c);
}
