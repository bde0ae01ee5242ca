/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ins.h - a socket, and all that an INS has. Used by ins/.
 * Trust: the application writes the arena's app words, its doorbell ends and its control connections; the network
 * sends bytes. Both are bounded here. The broker is believed.
 *
 * A socket is an index and a generation. Its life: op.c or accept.c make it, data.c moves bytes, bell.c shows its
 * state on the doorbell and learns of the application's close, slots.c ends it.
 */
#ifndef MW_INS_INS_H
#define MW_INS_INS_H

#include "chan/arena.h"
#include "chan/tele.h"
#include "ins/head.h"
#include "link/gate.h"
#include "stack/stack.h"

#define NO_SLOT     0xffffffffu
#define EXTRA_MAX   2   /* listeners of the host's loopback beside our own */
#define SEED_BYTES  MW_NONCE_BYTES

/* isock.flags */
#define F_RX_PAUSED     0x00000001u /* ring full: waits for rx_space_event */
#define F_RX_DONE       0x00000002u /* nothing more is read from the network */
#define F_FIN_SHOWN     0x00000004u /* end marker sent, doorbell half-closed */
#define F_TX_BLOCKED    0x00000008u /* the stack's send buffer is full: waits for OUT */
#define F_TX_DONE       0x00000010u /* our FIN is on its way */
#define F_APP_WR_SHUT   0x00000020u
#define F_APP_GONE      0x00000040u
#define F_WANT_SPACE    0x00000080u /* filler waits to be drained when there is room */
#define F_HOSTS         0x00000100u /* its handle is a socket of the host's: loopback.c */
#define F_HELD_BACK     0x00000200u /* bytes were sent with `more` */
#define F_RINGING       0x00000400u /* on the doorbell list */
#define F_LINGER0       0x00000800u /* SO_LINGER with no time: close is a reset */
#define F_PAUSED        0x00001000u /* listener: accepts nothing for now */
#define F_DUAL          0x00002000u /* an IPv6 socket that takes IPv4 too */
#define F_DIRTY         0x00004000u /* ring pages were touched since the last trim */
#define F_PENDING       0x00008000u /* a reply waits for the broker */
#define F_SEED_HEAD     0x00010000u /* the doorbell's first record is the seed we made */
#define F_STREAM        0x00020000u /* the doorbell carries the bytes: stream.c */
#define F_PUSH_BLOCKED  0x00040000u /* stream: the doorbell's send budget is spent: waits for OUT */
#define F_FIN_DUE       0x00080000u /* stream: FIN is to be shown behind the ring's bytes */
#define F_ERROR_DUE     0x00100000u /* stream: the same for an error */
#define F_URGENT_INLINE 0x00200000u /* SO_OOBINLINE; in the stack it is always on */
#define F_URGENT_AHEAD  0x00400000u /* the stack has an urgent byte, behind what the ring had room for */
#define F_URGENT_TAKEN  0x00800000u /* and the application has taken it by itself */
#define F_LINGER        0x01000000u /* SO_LINGER with a time: close must not wait, but the application's may: linger_s */
#define F_CORKED        0x02000000u /* TCP_CORK is on in the stack itself */
#define F_LOOP_WAITS    0x04000000u /* refused by our own loopback: the broker will be asked for a socket of the host's */
#define F_LOOP_ASKED    0x08000000u /* and was asked, or has answered */
#define F_BOUND         0x10000000u /* the application gave it a name before it connected */
#define F_PUBLISHED     0x20000000u /* datagrams: the broker holds its port */
#define F_PLAIN         0x40000000u /* datagrams: records have no header */
#define F_INHERITED   (F_LINGER0 | F_LINGER | F_CORKED | F_URGENT_INLINE) /* what an accepted connection has from its listener */

#define ENDING_FREE   1u
#define ENDING_ORPHAN 2u

struct isock {
	uint32_t gen;         /* first: slots_new() */
	uint32_t flags;
	uint8_t state;        /* MW_ST_ */
	uint8_t ending;       /* ENDING_: its slot's use ends */
	uint8_t extra_count;
	uint8_t counted;      /* by which caps: block.c */
	uint16_t family;
	uint16_t type;        /* MW_TYPE_ */
	uint32_t app_flags;   /* MW_APP_ bits already applied */
	uint32_t next, prev;  /* in the free list, or a struct list */
	uint32_t idle_ticks;  /* trim.c */

	/* Descriptors, or -1. */
	int tcp, bell, tomb;
	int dead;             /* what tcp was before the stack ended it: still asked for options, and by again.c */
	int extra[EXTRA_MAX];
	int app_end;          /* ready: the doorbell's other end */
	int siren[2];         /* a pair whose first end's owner is the application's: it gets SIGURG */

	/* Whom to answer when the broker has, with F_PENDING. */
	uint16_t asked;       /* MW_OP_ */
	uint32_t conn, conn_gen, seq;
	int refused;          /* errno of a connect() that was the socket's last, or 0 */

