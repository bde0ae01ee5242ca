/* SPDX-License-Identifier: GPL-2.0 */
/*
 * end.h - ends: slots that sockets of ours own. Used by kmod/. Their lifetimes are in ins.h.
 * Trust: words and rings are the INS's to write; the rest of the struct is ours.
 */
#ifndef MW_KMOD_END_H
#define MW_KMOD_END_H

#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/types.h>

#include "chan/port.h"
#include "chan/ring.h"
#include "chan/wire.h"

struct mw_reply;
struct mw_req;
struct mwk_ins;
struct mwk_sock;

/* What an INS's socket was last told of ours, of the options that the kernel itself keeps. */
struct mwk_told {
	int reuse, reuseport, keepalive, sndbuf, rcvbuf, linger_on, linger, broadcast, inline_urgent, priority, lowat, dontroute;
};

/* A socket of ours at one INS. */
struct mwk_end {
	struct mwk_ins *ins;
	struct mwk_sock *owner; /* under mwk_ins.lock; NULL: closing, or not owned yet */
	struct list_head node;  /* of a listener's ends */
	u32 slot, gen;
	struct mw_slot __peer *words;
	struct mw_ring rx, tx;
	u64 rx_cons, tx_prod;
	u64 edge;               /* rx_prod up to which the owner was told that there is something to read */
	refcount_t refs;        /* whoever looks at it without being its owner */
	struct rcu_head rcu;    /* of its end */
	bool tx_wait;           /* somebody waits for room */
	bool dead;              /* the INS is gone, or the slot is not ours any more */
	bool closing;           /* nobody has it any more but the slot */
	bool listens;           /* its owner has it in mwk_sock.ends; under mwk_ins.lock */
	u64 urgent;             /* rx_urgent as the owner was last told of it; under mwk_sock.news */
	u64 urgent_taken;       /* rx_urgent when that byte was taken by itself; as above */
	u32 errors;             /* datagrams: rx_state up to which errors were taken */
	u32 tag;                /* datagrams: of FLUSH */
	struct mw_addr good;    /* datagrams: whither the last one went well, how long it was, and want_seed then */
	u32 good_bytes, good_seed;
	struct mwk_told told;
};

/* One shared word of the slot's. */
#define MWK_INS(e, field) mw_load(MW_WORD(&(e)->words->ins.field))
#define MWK_APP(e, field) MW_WORD(&(e)->words->app.field)
#define MWK_NAME(e, field) mw_load(MW_WORD(&(e)->words->names.field))

struct mwk_end *mwk_end_claim(struct mwk_ins *i, u32 slot, u32 gen); /* ERR_PTR: -EPROTO, -ENETDOWN, -ENOMEM */
int mwk_end_own(struct mwk_end *e, struct mwk_sock *m);  /* from now on it has news of it. -ENETDOWN */
struct mwk_end *mwk_end_look(struct mwk_sock *m);        /* without the socket's lock: its end, counted; NULL: it has none */
void mwk_end_put(struct mwk_end *e);
int mwk_end_listens(struct mwk_end *e); /* from now on mwk_listen_lost() tells of its end. -ENETDOWN: it has ended */
void mwk_end_close(struct mwk_end *e, bool linger);      /* the socket forgets it */
void mwk_end_news(struct mwk_ins *i, u32 slot);          /* the worker */
void mwk_end_bury(struct mwk_ins *i);                    /* all of a dead INS */
struct mwk_end *mwk_end_new(struct mwk_sock *m, struct mwk_ins *i); /* SOCKET there. ERR_PTR */
int mwk_end_ask(struct mwk_end *e, struct mw_req *q, u32 op, const void *value, struct mw_reply *r, void *back);

#endif
