/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * tele.h - telemetry memory, byte for byte: flow records, the log of closed flows, events. And where its parts are.
 * Trust: ins alone writes it, and the application never maps it. Readers check every value before use all the same.
 *
 * One sealed memory file for each INS: mw_tele | events | log | flows. Nobody waits for a reader: one that falls behind
 * finds that events or log entries were overwritten, and counts them.
 */
#ifndef MW_CHAN_TELE_H
#define MW_CHAN_TELE_H

#include "wire.h"

#define MW_TELE_MAGIC   0x31454c455443574dULL /* "MWCTELE1" */
#define MW_TELE_VERSION 1u
#define MW_EVENTS       16384u /* events kept; a power of two */
#define MW_LOG_ENTRIES  4096u  /* closed flows kept */

/* mw_flow.end: why a flow ended */
#define MW_END_NONE       0u
#define MW_END_CLOSED     1u /* both sides closed, or the application closed */
#define MW_END_RESET      2u /* the peer reset it, or it timed out: mw_flow.error says */
#define MW_END_REFUSED    3u /* never established */
#define MW_END_QUARANTINE 4u /* the application broke the channel's rules on it */
#define MW_END_VERB       5u /* a verb ended it: mw_flow.verdict says which */
#define MW_END_GATE       6u /* the gate dropped it before the application saw it: mw_flow.error says why */
#define MW_END_NUM        7u

/* mw_flow.head: what the first bytes are */
#define MW_HEAD_NONE     0u /* nothing yet */
#define MW_HEAD_PARTIAL  1u /* a header that is not complete */
#define MW_HEAD_COMPLETE 2u
#define MW_HEAD_OTHER    3u /* neither HTTP/1 nor TLS, or longer than 64 KiB */
#define MW_HEAD_NUM      4u

/* Options that applications and operators both set; the operator's wins. Index of mw_flow.option[]. */
#define MW_OPT_LINGER       0u /* seconds */
#define MW_OPT_KEEPALIVE    1u /* 0, 1 */
#define MW_OPT_KEEPIDLE     2u /* seconds */
#define MW_OPT_KEEPINTVL    3u /* seconds */
#define MW_OPT_KEEPCNT      4u
#define MW_OPT_USER_TIMEOUT 5u /* milliseconds */
#define MW_OPT_RCVTIMEO     6u /* milliseconds */
#define MW_OPT_SNDTIMEO     7u /* milliseconds */
#define MW_OPT_NUM          8u
#define MW_OPT_UNSET        (-1)
#define MW_OPT_OFF          (-2) /* linger: set, to off */

struct mw_option_pair {
	int32_t app, operator; /* MW_OPT_UNSET: never set by that side */
};

/* Flow record. Written by ins. Times: CLOCK_REALTIME nanoseconds, 0 = not yet. rx: from the network to the application. */
struct mw_flow {
	uint64_t id;           /* generation << 32 | slot; 0 while there is none. Stored last at the beginning, first at the end */
	uint64_t opened_ns;    /* connect() or accept by the INS; creation for others */
	uint64_t handed_ns;    /* given to the application's accept queue */
	uint64_t first_rx_ns, last_rx_ns; /* bytes from the network */
	uint64_t first_tx_ns, last_tx_ns; /* bytes to the network */
	uint64_t peer_fin_ns, app_fin_ns, app_close_ns, closed_ns;
	uint64_t rx_bytes, tx_bytes;
	uint64_t rx_calls, tx_calls;
	uint64_t rx_silence_ns, tx_silence_ns; /* the longest time without a byte, of those that are over */
	uint64_t turns;        /* times the peer spoke after we had: requests, for most protocols */
	uint64_t head_ns;      /* the first header was complete */
	uint64_t cookie;       /* SO_COOKIE of the stack's own socket */
	uint64_t listener;     /* id of the listener it came from, or 0 */
	uint64_t verdict;      /* id of the last verb that acted on it, or 0 */
	uint64_t rx_unread, tx_unsent; /* at closed_ns; live values come from the ring's words */
	struct mw_addr local, peer;
	uint32_t pid;          /* at closed_ns; the live value is the application's word */
	uint32_t state;        /* MW_ST_ */
	uint32_t end;          /* MW_END_ */
	int32_t error;         /* errno that ended it, or 0 */
	uint32_t type;         /* MW_TYPE_ of msg.h */
	uint32_t head;         /* MW_HEAD_ */
	uint32_t head_bytes;   /* of the first header so far */
	uint32_t verdicts;     /* verbs that acted on it */
	uint32_t verb;         /* the last one's kind */
	uint32_t pad1;
	struct mw_option_pair option[MW_OPT_NUM];
	uint64_t asked_ns;     /* by a listener: the peer began to speak, and we have not answered since; 0: we have */
	uint64_t rx_busy_ns;   /* from a request's first byte to its answer's, over those that are answered */
	uint64_t pad2[16];
};
MW_ASSERT(sizeof(struct mw_flow) == 504, "mw_flow");
MW_ASSERT(offsetof(struct mw_flow, local) == 192, "mw_flow.local");

