// SPDX-License-Identifier: Apache-2.0
/*
 * control.c - see front.h: requests and replies in the door's rings, each exactly once, whichever worker dies when.
 * Trust: a record's length is checked by door_take, its contents by msg_request_check; where the rings stand is our own.
 *
 * A record is copied and noted before its place is given back; a reply is noted before it is published. So the next worker
 * knows how far each ring was led, and leads it there.
 */
#include "chan/msg.h"
#include "ins/ins.h"
#include "ins/journal.h"
#include "ins/state.h"
#include "ins/xen/front.h"

static struct {
	uint64_t req_cons, rep_prod;
	uint64_t taking; /* req_cons before the job's request */
	uint64_t replying; /* rep_prod before the deed's reply, + 1; 0: there is none */
} *kept;

int control_init(void)
{
	kept = state_block("door control", sizeof(*kept));
	return kept ? 0 : -ENOMEM;
}

/* The ring, with a word of our own in the place of the index that the other side sees. */
static void private_requests(struct mw_ring *r, uint64_t *word)
{
	door_requests(&memory_door, r);
	r->cons = (uint64_t __peer *)word;
}

static void private_replies(struct mw_ring *r, uint64_t *word)
{
	door_replies(&memory_door, r);
	r->prod = (uint64_t __peer *)word;
}

static void show_taken(void)
{
	struct mw_ring r;

	door_requests(&memory_door, &r);
	ring_release(&r, kept->req_cons);
}

static void show_replied(void)
{
	struct mw_ring r;

	door_replies(&memory_door, &r);
	ring_publish(&r, kept->rep_prod);
	front_woken(door_wake(&memory_door));
}

static uint64_t behind(uint64_t at, uint32_t bytes)
{
	return at + ((bytes + 7) & ~7u);
}

void control_recover(void)
{
	if (journal->job.kind == JOB_REQUEST)
		kept->req_cons = behind(kept->taking, journal->job.m.msg_len);
	if (kept->replying && kept->replying != kept->rep_prod + 1)
		journal->deed.m.msg_len = sizeof(struct mw_reply); /* so deed_done() */
	kept->replying = 0;
	show_taken();
	show_replied();
}

uint64_t control_limit(void)
{
	struct mw_ring r;

	door_requests(&memory_door, &r);
	return mw_load_acquire(MW_WORD(r.prod));
}

bool control_pending(void)
{
	return control_limit() != kept->req_cons;
}

ssize_t control_take(uint64_t limit)
{
	struct job *j = &journal->job;
	uint64_t cons = kept->req_cons, word;
	struct mw_ring r;
	int32_t n;

	if (limit == cons)
		return 0;
	if (limit - cons > MW_DOOR_RING) /* also when it is behind us, or within a record */
		return -EPROTO;
	private_requests(&r, &word);
	n = door_take(&r, &cons, j->u.request, offsetof(struct mw_req, u), sizeof(j->u.request));
	if (n <= 0)
		return n;
	j->again = j->found = j->state = 0;
	j->m.msg_len = (uint32_t)n;
	j->m.msg_hdr.msg_flags = 0;
	j->m.msg_hdr.msg_controllen = 0;
	kept->taking = kept->req_cons;
	mw_order();
	mw_store(&j->kind, (uint32_t)JOB_REQUEST);
	mw_order();
	kept->req_cons = cons;
	show_taken();
	return n;
}

int control_reply(const struct mw_reply *reply, const struct answer *a)
{
	uint64_t prod = kept->rep_prod, word;
	struct mw_ring r;
	int e;

	private_replies(&r, &word);
	mw_store(&kept->replying, prod + 1);
	mw_order();
	e = door_put(&r, &prod, reply, sizeof(*reply), a->value, a->bytes);
	if (e < 0) {
		kept->replying = 0;
		return e;
	}
	mw_order();
	mw_store(&kept->rep_prod, prod);
	mw_order();
	journal->deed.m.msg_len = reply->bytes;
	mw_order();
	kept->replying = 0;
	if (reply->slot < ins.view.slots)
		mirror_touch(reply->slot);
	show_replied();
	return 0;
}
