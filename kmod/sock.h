/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sock.h - sockets, as the kernel and programs have them. Used by kmod/. Lock order: ins.h.
 * Trust: none of it can be written by an INS.
 */
#ifndef MW_KMOD_SOCK_H
#define MW_KMOD_SOCK_H

#include <linux/ipv6.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/tcp.h>
#include <linux/types.h>
#include <net/sock.h>

#include "chan/wire.h"

struct mw_req;
struct mwk_end;

/*
 * The kernel takes a socket of this family and protocol for a tcp_sock in places (time stamps, audit): it is one, zeroed, before
 * what is ours.
 */
struct mwk_sock {
	union {
		struct sock sk;
		struct tcp6_sock tcp;
	};
	struct mwk_end *end;    /* of a listener: the first, may be NULL once that has died */
	struct list_head ends;  /* of a listener, all; under lock_sock */
	struct list_head listener; /* of listen.c's list of all */
	struct list_head sets;  /* option.c's */
	spinlock_t news;        /* what the INS said, becoming sk_err, sk_shutdown, sk_state */
	bool connecting;        /* CONNECT was sent and its outcome is not known */
	bool failed;            /* sk_err was set for good */
	bool fin;               /* the peer's */
	bool dgram;
	bool errors, errors6;   /* a datagram socket's IP_RECVERR, IPV6_RECVERR */
	int backlog;
	int first_sndbuf, first_rcvbuf;
	u64 number;             /* a listener's, growing */
	pid_t pid;              /* of the process that made or accepted it */
	u16 wire_type;          /* MW_TYPE_ */
	struct mw_addr bound;   /* a listener's name */
};

static inline struct mwk_sock *mwk_sk(const struct sock *sk)
{
	return (struct mwk_sock *)sk;
}

extern struct proto mwk_proto;
struct mwk_sock *mwk_sock_new(struct net *net, int family, bool dgram, int protocol);
int mwk_sock_create(int family, int type, int protocol, int flags); /* the descriptor */
int mwk_sock_ask(struct sock *sk, struct mw_req *q, u32 op);
void mwk_sock_news(struct mwk_sock *m, struct mwk_end *e);
void mwk_sock_fail(struct mwk_sock *m, int error);
void mwk_sock_broken(struct mwk_sock *m, struct mwk_end *e); /* the INS broke a rule: -ECONNABORTED for this socket */
/* sock locked. Waits until ready(sk, n), looking after each wake-up; 0, or -EAGAIN, or -ERESTARTSYS, -EINTR. */
int mwk_sock_wait(struct sock *sk, long *timeo, bool (*ready)(struct sock *sk, u32 n), u32 n);
/* How long a call waits, in jiffies: the operator's word, or else the application's own. */
long mwk_sock_timeo(struct sock *sk, struct mwk_end *e, bool sending, bool no_wait);

#endif
