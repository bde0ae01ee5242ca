/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mwk.h - the module's own nouns: INSs, ends of slots, sockets, control calls. Included by kmod/ alone.
 * Trust: what an INS can write (view, door, rings) is touched through chan/ only; everything in these structs is ours.
 *
 * Lifetimes. An INS (struct mwk_ins) is counted: one for its carrier, one for each end, one for each control call. With the last
 * its pages are given back. An end is a slot that a socket of ours owns; it lives until the INS has turned the slot's
 * generation after our close, or until both socket and INS are gone.
 *
 * Lock order: lock_sock(sk), then mwk_sock.news or mwk_ins.lock or mwk_ins.calls_lock, none of which nests in another of them. The
 * worker that serves an INS's news never takes lock_sock, so that a caller may wait for a reply while it holds that.
 */
#ifndef MW_KMOD_MWK_H
#define MW_KMOD_MWK_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/ipv6.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/tcp.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <net/sock.h>

#include "chan/arena.h"
#include "chan/door.h"
#include "chan/mark.h"
#include "chan/msg.h"
#include "kmod/carrier.h"
#include "kmod/compat.h"

#define MWK_CONTROL_TIME (10 * HZ)     /* an INS that takes longer to answer is given up */
#define MWK_ROOM         (128u << 10)  /* of each ring: the most that a slot has, and what datagrams need */

/* Pages that an INS shares, and where we see them, one behind the other. */
struct mwk_mem {
	u32 pages;
	u32 shared; /* of them have a ref */
	u8 *at;
	struct page **page;
	u32 *ref;
};

struct mwk_slot {
	struct mwk_mem rings;  /* rx, then tx; none: pages is 0 */
	struct mwk_end *end;   /* ours; under mwk_ins.lock */
	unsigned long since;   /* jiffies when it was last given back */
};

enum mwk_ins_state {
	MWK_INS_NEW,
	MWK_INS_UP,
	MWK_INS_DRAIN, /* gets nothing new */
	MWK_INS_DEAD,
};

struct mwk_ins {
	struct kref ref;
	struct list_head node; /* of ins.c's list of all */
	const struct mwk_carrier *carrier;
	void *carrier_private;
	u32 domain;
	u64 serial;            /* which one it is of all that ever came */
	u32 state;             /* MWK_INS_; once DEAD, for ever */
	bool drains;           /* it shall get nothing new, also when it is to serve yet */

	struct mw_view view;
	struct mw_door_view door;
	struct mw_ring requests, replies;
	struct mw_ring_sizes *sizes;
	struct mwk_slot *slot;
	struct mwk_mem directory, arena, door_mem, tele;

	spinlock_t lock;       /* slot[].end, mwk_end.owner, the step to DEAD */
	spinlock_t calls_lock; /* what follows */
	struct list_head calls;
	u64 req_prod;
	u32 replies_room;      /* bytes of the reply ring that no call under way may need */
	u32 seq;
	wait_queue_head_t calls_wait;
	u64 rep_cons;          /* the worker's */
	u8 *reply;

	struct mutex pool;     /* GRANT and REVOKE, one at a time */
	u32 ring_slots;        /* that have rings */
	u32 asked_slot;        /* where to look for one without */
	u64 heartbeat;
	unsigned long beat;    /* jiffies when it was last seen to move */

	atomic64_t event_armed; /* what the door says of it; 0: nobody waits for events */

	struct work_struct news, chores, burial, disposal;
	struct delayed_work tick;
};

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

/* An option that was set through us, for the listener's sockets at other INSs. */
struct mwk_set {
	struct list_head node;
	int level, name;
	u32 bytes;
	u8 value[];
};

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
	struct list_head sets;
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

