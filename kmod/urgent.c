// SPDX-License-Identifier: GPL-2.0
/*
 * urgent.c - TCP's urgent data: one byte of the stream, the mark, that can be taken by itself. See chan/mark.h, ins/urgent.c.
 * Trust: the INS's words decide only which of the ring's bytes are given.
 *
 * The kernel keeps SO_OOBINLINE; whether the byte was taken by itself is ours too, as far as poll() must know it.
 */
#include <net/tcp_states.h>

#include "chan/mark.h"
#include "chan/msg.h"
#include "kmod/end.h"
#include "kmod/sock.h"
#include "kmod/urgent.h"

/* False: there never was any, and all bytes are as others. */
static bool see(struct mwk_sock *m, struct mwk_end *e, u64 at, struct mw_mark *k)
{
	if (likely(!MWK_INS(e, rx_urgent)))
		return false;
	mark_see(k, e->words, at, e->rx.bytes);
	k->in_line = sock_flag(&m->sk, SOCK_URGINLINE);
	return true;
}

u32 mwk_urgent_cut(struct mwk_sock *m, struct mwk_end *e, u64 *at, u32 used, bool more)
{
	struct mw_mark k;

	return see(m, e, *at, &k) ? mark_cut(&k, at, used, more) : used;
}

u32 mwk_urgent_unread(struct mwk_sock *m, struct mwk_end *e, u32 used)
{
	struct mw_mark k;

	return see(m, e, e->rx_cons, &k) ? mark_unread(&k, e->rx_cons, used) : used;
}

u32 mwk_urgent_hidden(struct mwk_sock *m, struct mwk_end *e)
{
	u64 cons = READ_ONCE(e->rx_cons);
	struct mw_mark k;

	return see(m, e, cons, &k) ? mark_hidden(&k, cons) : 0;
}

bool mwk_urgent_stops(struct mwk_sock *m, struct mwk_end *e, u64 at)
{
	struct mw_mark k;

	return see(m, e, at, &k) && k.ahead == 0;
}

bool mwk_urgent_waits(struct mwk_sock *m, struct mwk_end *e)
{
	u64 mark = MWK_INS(e, rx_urgent);
	struct mw_mark k;

	if (!mark || mark == READ_ONCE(e->urgent_taken))
		return false;
	return mark == MW_NEVER || (see(m, e, READ_ONCE(e->rx_cons), &k) && k.ahead < e->rx.bytes);
}

/* One that was announced before it was in the ring is no new one when it is. */
bool mwk_urgent_learn(struct mwk_end *e)
{
	u64 mark = MWK_INS(e, rx_urgent), before = e->urgent;

	if (mark == before)
		return false;
	e->urgent = mark;
	if (before == MW_NEVER && e->urgent_taken == MW_NEVER)
		WRITE_ONCE(e->urgent_taken, mark);
	return mark && before != MW_NEVER;
}

static void taken(struct mwk_sock *m, struct mwk_end *e)
{
	spin_lock(&m->news);
	WRITE_ONCE(e->urgent_taken, MWK_INS(e, rx_urgent));
	spin_unlock(&m->news);
}

/* As tcp_recv_urg(): the byte is taken also where there is no room for it. sock locked. */
int mwk_urgent_recv(struct sock *sk, struct msghdr *msg, size_t len, int flags)
{
	struct mw_req q = { .u.urgent = { .what = flags & MSG_PEEK ? MW_URGENT_PEEK : MW_URGENT_TAKE } };
	struct mwk_sock *m = mwk_sk(sk);
	struct mw_reply r;
	u8 byte;
	int e;

	if (sk->sk_state == TCP_SYN_SENT)
		return -EINVAL;
	e = mwk_end_ask(m->end, &q, MW_OP_URGENT, NULL, &r, NULL);
	if (e < 0)
		return e == -ENETDOWN ? -EINVAL : e;
	if (r.length < 0)
		return 0;
	byte = (u8)r.length;
	if (!(flags & MSG_PEEK))
		taken(m, m->end);
	msg->msg_flags |= len ? MSG_OOB : MSG_OOB | MSG_TRUNC;
	if (!len || flags & MSG_TRUNC)
		return len ? 1 : 0;
	return memcpy_to_msg(msg, &byte, 1) ? -EFAULT : 1;
}
