// SPDX-License-Identifier: Apache-2.0
/*
 * twin.c - connections whose two ends are both this process's: what one end does is seen at the other at once.
 * Trust: ports in the arena are the INS's word; a lie costs a needless request.
 *
 * On loopback Linux has delivered when send(), shutdown() or close() returns, and a program with one thread that polls
 * the other end next counts on it. Here the INS is in between: so after such a call it is asked for nothing, and its
 * answer comes when all is handled that the call set off (ins/app.c). Nobody else pays for it. A connection that one
 * thread makes while another accepts it may not be noticed: those two have to wait for each other in any case.
 */
#include <sys/socket.h>

#include "shim/shim.h"

static uint32_t dialed[65536];          /* local port: the socket that connected from it, + 1 */
static bool twin[MW_SLOTS_MAX];

static uint16_t port_of(struct mw_slot __peer *s, bool peer)
{
	return mw_load(peer ? MW_WORD(&s->names.peer.port) : MW_WORD(&s->names.local.port));
}

void twin_new(uint32_t slot)
{
	twin[slot] = false;
}

void twin_dialed(struct sock *k)
{
	__atomic_store_n(&dialed[port_of(k->s, false)], k->slot + 1, __ATOMIC_RELAXED);
}

void twin_accepted(struct sock *k)
{
	uint16_t port = port_of(k->s, true);
	uint32_t other = __atomic_load_n(&dialed[port], __ATOMIC_RELAXED) - 1;
	struct mw_slot __peer *s;

	twin[k->slot] = false;
	if (other >= shim_view.slots)
		return;
	s = arena_slot(&shim_view, other);
	twin[k->slot] = port_of(s, false) == port && port_of(s, true) == port_of(k->s, false);
	if (twin[k->slot])
		twin[other] = true;
}

void twin_settle(const struct sock *k)
{
	struct mw_req q = { .slot = k->slot, .gen = SLOT_INS(k, gen) };
	struct mw_reply r;

	if (__builtin_expect(!twin[k->slot], 1) || !in_own_process())
		return;
	q.u.option.level = SOL_SOCKET;
	q.u.option.name = SO_ERROR;
	ctl_call(&q, MW_OP_GETSOCKOPT, -1, &r); /* of 0 bytes; whatever it says */
}