struct mwk_call {
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

struct mwk_counts {
	atomic64_t sockets, ring_pages, ring_slots, shared_pages, requests, notified, news, accepted, sent, received, quarantined, broken;
};

extern struct mwk_counts mwk_count;
extern struct workqueue_struct *mwk_wq;       /* news: never waits for an INS */
extern struct workqueue_struct *mwk_slow_wq;  /* what asks an INS */
extern unsigned int mwk_slots, mwk_rx_kib, mwk_tx_kib, mwk_spare, mwk_idle_s, mwk_wait_s, mwk_limit_mib;

static inline struct mwk_sock *mwk_sk(const struct sock *sk)
{
	return (struct mwk_sock *)sk;
}

/* One shared word of the slot's. */
#define MWK_INS(e, field) mw_load(MW_WORD(&(e)->words->ins.field))
#define MWK_APP(e, field) MW_WORD(&(e)->words->app.field)
#define MWK_NAME(e, field) mw_load(MW_WORD(&(e)->words->names.field))

/* ins.c: INSs. */
struct mwk_ins *mwk_ins_get(struct mwk_ins *i);
void mwk_ins_put(struct mwk_ins *i);
void mwk_ins_quarantine(struct mwk_ins *i, const char *why); /* any context but hard interrupts */
struct mwk_ins *mwk_ins_choose(void);   /* in turn, counted; or ERR_PTR: -ENETDOWN, -ERESTARTSYS. May wait */
u32 mwk_ins_up_count(void);
void mwk_ins_kick(struct mwk_ins *i, bool sleeps);
void mwk_ins_mark(struct mwk_end *e);   /* the slot has work for the INS */
struct mwk_ins *mwk_ins_find(u64 serial); /* counted; NULL: it is gone */
struct mwk_ins *mwk_ins_after(u64 serial); /* the next one that came and serves, counted; NULL: none */
void mwk_ins_chores_all(void);          /* each shall look at its listeners */

/* control.c: requests. The INS's status, or -ENETDOWN, -EINTR (killed), -ENOMEM. q's value follows; `back` has room for u.option.have bytes. */
int mwk_control(struct mwk_ins *i, struct mw_req *q, u32 op, const void *value, struct mw_reply *r, void *back);
bool mwk_control_replies(struct mwk_ins *i); /* the worker: takes all; false: quarantined */
void mwk_control_fail_all(struct mwk_ins *i);

/* shared.c: the fixed parts. Their end, and that of all rings, is mwk_shared_free(), also when they were not whole. */
int mwk_shared_new(struct mwk_ins *i, u32 slots); /* 0, -ENOMEM, or the carrier's */
void mwk_shared_free(struct mwk_ins *i);

/* pool.c: pages, and rings of them. */
int mwk_mem_new(struct mwk_ins *i, struct mwk_mem *m, u32 pages);
void mwk_mem_free(struct mwk_ins *i, struct mwk_mem *m);
int mwk_pool_grant(struct mwk_ins *i, bool dgram);    /* rings for one more slot */
void mwk_pool_fill(struct mwk_ins *i);                /* enough of them */
void mwk_pool_trim(struct mwk_ins *i);                /* those that were idle for long */
bool mwk_pool_low(struct mwk_ins *i);
int mwk_pool_init(void);
void mwk_pool_fini(void);

/* end.c: slots of ours. */
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

/* sock.c */
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
extern const struct proto_ops mwk_stream_ops, mwk_stream6_ops, mwk_dgram_ops, mwk_dgram6_ops;

/* addr.c */
int mwk_addr_take(struct mw_addr *a, const void *sa, int len); /* a caller's. 0, -EINVAL, -EAFNOSUPPORT */
int mwk_addr_give(const struct mw_addr *a, void *to); /* bytes of the sockaddr */
bool mwk_addr_of(struct mwk_end *e, struct mw_addr *a, bool peer); /* its own or its peer's, as the INS says; false: nonsense */

/* conn.c: streams */
int mwk_conn_connect(struct socket *sock, struct mwk_sockaddr *addr, int len, int flags);
int mwk_conn_shutdown(struct socket *sock, int how);
__poll_t mwk_conn_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait);

