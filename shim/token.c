// SPDX-License-Identifier: Apache-2.0
/*
 * token.c - what a reader owes the doorbell: asking for a token, taking it back, telling of space.
 * Trust: the INS's counts decide only how many tokens are taken; each index is checked in chan/ring.c.
 *
 * All but token_service and token_drop are called with the socket's rx_lock held. A signal handler on this thread may
 * come between any two steps, as a guest (lock.h); token_after_guests puts right what it may have undone.
 */
#include "shim/token.h"
#include "shim/attach.h"
#include "shim/doorbell.h"
#include "shim/lock.h"
#include "shim/sock.h"
#include "shim/urgent.h"

void token_service(struct sock *k)
{
	if (ready_mark(VIEW(k), k->slot))
		shim_kick(k->ins);
}

/*
 * Takes back one token of the `rung`, if one is owed and there. It is counted first: who dies or is jumped out of
 * between leaves a token too many, which rx_wait takes, never a debt, which would cost a later token.
 */
static bool take_token(struct sock *k, uint64_t rung)
{
	uint64_t *taken = MW_WORD(&k->s->app.rx_taken);
	uint32_t guests = lock_guests();

	if (mw_load(taken) >= rung)
		return false;
	__atomic_fetch_add(taken, 1, __ATOMIC_RELAXED);
	if (doorbell_take(k->fd))
		return true;
	if (guests == lock_guests()) /* else a handler may have taken it for nobody's */
		__atomic_fetch_sub(taken, 1, __ATOMIC_RELAXED);
	return false;
}

/*
 * The ring looks empty at `cons`. Asks for a token, looks again, and only if it still is empty takes back the
 * tokens that were rung before it asked: one rung later tells of bytes that nobody has read (PROTOCOL.md 4).
 * Returns true when bytes came meanwhile.
 */
bool token_rearm(struct sock *k, const struct mw_ring *r, uint64_t cons)
{
	uint64_t rung = mw_load_acquire(MW_WORD(&k->s->ins.rx_rung)); /* before the arm */
	uint32_t used = 0;

	ring_arm(r, cons);
	if (ring_used(r, cons, &used) == 0 && used)
		return true;
	while (take_token(k, rung))
		;
	return false;
}

/* The INS stopped reading because the ring was full: tell it when enough has been taken. */
void token_space(struct sock *k, uint64_t cons)
{
	uint64_t event;

	mw_fence(); /* pairs with the INS's fence between rx_space_event and its second look */
	event = SLOT_INS(k, rx_space_event);
	if (event != MW_NEVER && cons > event)
		token_service(k);
}

/*
 * Bytes up to position `seen` have been looked at and some stay. What arrives behind them is an edge of its own, as
 * with TCP: nginx, told by FIONREAD how much there is, reads that and waits for the next edge. An event that was
 * passed and is not answered stays: its edge is still to come, and somebody who looked earlier waits for it.
 */
void token_behind(struct sock *k, const struct mw_ring *r, uint64_t seen)
{
	uint64_t event = SLOT_APP(k, rx_event);
	uint32_t beyond = 0;

	if (event == seen || SLOT_INS(k, rx_told) != event)
		return;
	ring_arm(r, seen);
	if (ring_used(r, seen, &beyond) == 0 && beyond)
		token_service(k); /* it came between: the INS looks at the event again */
}

/* SO_RCVLOWAT, at most what the ring can hold while the INS still reads. */
uint32_t token_lowat(struct sock *k)
{
	uint32_t n = SLOT_INS(k, lowat), most = VIEW(k)->rx_bytes / 2;

	return n < most ? n : most;
}

uint32_t token_least(struct sock *k, uint64_t cons)
{
	uint32_t hidden = __builtin_expect(SLOT_INS(k, rx_urgent) != 0, 0) ? urgent_hidden(k, cons) : 0, low = token_lowat(k);

	return hidden ? hidden + (low ? low : 1) : low;
}

/*
 * Fewer bytes are there than SO_RCVLOWAT: the descriptor must not look readable. As token_rearm(), behind the bytes that
 * are there; the INS answers this event when there are enough.
 */
void token_hide(struct sock *k, const struct mw_ring *r, uint64_t cons, uint64_t seen)
{
	uint64_t rung = mw_load_acquire(MW_WORD(&k->s->ins.rx_rung)); /* before the arm */
	uint32_t used = 0;

	ring_arm(r, seen);
	if (ring_used(r, cons, &used) == 0 && used >= token_least(k, cons)) {
		token_service(k); /* it may have looked before we armed */
		return;
	}
	while (take_token(k, rung))
		;
}

/* After bytes up to `cons` were taken, or looked at, of those up to `seen`. */
void token_again(struct sock *k, const struct mw_ring *r, uint64_t cons, uint64_t seen)
{
	if (cons != seen && seen - cons < token_least(k, cons))
		token_hide(k, r, cons, seen);
	else if (cons != seen)
		token_behind(k, r, seen);
	else if (token_rearm(k, r, cons)) /* in the same call, for edge-triggered readers */
		token_service(k); /* bytes came between: a short read has told the application to wait for their edge */
}

/* A handler came between and armed for itself; we armed for where we were before. The INS looks at it anew. */
void token_after_guests(struct sock *k, uint32_t before)
{
	struct mw_ring r;

	arena_rx(VIEW(k), k->slot, &r);
	for (uint32_t now = lock_guests(); now != before; now = lock_guests()) {
		before = now;
		ring_arm(&r, SLOT_APP(k, rx_cons));
		token_service(k);
	}
}

/* A token that nobody owes: do not spin on it. With the lock, for tokens are counted before they are taken. */
void token_drop(struct sock *k)
{
	uint32_t *lock = MW_WORD(&k->s->app.rx_lock);
	bool taken = lock_take(lock);

	if (SLOT_INS(k, rx_rung) == SLOT_APP(k, rx_taken))
		doorbell_take(k->fd);
	if (taken)
		lock_drop(lock);
}
