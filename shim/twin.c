// SPDX-License-Identifier: Apache-2.0
/*
 * twin.c - connections whose two ends are both this process's: what one end does is seen at the other at once.
 * Trust: ports in the arena are the INS's word; a lie costs a needless request.
 *
 * On loopback Linux has delivered when send(), shutdown() or close() returns, and a program with one thread that polls
 * the other end next counts on it. Here the INS is in between: so after such a call it is asked for nothing, and its
 * answer comes when all is handled that the call set off (ins/app.c). Nobody else pays for it.
 */
#include <sys/socket.h>

#include "shim/twin.h"
#include "chan/msg.h"
#include "shim/attach.h"
#include "shim/fdtab.h"
#include "shim/fork.h"
#include "shim/sock.h"

static uint32_t dialed[65536];          /* local port: the place of the socket that connected from it, + 1 */
static uint32_t accepted[65536];        /* peer's port: of the socket that was accepted from it */

static uint16_t port_of(struct mw_slot __peer *s, bool peer)
{
	return mw_load(peer ? MW_WORD(&s->names.peer.port) : MW_WORD(&s->names.local.port));
}

/* k is in its table. One thread may accept what another has not finished connecting: the later of the two finds the first. */
static void look(struct sock *k, const uint32_t *others, uint16_t port)
{
	uint32_t place = __atomic_load_n(&others[port], __ATOMIC_SEQ_CST);
	struct sock other;

	if (!place)
		return;
	sock_at(&other, place - 1);
	if (port_of(other.s, false) != port_of(k->s, true) || port_of(other.s, true) != port_of(k->s, false))
		return;
	APP_SET(k, MW_APP_TWIN);
	APP_SET(&other, MW_APP_TWIN);
}

void twin_dialed(struct sock *k)
{
	uint16_t port = port_of(k->s, false);

	__atomic_store_n(&dialed[port], PLACE(k->ins, k->slot) + 1, __ATOMIC_SEQ_CST);
	look(k, accepted, port);
}

void twin_accepted(struct sock *k)
{
	uint16_t port = port_of(k->s, true);

	__atomic_store_n(&accepted[port], PLACE(k->ins, k->slot) + 1, __ATOMIC_SEQ_CST);
	look(k, dialed, port);
}

int twin_ask(const struct sock *k, uint32_t gen)
{
	struct mw_req q = { .slot = k->slot, .gen = gen };
	struct mw_reply r;

	q.u.option.level = SOL_SOCKET;
	q.u.option.name = SO_ERROR;
	return ctl_call(k, &q, MW_OP_GETSOCKOPT, -1, &r); /* of 0 bytes */
}

void twin_settle(const struct sock *k)
{
	if (__builtin_expect(!(APP_FLAGS(k) & MW_APP_TWIN), 1) || !in_own_process())
		return;
	twin_ask(k, SLOT_INS(k, gen)); /* whatever it says */
}