/* mw_event.kind: the first seven are the MAGICWAND stream's numbers */
#define MW_EV_CREATE  1u
#define MW_EV_BIND    2u
#define MW_EV_ACCEPT  3u /* by the INS; extra: the new socket; id: its listener */
#define MW_EV_CONNECT 4u
#define MW_EV_RECV    5u /* bytes from the network: the first after 100 ms, totals so far */
#define MW_EV_SEND    6u
#define MW_EV_CLOSE   7u
#define MW_EV_LISTEN  8u
#define MW_EV_HANDED  9u /* to the application's accept queue */
#define MW_EV_FIN     10u /* the peer's */
#define MW_EV_HEAD    11u /* the first header is complete; extra: its bytes */
#define MW_EV_VERB    12u /* a verb acted on it */
#define MW_EV_GATE    13u /* the gate drops it; error says why */
#define MW_EV_NUM     14u

/* One event: all that a reader needs, since the slot may have another socket by then. */
struct mw_event {
	uint64_t seq;          /* its number + 1; 0 while it is written */
	uint64_t time_ns;
	uint64_t id;           /* mw_flow.id */
	uint64_t extra;
	uint64_t opened_ns;
	uint64_t rx_bytes, tx_bytes;
	uint64_t verdict;
	uint8_t local[16], peer[16];
	uint16_t local_port, peer_port;
	uint8_t local_family, peer_family; /* MW_FAMILY_ */
	uint8_t kind;          /* MW_EV_ */
	uint8_t type;          /* MW_TYPE_ */
	uint32_t pid;
	uint32_t verb;
	uint32_t state;
	int32_t error;
	uint64_t pad;
};
MW_ASSERT(sizeof(struct mw_event) == 128, "mw_event");

/* Totals by protocol: MW_TYPE_ of msg.h. */
#define MW_TRAFFIC_TYPES 4u
struct mw_traffic {
	uint64_t rx_bytes, tx_bytes, rx_calls, tx_calls;
};
MW_ASSERT(sizeof(struct mw_traffic) == 32, "mw_traffic");

/* Times of connections that were accepted, and whose they are. The bounds of the buckets are tele_bound_ns. */
#define MW_TIME_HANDED   0u /* from the accept by the INS to the application's accept queue */
#define MW_TIME_FIRST_RX 1u /* ... to the first byte from the peer */
#define MW_TIME_FIRST_TX 2u /* ... to the first byte to it */
#define MW_TIME_HEAD     3u /* ... to the end of the first header */
#define MW_TIME_LIFE     4u /* ... to the end */
#define MW_TIME_NUM      5u
#define MW_BOUNDS        16u

struct mw_times {
	uint64_t bucket[MW_BOUNDS + 1]; /* times above the bound before, and not above its own; the last has none */
	uint64_t sum_ns;
};
MW_ASSERT(sizeof(struct mw_times) == 144, "mw_times");

