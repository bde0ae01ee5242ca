/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ins.h - shared inside ins/ only: the socket table and who does what to it.
 * Trust: the application writes the arena's app words, its doorbell ends and its control connections; the network
 * sends bytes. Both are bounded here. The broker is believed.
 *
 * A socket is an index and a generation. Its life: op.c or accept.c make it, data.c moves bytes, bell.c shows its
 * state on the doorbell and learns of the application's close, slots.c ends it.
 */
#ifndef MW_INS_INS_H
#define MW_INS_INS_H

#include "chan/arena.h"
#include "chan/msg.h"
#include "chan/tele.h"
#include "ins/head.h"
#include "ins/journal.h"
#include "ins/xen/front.h"
#include "link/broker.h"
#include "link/gate.h"
#include "stack/stack.h"

#define NO_SLOT     0xffffffffu
#define EXTRA_MAX   2   /* listeners of the host's loopback beside our own */
#define SEED_BYTES  MW_NONCE_BYTES
#define MW_TRIM_LOCK 0x7fffffffu /* in mw_slot_app.tx_lock: ours; no thread has that id */

/* isock.flags */
#define F_RX_PAUSED   0x0001u /* ring full: waits for rx_space_event */
#define F_RX_DONE     0x0002u /* nothing more is read from the network */
#define F_FIN_SHOWN   0x0004u /* end marker sent, doorbell half-closed */
#define F_TX_BLOCKED  0x0008u /* the stack's send buffer is full: waits for OUT */
#define F_TX_DONE     0x0010u /* our FIN is on its way */
#define F_APP_WR_SHUT 0x0020u
#define F_APP_GONE    0x0040u
#define F_WANT_SPACE  0x0080u /* filler waits to be drained when there is room */
#define F_HELD_BACK   0x0200u /* bytes were sent with `more` */
#define F_RINGING     0x0400u /* on the doorbell list */
#define F_HOSTS       0x0100u /* its handle is a socket of the host's: loopback.c */
#define F_LINGER0     0x0800u /* SO_LINGER with no time: close is a reset */
#define F_PAUSED      0x1000u /* listener: accepts nothing for now */
#define F_DUAL        0x2000u /* an IPv6 socket that takes IPv4 too */
#define F_DIRTY       0x4000u /* ring pages were touched since the last trim */
#define F_PENDING     0x8000u /* a reply waits for the broker */
#define F_SEED_HEAD   0x10000u /* the doorbell's first record is the seed we made */
#define F_STREAM      0x20000u /* the doorbell carries the bytes: stream.c */
#define F_PUSH_BLOCKED 0x40000u /* stream: the doorbell's send budget is spent: waits for OUT */
#define F_FIN_DUE     0x80000u /* stream: FIN is to be shown behind the ring's bytes */
#define F_ERROR_DUE   0x100000u /* stream: the same for an error */
#define F_LOOP_WAITS  0x4000000u /* refused by our own loopback: the broker will be asked for a socket of the host's */
#define F_LOOP_ASKED  0x8000000u /* and was asked, or has answered */
#define F_BOUND       0x10000000u /* the application gave it a name before it connected */
#define F_PLAIN       0x40000000u /* datagrams: records have no header */
#define F_PUBLISHED   0x20000000u /* datagrams: the broker holds its port */

#define F_LINGER      0x1000000u /* SO_LINGER with a time: close must not wait, but the application's may: linger_s */
#define F_CORKED      0x2000000u /* TCP_CORK is on in the stack itself */
#define F_URGENT_INLINE 0x200000u /* SO_OOBINLINE; in the stack it is always on */
#define F_URGENT_AHEAD  0x400000u /* the stack has an urgent byte, behind what the ring had room for */
#define F_URGENT_TAKEN  0x800000u /* and the application has taken it by itself */
#define F_INHERITED   (F_LINGER0 | F_LINGER | F_CORKED | F_URGENT_INLINE) /* what an accepted connection has from its listener */

#define ENDING_FREE   1u
#define ENDING_ORPHAN 2u

