/* SPDX-License-Identifier: GPL-2.0 */
/*
 * urgent.h - TCP's urgent data. Used by kmod/.
 * Trust: as in urgent.c.
 */
#ifndef MW_KMOD_URGENT_H
#define MW_KMOD_URGENT_H

#include <linux/types.h>

struct msghdr;
struct mwk_end;
struct mwk_sock;
struct sock;

/* How many of `used` bytes at *at one read may give, and *at moved to them; at 0 a read that has taken something ends. */
u32 mwk_urgent_cut(struct mwk_sock *m, struct mwk_end *e, u64 *at, u32 used, bool more);
u32 mwk_urgent_unread(struct mwk_sock *m, struct mwk_end *e, u32 used); /* as FIONREAD counts */
u32 mwk_urgent_hidden(struct mwk_sock *m, struct mwk_end *e);           /* unread bytes that no read would give */
bool mwk_urgent_stops(struct mwk_sock *m, struct mwk_end *e, u64 at);   /* the next byte is the urgent one */
bool mwk_urgent_waits(struct mwk_sock *m, struct mwk_end *e);           /* POLLPRI */
bool mwk_urgent_learn(struct mwk_end *e);                               /* news held: there is a new one */
int mwk_urgent_recv(struct sock *sk, struct msghdr *msg, size_t len, int flags);

#endif