/* stream.c */
int mwk_stream_send(struct socket *sock, struct msghdr *msg, size_t len);
int mwk_stream_recv(struct socket *sock, struct msghdr *msg, size_t len, int flags);
bool mwk_stream_readable(struct mwk_sock *m, struct mwk_end *e, u32 target);
bool mwk_stream_writable(struct mwk_end *e);
void mwk_stream_want_room(struct mwk_end *e);
int mwk_stream_unread(struct sock *sk);
void mwk_stream_space(struct mwk_end *e); /* rx_cons has moved */

/* urgent.c: TCP's urgent data */
/* How many of `used` bytes at *at one read may give, and *at moved to them; at 0 a read that has taken something ends. */
u32 mwk_urgent_cut(struct mwk_sock *m, struct mwk_end *e, u64 *at, u32 used, bool more);
u32 mwk_urgent_unread(struct mwk_sock *m, struct mwk_end *e, u32 used); /* as FIONREAD counts */
u32 mwk_urgent_hidden(struct mwk_sock *m, struct mwk_end *e);           /* unread bytes that no read would give */
bool mwk_urgent_stops(struct mwk_sock *m, struct mwk_end *e, u64 at);   /* the next byte is the urgent one */
bool mwk_urgent_waits(struct mwk_sock *m, struct mwk_end *e);           /* POLLPRI */
bool mwk_urgent_learn(struct mwk_end *e);                               /* news held: there is a new one */
int mwk_urgent_recv(struct sock *sk, struct msghdr *msg, size_t len, int flags);

/* dgram.c */
int mwk_dgram_send(struct socket *sock, struct msghdr *msg, size_t len);
int mwk_dgram_recv(struct socket *sock, struct msghdr *msg, size_t len, int flags);
__poll_t mwk_dgram_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait);
int mwk_dgram_connect(struct socket *sock, struct mwk_sockaddr *addr, int len, int flags);
int mwk_dgram_unread(struct sock *sk);
int mwk_dgram_shutdown(struct socket *sock, int how);
void mwk_dgram_news(struct mwk_sock *m, struct mwk_end *e);

/* listen.c */
int mwk_listen(struct socket *sock, int backlog);
int mwk_listen_accept(struct socket *sock, struct socket *newsock, MWK_ACCEPT_ARGS);
bool mwk_listen_ready(struct mwk_sock *m);
void mwk_listen_close(struct mwk_sock *m);
void mwk_listen_stop(struct mwk_sock *m); /* shutdown(): it may listen again */
void mwk_listen_lost(struct mwk_sock *m, struct mwk_end *e); /* if it still listens: it goes on without this end */
void mwk_listen_replicate(struct mwk_ins *i); /* every listener there is */

/* option.c */
int mwk_option_set(struct socket *sock, int level, int name, sockptr_t value, unsigned int bytes);
int mwk_option_get(struct socket *sock, int level, int name, char __user *value, int __user *bytes);
int mwk_option_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg);
void mwk_option_sync(struct mwk_sock *m, struct mwk_end *e); /* what the kernel's own setsockopt has changed */
bool mwk_option_due(const struct mwk_sock *m, const struct mwk_end *e);
void mwk_option_fresh(const struct mwk_sock *m, struct mwk_end *e); /* a new end: what the stack has anyway */
int mwk_option_replay(struct mwk_sock *m, struct mwk_end *e);
void mwk_option_forget(struct mwk_sock *m);
void mwk_option_keepalive(struct sock *sk, int on);
int mwk_option_lowat(struct sock *sk, int bytes);

/* telem.c: the second device node. */
int mwk_telem_init(void);
void mwk_telem_fini(void);
void mwk_telem_events(struct mwk_ins *i); /* the worker: there may be some that somebody waits for */
void mwk_telem_changed(void);             /* INSs have come or gone */

/* loop.c, xen.c: carriers that the module comes with. */
int mwk_loop_init(void);
void mwk_loop_fini(void);
int mwk_xen_init(void); /* 0 also where there is no Xen */
void mwk_xen_fini(void);

#endif