struct isock {
	uint32_t gen;         /* first: slots_new() */
	uint32_t flags;
	uint8_t state;        /* MW_ST_ */
	uint8_t extra_count;
	uint16_t family;
	uint16_t type;        /* MW_TYPE_ */
	uint16_t asked;       /* MW_OP_, with F_PENDING */
	uint32_t app_flags;   /* MW_APP_ bits already applied */
	int tcp, bell, tomb;
	int dead;             /* what tcp was before the stack ended it: still asked for options, and by again.c */
	int lowat;            /* SO_RCVLOWAT if more than 1 */
	int extra[EXTRA_MAX];
	bool unseen;          /* accepted, and the application has never seen it: it has no doorbell */
	bool ready;           /* in its listener's list of that name; one unseen and not ready is in `held` */
	uint8_t ending;       /* ENDING_: its slot's use ends */
	int app_end;          /* ready: the doorbell's other end */
	uint32_t next, prev;  /* in the free list, or a struct list */
	uint32_t conn, conn_gen, seq; /* whom to answer when the broker has */
	uint32_t idle_ticks;
	uint32_t stray_at;    /* bytes of the first stray record already sent */
	uint32_t want_seed;
	int bell_budget;      /* datagrams: bytes of kernel memory that may wait for the application */
	uint32_t heads;       /* datagrams: headers ever put where the rx ring would be */
	struct head head;     /* the first bytes, until it is decided what they are */
	uint64_t rx_prod, rx_told, rx_rung, tx_cons;
	uint64_t rx_cons, tx_prod; /* stream: the rings' other ends are ours too */
	uint32_t linger_s;    /* of F_LINGER */
	uint32_t filler;      /* stream: bytes to drop before data */
	bool spoke;           /* the peer, last */
	bool error_told;      /* to an operator who asked */
	int refused;          /* errno of a connect() that was the socket's last, or 0 */
	bool waking;          /* who waits on the doorbell shall look again */
	uint8_t counted;      /* by which caps: block.c */
	uint32_t held;        /* options that the operator holds: operator.c */
	uint32_t holding;     /* ... and those for which the application's value is kept already */
	int sndlowat;         /* SO_SNDLOWAT if more than 1 */
	uint32_t rx_limit, tx_limit; /* most that a ring may hold; 0: all of it */
	int backlog, op_backlog; /* listener: the application's, the operator's or -1 */
	uint64_t backlog_verdict; /* of op_backlog */
	uint64_t rx_seen_ns, tx_seen_ns; /* the last event of bytes */
	int urgent_due;       /* stream: the byte to send as urgent data when tx_prod is urgent_at, or -1 */
	uint64_t urgent_at;
	uint64_t tx_urgent;   /* stream: the application's word of that name is ours too */
	uint64_t rx_urgent, drop_from, drop_to; /* what the slot says */
	uint32_t share;       /* listener: which of those that all INSs serve; 0: none */
	uint64_t tx_told;     /* door: as rx_told */
	uint64_t handed_at;   /* door: where its record in the listener's ring ends; 0: it has none */
	uint32_t errors;      /* door, datagrams: rx_state */
	int siren[2];         /* a pair whose first end's owner is the application's: it gets SIGURG */
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

/* What an event belongs to: kind, sub-index, slot (or connection), generation, packed into epoll's 64 bits. */
enum event_kind { EV_TCP, EV_LISTEN, EV_BELL, EV_TOMB, EV_CONN, EV_CONTROL, EV_KICK, EV_BROKER, EV_VERB, EV_KINDS };
struct event {
	enum event_kind kind;
	uint32_t sub, index, gen, mask;
};

/* What goes back beside the status: see struct mw_reply. */
struct answer {
	const uint8_t *value;
	uint32_t bytes;
	int32_t length;
};

/* poll.c: epoll and nothing else knows it */
#define TCP_MASK (EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET) /* of every connection's handle */
int poll_init(void);
int poll_add(int fd, enum event_kind kind, uint32_t sub, uint32_t index, uint32_t gen, uint32_t mask);
int poll_change(int fd, enum event_kind kind, uint32_t sub, uint32_t index, uint32_t gen, uint32_t mask);
int poll_wait(int timeout_ms);                  /* how many events the journal has now */
void poll_event(int i, struct event *e);
int poll_left(void);                            /* what the last wait told, of a worker that died */

/* slots.c */
int slots_init(uint32_t count);
void slots_recover(void);
struct isock *slots_new(uint32_t *slot);        /* NULL: the table is full */
struct isock *slots_new_for(uint16_t type, uint32_t *slot);
bool slots_spent(void);                         /* there is none for a connection */
uint32_t slots_spares(void);                    /* door: for connections */
void slots_spare(uint32_t slot);                /* door: it has rings now */
void slots_unspare(uint32_t slot);              /* ... and loses them */
void slots_free(uint32_t slot);                 /* logs the flow, closes what is open */
void slots_abort(struct isock *s);              /* its handle is closed with a reset */
void slots_orphan(uint32_t slot);               /* the same, but what the application may still ask for stays */
struct isock *slots_find(uint32_t slot, uint32_t gen); /* NULL unless it is in use with that generation */
struct isock *slots_find_asked(uint32_t slot, uint32_t gen); /* an orphan that answers for options too */
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

#define LIST_EMPTY ((struct list){ NO_SLOT, NO_SLOT, 0 })
void list_append(struct list *q, struct isock *s);
void list_remove(struct list *q, struct isock *s);
void list_recover(struct list *q, bool (*is_member)(const struct isock *s, const struct isock *l), const struct isock *l);

/* observe.c */
int observe_init(uint32_t slots);               /* makes the telemetry memory, ins.tele, or takes it over */
struct mw_tele *observe_header(void);
void observe_new(struct isock *s);              /* begins its flow record */
void observe_end(struct isock *s);              /* ends it, and logs it */
void observe_stack(struct isock *s);            /* which socket of the stack's it is */
void observe_rx(struct isock *s, uint64_t bytes);
void observe_tx(struct isock *s, uint64_t bytes);
void observe_head(struct isock *s, uint64_t from); /* the bytes of the rx ring from there on; not when it is decided */
void observe(struct isock *s, uint32_t kind, uint64_t extra); /* an event, MW_EV_, if anybody wants events */
void observe_wake(void);

/* verb.c */
struct verb_msg;
int verb_init(void);
void verb_event(void);
void verb_again(void);
#define VERB_LATER 1                             /* carried out in part; verb_answer() when all is done */
void verb_answer(struct verb_msg *m, uint32_t sweep);
uint32_t verb_answered(void);                    /* a worker died of whose late answers that one was given: its sweep + 1, or 0 */
/* Door: a request's MW_VERB_BYTES. 0 with the answer, VERB_LATER, or -errno. */
int verb_asked(const uint8_t *record, uint32_t seq, struct answer *a);
int verb_end(struct isock *s, const struct verb_msg *m);
void verb_acted(struct isock *s, uint32_t verb, uint64_t verdict); /* on that socket: it is noted, and told */

/* block.c: m->number is filled */
int block_init(void);
void block_recover(void);
int block_add(struct verb_msg *m);               /* may be VERB_LATER */
bool block_sweeping(void);                       /* some are left to be reset: do not sleep */
void block_sweep(void);                          /* some of those */
int block_remove(struct verb_msg *m);
int block_cap(struct verb_msg *m);
bool block_hits(const struct mw_addr *peer);     /* no traffic with it */
bool block_refuses(struct isock *s);             /* just accepted, and it must not stay */
void block_gone(struct isock *s);                /* its slot ends */

/* operator.c */
int operator_init(uint32_t slots);
int operator_set(struct isock *s, const struct verb_msg *m, const uint8_t *value);
int operator_set_all(struct verb_msg *m, const uint8_t *value);
int operator_get(struct isock *s, struct verb_msg *m, uint8_t *value); /* s NULL: what new ones get */
int operator_backlog(struct isock *l, const struct verb_msg *m);
int operator_backlog_all(struct verb_msg *m);
int operator_listen(struct isock *l, int backlog); /* the application's backlog came: the one to use */
void operator_app_set(struct isock *s, int level, int name); /* the application's value is in force: no longer, if held */
void operator_app_get(struct isock *s, int level, int name, uint8_t *at, int32_t length);
void operator_new(struct isock *s);
void operator_accepted(const struct isock *l, struct isock *s); /* or the same socket in another slot */
void operator_door(const struct isock *l, int app_end);
void operator_acks(struct isock *s);               /* bytes came */
static inline uint32_t within(uint32_t room, const struct mw_ring *r, uint32_t limit) /* room of a ring with a limit */
{
	uint32_t used = r->bytes - room;

	return !limit ? room : used < limit ? limit - used : 0;
}

/* data.c */
int ring_iov(const struct mw_ring *r, uint64_t pos, uint32_t n, struct iovec iov[2]);
static inline int stack_handle(const struct isock *s) { return s->tcp >= 0 ? s->tcp : s->dead; }
void slots_state(struct isock *s, uint32_t state);
void slots_show_names(struct isock *s);        /* to the application, when its flow record has others */
void slots_names(struct isock *s, const struct mw_addr *peer);
void slots_trim(void);

/* data.c */
void data_rx(struct isock *s, bool hup);  /* network to rx ring */
void data_tx(struct isock *s);            /* tx ring to network */
void data_rx_recover(struct isock *s);    /* the journal's deed is this socket's */
void data_tx_recover(struct isock *s);
int64_t data_sent(struct isock *s);
void data_service(struct isock *s);       /* the application marked it ready */
void data_fail(struct isock *s, int error, uint32_t end); /* ends the connection and shows it */
void data_tx_failed(struct isock *s, int r); /* a send said r: < 0 and not -EAGAIN */
void data_quarantine(struct isock *s);

/* bell.c */
int bell_pair(struct isock *s, int type, int *app_end, uint64_t *cookie);
int bell_adopt(struct isock *s, int fd, int type);  /* type: SOCK_SEQPACKET or SOCK_STREAM, see MW_LANE_ */
void bell_event(struct isock *s, uint32_t mask);
void bell_drain(struct isock *s);
void bell_ring_later(struct isock *s);
void bell_ring_all(void);
bool bell_enough(struct isock *s, const struct mw_ring *r); /* to be told of, by SO_RCVLOWAT */
void bell_wake(struct isock *s);           /* calls that wait there look again */
void bell_show_fin(struct isock *s);
void bell_show_error(struct isock *s, int error);
void bell_gone(struct isock *s);
void bell_gone_on(struct isock *s);        /* what follows once F_APP_GONE is set, for an established socket */
void bell_token_recover(struct isock *s);  /* the journal's deed is this socket's */
void bell_marker_recover(struct isock *s);
void bell_stray_recover(struct isock *s);
void bell_take_recover(struct isock *s);

/* stream.c */
int stream_adopt(struct isock *s, int fd, uint64_t cookie); /* the new doorbell is ours when it returns 0 */
void stream_event(struct isock *s, uint32_t mask);
bool stream_pull(struct isock *s);         /* from the doorbell to the tx ring; false: nothing there, or no room */
void stream_push(struct isock *s);         /* from the rx ring to the doorbell */
void stream_show_fin(struct isock *s);
void stream_show_error(struct isock *s);
void stream_done(struct isock *s);         /* our FIN is on its way */
void stream_filled(struct isock *s);       /* what is unread now is filler */
void stream_drain(struct isock *s);        /* drops it: the application may write */
void stream_recover(struct isock *s);      /* it may wait for what has been told already */
void stream_pull_recover(struct isock *s); /* the journal's deed is this socket's */
void stream_push_recover(struct isock *s);
void stream_filler_recover(struct isock *s);
uint64_t stream_written(const struct isock *s); /* tx_prod once all is pulled that the application has written */

/* urgent.c: see there */
void urgent_reached(struct isock *s);      /* the next byte of the stack is urgent */
void urgent_announced(struct isock *s);    /* the stack has an urgent byte, and the ring is full */
void urgent_inline_was_set(struct isock *s);
int urgent_inline_get(struct isock *s, void *value, uint32_t *bytes); /* as getopt() of SO_OOBINLINE, of any socket */
uint32_t urgent_hidden(struct isock *s);   /* unread bytes that no read would give */
uint32_t urgent_before(const struct isock *s, uint32_t n); /* stream: of the n bytes to push, those before the urgent one */
bool urgent_at_mark(struct isock *s);
uint64_t urgent_behind_dropped(const struct isock *s, uint64_t at); /* a position of reading, as it really is */
int urgent_take(struct isock *s, bool peek, int32_t *byte);
int urgent_send(struct isock *s, uint8_t byte);
int urgent_owner(struct isock *s, int fd); /* takes fd when it returns 0 */
void urgent_init(void);
void urgent_recover(struct isock *s);       /* whom the stack signals is another process now */
void urgent_signalled(void);               /* in each loop */

/* gate.c */
int gate_init(uint32_t slots);
void gate_recover(struct isock *l);
bool gate_rule(const char *text);              /* --gate, of the command line */
void gate_listen(struct isock *l);             /* a new listener: what its gate is */
bool gate_hold(struct isock *l, struct isock *s); /* false: it may go on at once */
void gate_received(struct isock *s);           /* a held one, bytes or an end: s may be gone afterwards */
void gate_forget(struct isock *s);             /* a held one that ends */
void gate_close(struct isock *l);              /* drops all that it holds */
bool gate_make_room(void);                     /* drops whoever is held longest; false: nobody is */
int gate_change(struct verb_msg *m, const void *value); /* of a port; m->number is filled */
int gate_tell(const struct isock *l, struct verb_msg *m, void *value);
int gate_wait_ms(void);                        /* to the next deadline; -1: there is none */
void gate_tick(void);

/* accept.c */
void accept_ready(struct isock *l, struct isock *s); /* as soon as the application's queue has room */
void accept_forget(struct isock *s);                 /* one that waited for it and ends */
void accept_handed(struct isock *s);                 /* the application has it */
void accept_recover(int fd);
void accept_close(struct isock *l);                  /* nobody accepts any more: all that wait end */
void accept_event(struct isock *l, uint32_t sub);
void accept_bell(struct isock *l, uint32_t mask);
void accept_watch(struct isock *l);
void accept_shut(struct isock *l);
void accept_resume_all(void);

/* op.c */
void op_handle(uint32_t conn, struct mw_req *q, const uint8_t *value, int fd);
void op_broker_answer(const struct broker_msg *m, int *fds, int count);
void op_abandon(struct isock *s);  /* the socket is gone before the broker has answered */

/* dgram.c */
int dgram_init(void);
int dgram_digits(void);
void dgram_up_recover(struct isock *s);  /* a record is on the doorbell */
void dgram_in_recover(struct isock *s);  /* the journal's deed is this socket's */
void dgram_out_recover(struct isock *s);
void dgram_recover(struct isock *s);
int dgram_start(struct isock *s, uint32_t lane);
void dgram_wake(struct isock *s);
void dgram_event(struct isock *s, const struct event *e);
void dgram_service(struct isock *s, uint32_t flags); /* door: marked, with these MW_APP_ flags */
int dgram_connect(struct isock *s, const struct mw_addr *to);
int dgram_flush(struct isock *s, uint32_t tag);
int dgram_shutdown(struct isock *s, uint32_t how);
void dgram_changed(struct isock *s);            /* what was known of destinations is not known any more */
int dgram_bound(struct isock *s, const struct broker_msg *m, int *fds, int count); /* published: now bind */

/* app.c */
int app_init(void);
int app_watch(void);
void app_recover(void);
void app_know(void (*know)(int fd));
void app_take(int fd);          /* a new connection */
void app_again(void);
void app_reply_late(const struct isock *s, int status); /* to whom wait_for_broker() noted; the deed is begun */
void app_accept(void);
void app_event(uint32_t conn, uint32_t gen);
#define DOOR_CONN 0             /* the door counts as a connection */
void app_door(uint64_t limit);  /* door: its requests up to there */
void app_reply(uint32_t conn, uint32_t conn_gen, const struct mw_req *q, int status, uint32_t slot, const struct answer *a);
int app_conn_fd(uint32_t conn);
void app_reply_verb(uint32_t seq, const struct answer *a); /* door; the deed is begun */
/* As app_reply, but when all is handled that the request set off on this machine: after another look at what is ready. */
void app_reply_settled(uint32_t conn, uint32_t conn_gen, const struct mw_req *q, int status, uint32_t slot);
bool app_settling(void);        /* such a reply waits: do not sleep */
void app_settled(void);         /* at the end of each loop */
void app_reply_hello(uint32_t conn, const struct mw_req *q);
uint32_t app_conn_gen(uint32_t conn);

/* uplink.c: the broker */
#define EXIT_ENDED 0 /* the worker's status, and then the INS's: the broker has ended it */
#define EXIT_LOST  3 /* ... is gone, or speaks nonsense */
#define EXIT_MOVED 6 /* the worker's: to be handed over; the INS's: another program has it. xen/front.h has more */
void uplink_send(const struct broker_msg *m);
void uplink_pass(const struct broker_msg *m, const uint8_t *value, uint32_t n); /* with a value behind it */
void uplink_tell(const struct broker_msg *m, const int *fds, int count);
/* What the job waits for now: an answer of the broker's. fds: two, or -1; value: n bytes behind the record. */
void uplink_ask(const struct broker_msg *m, const uint8_t *value, uint32_t n, const int fds[2]);
void uplink_event(void);
void uplink_again(void);

/* loopback.c */
void loopback_recover(struct isock *s);
bool loopback_ask(struct isock *s); /* the host's may take it: the answer comes later */
void loopback_answer(const struct broker_msg *m, int *fd);

/* share.c: listeners that all INSs of the application serve */
void share_ask(struct isock *l, struct broker_msg *m); /* fills BM_LISTEN */
void share_told(struct isock *l, const struct mw_req_option *o, const uint8_t *value); /* to the others */
void share_backlog(struct isock *l, int backlog);
void share_event(const struct broker_msg *m, const uint8_t *value, int fds[2]); /* takes those that it sets to -1 */

/* again.c: a connect() that failed */
void again_failed(struct isock *s, int error);
int again_keep(struct isock *s);    /* what an orphan keeps of it: a handle, or -1 */
void again_options(int from, int to);
/* The socket that failed in slot `from`, in a new one; the doorbell `fd` is ours when it returns 0. */
int again_start(uint32_t from, uint32_t gen, int fd, int type, uint64_t cookie, uint32_t *slot);

/* policy.c: options that are not simply the stack's business */
enum policy { POLICY_PLAIN, POLICY_PROGRAM, POLICY_DESCRIPTOR, POLICY_ULP, POLICY_ZEROCOPY, POLICY_MAP, POLICY_STAMPS,
	      POLICY_ERRORS };
enum policy policy_option(int level, int name);
bool policy_ioctl(unsigned int request);
bool policy_control_ok(int level, int type);        /* control data that goes out with a datagram */

/* option.c */
int option_init(void);
int option_set(struct isock *s, const struct mw_req_option *o, const uint8_t *value, int fd);
int option_get(struct isock *s, const struct mw_req_option *o, const uint8_t *value, struct answer *a);
int option_ioctl(struct isock *s, const struct mw_req_option *o, const uint8_t *value, struct answer *a);
void option_was_set(struct isock *s, int level, int name);
void option_show_lowat(struct isock *s);            /* to the shim */
void option_copy(int from, int to);                 /* what a second listener must have too */

/* recover.c: what a worker that died has left, made whole; before the first round */
void recover(void);
int recover_highest(void);      /* no descriptor that belongs to the INS is above it */

/* upgrade.c: the INS moves to another program */
void upgrade_ask(int fd);       /* the worker: to be handed over there, at the end of this loop */
void upgrade_due(void);         /* ... which it is: may not return */
bool upgrade_give(void);        /* the keeper: the next program has it. False: it does not, and never will */
void upgrade_take(void);        /* the next program's keeper: returns when it has it */

/* keeper.c */
int keeper_init(void);
void keeper_poke(void);               /* journal->unwatched, and there is work */
int keeper(void (*work)(void)); /* runs it in a process of its own, and again when that dies; the INS's exit status */

/* starter.c: makes workers, at the keeper's order */
int starter_pair(void); /* of one that is taken over: before the old one has gone */
int starter_begin(void (*work)(void)); /* in a process of its own. 0 or -errno */
pid_t starter_worker(void);            /* another one's process, or -1 */
void starter_end(void);

/* sandbox.c */
int sandbox_enter(const char **what); /* for all: the starter's */
int sandbox_keeper(void);             /* fewer, once there is a starter */
int sandbox_worker(void);

#endif