	/* Positions in the rings, as in struct mw_slot. */
	uint64_t rx_prod, rx_told, rx_rung, tx_cons;
	uint64_t rx_seen_ns, tx_seen_ns; /* the last event of bytes */
	bool spoke;           /* the peer, last */
	struct head head;     /* the first bytes, until it is decided what they are */
	uint32_t stray_at;    /* bytes of the first stray record already sent */
	uint32_t want_seed;
	bool waking;          /* who waits on the doorbell shall look again */
	uint32_t linger_s;    /* of F_LINGER */
	int64_t linger_until_ms; /* and when it is over, once the application has closed it: lib/clock.h's */
	int lowat, sndlowat;  /* SO_RCVLOWAT, SO_SNDLOWAT if more than 1 */
	uint64_t rx_urgent, drop_from, drop_to; /* what the slot says */

	/* A listener; a connection that nobody has accepted. */
	int backlog, op_backlog; /* the application's, the operator's or -1 */
	uint64_t backlog_verdict; /* of op_backlog */
	uint32_t share;       /* which of those that all INSs serve; 0: none */
	bool unseen;          /* accepted, and the application has never seen it: it has no doorbell */
	bool ready;           /* in its listener's list of that name; one unseen and not ready is in `held` */

	/* The operator's: operator.c, verb.c. */
	uint32_t held;        /* options that he holds */
	uint32_t holding;     /* ... and those for which the application's value is kept already */
	uint32_t rx_limit, tx_limit; /* most that a ring may hold; 0: all of it */
	bool error_told;      /* to an operator who asked */

	/* The stream lane. */
	uint64_t rx_cons, tx_prod; /* the rings' other ends are ours too */
	uint64_t tx_urgent;   /* and the application's word of that name */
	uint64_t urgent_at;
	int urgent_due;       /* the byte to send as urgent data when tx_prod is urgent_at, or -1 */
	uint32_t filler;      /* bytes to drop before data */

	/* Datagrams. */
	int bell_budget;      /* bytes of kernel memory that may wait for the application */
	uint32_t heads;       /* headers ever put where the rx ring would be */

	/* The door: xen/front.h. */
	uint64_t tx_told;     /* as rx_told */
	uint64_t handed_at;   /* where its record in the listener's ring ends; 0: it has none */
	uint32_t errors;      /* datagrams: rx_state */
};

/* Sockets in order, linked by their next and prev. */
struct list {
	uint32_t first, last, count; /* NO_SLOT: none */
};

/* What a listener has beside a socket. */
struct listener {
	struct list held;     /* by its gate, oldest first */
	struct list ready;    /* these may go, but the application's accept queue is full, or there is no descriptor */
	struct verb_gate gate;
};

/* Numbers of descriptors that are made at the start and stay. */
struct fixed {
	int32_t epoll, kick, arena, tele, state;
	int32_t signals, poke; /* the keeper's */
	int32_t starter[2];    /* keeper and starter */
	int32_t digit[MW_DG_DIGITS]; /* dgram.c */
	int32_t last;          /* they are all below, or it */
};

struct ins {
	struct mw_view view;
	struct mw_tele_view tele;
	struct isock *socks;
	struct listener *listeners; /* by slot */
	struct list spare[2];  /* slots for new sockets. Door: those with large rings are in the second */
	uint32_t used;
	uint32_t *ringing;
	uint32_t ringing_count;
	struct fixed *fd;     /* a block of the state's */
	int control;
	uint64_t now_ns;      /* CLOCK_REALTIME at the start of this loop */
	uint32_t number;      /* ours among those of the application */
	bool taken;           /* another program's INS is taken over: upgrade.c */
	bool door;            /* the application is another machine's kernel: xen/front.h */
	bool publish;         /* listeners are announced to the broker */
	bool starved;         /* a listener was paused because slots or descriptors ran out */
	bool trim_due;
	bool core;            /* a worker that crashes may leave one */
	bool host_loopback;   /* what our own loopback refuses may be on the host's */
	const struct stack *stack;
};

extern struct ins ins;

/* What goes back beside the status: see struct mw_reply. */
struct answer {
	const uint8_t *value;
	uint32_t bytes;
	int32_t length;
};

static inline struct mw_arena *ins_arena(void) { return (struct mw_arena *)(mw_uintptr)arena_header(&ins.view); }
static inline struct listener *listener_of(const struct isock *l) { return &ins.listeners[l - ins.socks]; }
static inline struct isock *sock_at(uint32_t slot) { return &ins.socks[slot]; }
static inline uint32_t slot_of(const struct isock *s) { return (uint32_t)(s - ins.socks); }
static inline struct mw_slot *shared_of(const struct isock *s)
{
	return (struct mw_slot *)(mw_uintptr)arena_slot(&ins.view, slot_of(s));
}
static inline struct mw_flow *flow_of(const struct isock *s)
{
	return (struct mw_flow *)(mw_uintptr)tele_flow(&ins.tele, slot_of(s));
}
static inline int handle_of(const struct isock *s, uint32_t sub) /* its own, or one of the host's loopback's */
{
	return sub == 0 ? s->tcp : s->extra[sub - 1];
}
static inline int stack_handle(const struct isock *s) { return s->tcp >= 0 ? s->tcp : s->dead; }

#endif