#define MW_END_ROOM 8u
#define MW_EV_ROOM  16u
MW_ASSERT(MW_END_NUM <= MW_END_ROOM && MW_EV_NUM <= MW_EV_ROOM, "all are counted");

/* Totals are ever since the start, and count also what no reader was there to see. */
struct mw_tele {
	/* at start, then constant */
	uint64_t magic;
	uint32_t version;
	uint32_t slots;
	uint64_t tele_bytes;
	uint64_t pad0[5];
	uint64_t event_next;   /* events ever; number n is at n % MW_EVENTS */
	uint64_t log_next;     /* closed flows ever; number n is at n % MW_LOG_ENTRIES */
	uint32_t slots_high;   /* slots at or above this were never used */
	uint32_t pad1;
	uint64_t violations;   /* sockets quarantined because the application broke the rules */
	uint64_t heartbeat;    /* loops made */
	uint64_t sockets;      /* slots in use now */
	uint64_t heartbeat_ns; /* when the last loop began */
	uint64_t opened;       /* sockets ever */
	uint64_t seen[MW_EV_ROOM]; /* by MW_EV_; of bytes (RECV, SEND) see traffic */
	uint64_t ended[MW_TRAFFIC_TYPES][MW_END_ROOM]; /* sockets by MW_TYPE_ and MW_END_ */
	struct mw_traffic traffic[MW_TRAFFIC_TYPES];
	struct mw_times times[MW_TIME_NUM];
	uint32_t worker_pid;   /* the process that serves, below the INS's own; 0: on another machine */
	uint32_t workers;      /* ever started: all but the first took over from one that died, or from an older program's */
	uint32_t upgrades;     /* of those, the latter */
	uint32_t pad3;
	uint64_t pad2[4];
};
MW_ASSERT(sizeof(struct mw_tele) == 22 * MW_LINE && sizeof(struct mw_tele) <= MW_PAGE, "mw_tele");

/* One entry of the closed-flow log. ins writes seq = 0, the flow, then seq = its number + 1. */
struct mw_log_entry {
	uint64_t seq;
	struct mw_flow flow;
};
MW_ASSERT(sizeof(struct mw_log_entry) == 512, "mw_log_entry");

#define MW_FLOW_STRIDE   512u
#define MW_EVENTS_OFFSET MW_PAGE
#define MW_LOG_OFFSET    (MW_EVENTS_OFFSET + MW_EVENTS * sizeof(struct mw_event))
#define MW_FLOWS_OFFSET  (MW_LOG_OFFSET + MW_LOG_ENTRIES * sizeof(struct mw_log_entry))
MW_ASSERT(MW_LOG_OFFSET % MW_PAGE == 0 && MW_FLOWS_OFFSET % MW_PAGE == 0, "parts begin on a page");

/* A private view of mapped telemetry memory. */
struct mw_tele_view {
	uint8_t __peer *base;
	uint64_t bytes;
	uint32_t slots;
	uint32_t pad;
};

/* Bytes for so many slots; 0 when there cannot be so many. */
uint64_t tele_bytes(uint32_t slots);
/* Writes the header of `bytes` zeroed bytes at `base` and fills *v. 0 or -EINVAL. */
int tele_init(struct mw_tele_view *v, void *base, uint64_t bytes, uint32_t slots);
/* Fills *v from the header of `mapped` bytes at `base`. 0, or -EPROTO for any size that does not fit. */
int tele_check(struct mw_tele_view *v, void *base, uint64_t mapped);

/* A time-out in a flow record, from the application's word for it (mw_slot_app.rcvtimeo): any value may be there. */
int32_t tele_timeo_ms(uint64_t word);

extern const uint64_t tele_bound_ns[MW_BOUNDS];

struct mw_tele __peer *tele_header(const struct mw_tele_view *v);
struct mw_flow __peer *tele_flow(const struct mw_tele_view *v, uint32_t slot); /* slot < v->slots */
struct mw_log_entry __peer *tele_log(const struct mw_tele_view *v, uint64_t n);
struct mw_event __peer *tele_event(const struct mw_tele_view *v, uint64_t n);

#endif
