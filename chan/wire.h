/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * wire.h - what lies in shared memory, byte for byte. No code.
 * Trust: every word says who writes it ("app": the protected side, "ins": the network side). The other side
 * may find anything there at any time.
 *
 * Arena (one sealed memory file for each application and INS; PROTOCOL.md draws it):
 *   mw_arena | ready bitmap | slots | rings (rx then tx of slot 0, of slot 1, ...)
 */
#ifndef MW_CHAN_WIRE_H
#define MW_CHAN_WIRE_H

#include "port.h"

#define MW_MAGIC          0x314d4d4f43574dULL /* "MWCOMM1" read as a little-endian number */
#define MW_VERSION        1u
#define MW_LINE           64u      /* cache line; words of different writers never share one */
#define MW_PAGE           4096u
#define MW_SLOTS_MAX      65536u
#define MW_RING_BYTES_MIN 4096u
#define MW_RING_BYTES_MAX (1u << 24)
#define MW_NONCE_BYTES    16u

/* Address families as on the wire: 4 and 6, never the host's AF_ numbers. */
#define MW_FAMILY_NONE 0u
#define MW_FAMILY_IP4  4u
#define MW_FAMILY_IP6  6u

/* An endpoint. IPv4 sits in the first 4 bytes of addr, rest zero; addr in network order, the rest in host order. */
struct mw_addr {
	uint8_t addr[16];
	uint32_t scope_id;
	uint32_t flowinfo;
	uint16_t family;
	uint16_t port;
	uint32_t pad; /* zero */
};
MW_ASSERT(sizeof(struct mw_addr) == 32, "mw_addr");

/* mw_slot_ins.state and mw_flow.state */
#define MW_ST_FREE        0u
#define MW_ST_OPEN        1u /* created or bound */
#define MW_ST_LISTEN      2u
#define MW_ST_CONNECTING  3u
#define MW_ST_ESTABLISHED 4u
#define MW_ST_CLOSING     5u /* the application is gone, its bytes are still going out */
#define MW_ST_CLOSED      6u
#define MW_ST_HELD        7u /* mw_flow alone: accepted, and kept from the application by the gate */
#define MW_ST_NUM         8u

/* rx_state: monotonic; ring bytes published before it are read before it is acted on */
#define MW_RX_FIN   0x1u /* no byte will follow */
#define MW_RX_ERROR 0x2u /* mw_slot_ins.error ends the connection */

/* mw_slot_ins.lane: where a connection's bytes go; given by the type of its doorbell */
#define MW_LANE_RING   0u /* SOCK_SEQPACKET: through the rings, the doorbell carries readiness */
#define MW_LANE_STREAM 1u /* SOCK_STREAM: the doorbell carries the bytes; both ends of the rings are ins's */

/*
 * SO_SNDBUF of end A on the stream lane; Linux doubles it. The ghost keeps the whole record that it is the last byte
 * of, and sendfile() makes one of 64 KiB: that must be less than a quarter, or A stays unwritable for ever.
 */
#define MW_STREAM_SNDBUF 212992

/* app flags, in mw_slot_app.flags */
#define MW_APP_CORK    0x1u
#define MW_APP_NODELAY 0x2u
#define MW_APP_SHUT_WR 0x4u
#define MW_APP_SHUT_RD 0x8u
#define MW_APP_ERROR_TAKEN 0x10u /* the error of rx_state has been reported */
#define MW_APP_SNDBUF_SET 0x20u  /* the doorbell's send budget has been made small */
#define MW_APP_CONNECT_WAITS 0x80u /* connect() waits for the answer: refused, the socket is as it was before */
#define MW_APP_NODELAY_SET 0x40u /* MW_APP_NODELAY holds a value to apply */
#define MW_APP_CORK_SET 0x100u   /* MW_APP_CORK holds a value, whatever was set before the connection was there */
#define MW_APP_LINGER_SET 0x400u /* SO_LINGER was set: close() may have to wait */
#define MW_APP_LINGERS 0x800u    /* and does: the slot shall not end before the peer has acknowledged FIN */
#define MW_APP_CLOSED  0x2000u   /* door: the last reference is gone */
#define MW_APP_TWIN    0x1000u   /* app's own: both ends of the connection are one process's */

/* mw_slot_names.timeo */
#define MW_TIMEO_NO_WAIT 0x1u /* calls do not wait at all, as with O_NONBLOCK */

/* What ins writes for one socket: identity, then its words of both rings. */
struct mw_slot_ins {
	uint32_t gen;          /* odd while in use */
	uint32_t state;        /* MW_ST_ */
	uint64_t cookie;       /* SO_COOKIE of the application's doorbell, 0 = none */
	uint8_t nonce[MW_NONCE_BYTES]; /* starts every seed and filler record */
	uint16_t family;       /* MW_FAMILY_ of the socket itself */
	uint16_t type;         /* MW_TYPE_ */
	uint32_t want_seed;    /* times that stray bytes took the doorbell's last record, the seed; datagrams: changes
				* after which nothing is known of any destination */
	uint32_t bell_busy;    /* the doorbell's records are being taken: the one that is left may be stray data */
	uint32_t lane;         /* MW_LANE_ */
	uint32_t lowat;        /* SO_RCVLOWAT; 0 is 1 */
	uint32_t urgent_inline; /* SO_OOBINLINE: a read gives the urgent byte too */
	uint64_t rx_drop_from; /* bytes from here to rx_drop_to: urgent ones at which reading stood when others came */
	/* own line: moves with every byte */
	uint64_t rx_prod;      /* bytes ever put into the rx ring */
	uint64_t rx_rung;      /* tokens (datagrams: error records) ever sent for it */
	uint64_t rx_space_event; /* "tell me when rx_cons passes this" */
	uint64_t tx_cons;      /* bytes ever taken from the tx ring */
	uint32_t rx_state;     /* MW_RX_; datagrams: errors ever stored in `error` */
	int32_t error;         /* positive neutral errno (Linux numbers), valid when rx_state says so */
	uint64_t rx_told;      /* the rx_event last answered with a token */
	uint64_t rx_urgent;    /* position behind the urgent byte; 0 = none, ~0 = not in the ring yet */
	uint64_t rx_drop_to;
};
MW_ASSERT(sizeof(struct mw_slot_ins) == 2 * MW_LINE, "mw_slot_ins");
MW_ASSERT(offsetof(struct mw_slot_ins, rx_prod) == MW_LINE, "mw_slot_ins.rx_prod");

/* What app writes for one socket: shared by all its processes, so it lives here rather than in any of them. */
struct mw_slot_app {
	uint64_t rx_cons;      /* bytes ever taken from the rx ring */
	uint64_t rx_event;     /* "send a token when rx_prod passes this" */
	uint64_t rx_taken;     /* tokens (datagrams: error records) ever taken back */
	uint32_t rx_lock;      /* holder's thread id, see shim/lock.h; ins never looks */
	uint32_t pid;          /* of the process that accepted or made it */
	uint32_t seeded;       /* want_seed as last answered with a seed; datagrams: errors ever reported */
	uint32_t timeo;        /* names.timeo as the doorbell's time-outs have it */
	uint64_t rcvtimeo, sndtimeo; /* the application's own time-outs as getsockopt() says them, in us, + 1; 0: never set */
	uint64_t tx_event;     /* door: "mark the slot when tx_cons passes this" */
	uint64_t tx_prod;      /* bytes ever put into the tx ring */
	uint32_t tx_lock;      /* as rx_lock, but ins may hold it for an instant to give pages back */
	uint32_t flags;        /* MW_APP_ */
	uint64_t tx_urgent;    /* the byte before this position goes out as urgent data; 0 = none */
	uint32_t rx_waits;     /* times that a reader ever began to sleep on the doorbell */
	uint32_t rx_woken;     /* ... and ceased to; who is killed there never did */
	uint64_t pad2[4];
};
MW_ASSERT(sizeof(struct mw_slot_app) == 2 * MW_LINE, "mw_slot_app");
MW_ASSERT(offsetof(struct mw_slot_app, tx_prod) == MW_LINE, "mw_slot_app.tx_prod");

/* The socket's names, as getsockname() and getpeername() say them, and what an operator decided. Written by ins. */
struct mw_slot_names {
	struct mw_addr local, peer;
	uint32_t refused;      /* the connection was never established: connect() may be tried again */
	uint32_t timeo;        /* changes when the operator changes what follows; MW_TIMEO_NO_WAIT is a bit of it */
	uint32_t rcvtimeo, sndtimeo; /* his time-outs for blocking calls, in ms, + 1; 0: the application's own */
	uint32_t tx_limit;     /* most that the tx ring may hold; 0: all of it */
	uint32_t pad0;
	uint64_t pad1[5];
};
MW_ASSERT(sizeof(struct mw_slot_names) == 2 * MW_LINE, "mw_slot_names");

struct mw_slot {
	struct mw_slot_ins ins;
	struct mw_slot_app app;
	struct mw_slot_names names;
};
MW_ASSERT(sizeof(struct mw_slot) == 384, "mw_slot");

/* Calls that the shim refused, by kind: app counts, `mw doctor` reports. */
#define MW_REFUSED_DGRAM  0u /* of another protocol than UDP and UDP-Lite */
#define MW_REFUSED_RAW    1u
#define MW_REFUSED_PACKET 2u
#define MW_REFUSED_OTHER  3u
#define MW_REFUSED_NUM    4u

struct mw_arena {
	/* ins (at start, then constant) */
	uint64_t magic;
	uint32_t version;
	uint32_t slots;        /* at most MW_SLOTS_MAX, a multiple of 64 */
	uint32_t rx_bytes, tx_bytes; /* of each ring, powers of two */
	uint64_t arena_bytes;
	uint64_t started_ns;
	uint64_t pad0[3];
	/* ins: */
	uint32_t sleeping;     /* ins stores 1 before it sleeps; whoever exchanges it for 0 must kick (both write) */
	uint32_t slots_high;   /* slots at or above this were never used */
	uint64_t pad1[7];
	/* app: */
	uint64_t refused[8];   /* MW_REFUSED_, atomically added */
	uint64_t app_violations; /* sockets the shim gave up on because ins broke the rules */
	uint64_t pad2[7];
	uint64_t ready_top[MW_SLOTS_MAX / 4096]; /* bit per word of ready[] (app sets, ins clears, both atomically) */
};
MW_ASSERT(sizeof(struct mw_arena) == 4 * MW_LINE + 128, "mw_arena");
MW_ASSERT(offsetof(struct mw_arena, sleeping) == MW_LINE, "mw_arena.sleeping");
MW_ASSERT(offsetof(struct mw_arena, refused) == 2 * MW_LINE, "mw_arena.refused");
MW_ASSERT(offsetof(struct mw_arena, ready_top) == 4 * MW_LINE, "mw_arena.ready_top");

/*
 * Which ins an application has: a memory file of its own. Written by the broker, mapped for reading by app. A number is never
 * used twice while the application lives.
 */
#define MW_INS_MAX   1024u /* numbers */
#define MW_INS_NONE  0u    /* never was, or has ended */
#define MW_INS_UP    1u
#define MW_INS_DRAIN 2u    /* gets nothing new */

struct mw_roster {
	uint32_t high;         /* numbers at or above this were never used */
	uint32_t home;         /* the lowest that has not ended: sockets that are bound, and datagrams, are its */
	uint32_t pad[14];
	uint8_t state[MW_INS_MAX]; /* MW_INS_ */
};
MW_ASSERT(sizeof(struct mw_roster) == MW_LINE + MW_INS_MAX, "mw_roster");
MW_ASSERT(sizeof(struct mw_roster) <= MW_PAGE, "mw_roster is a page");

/* Where the parts begin, in bytes from the arena's start. */
#define MW_READY_OFFSET MW_PAGE
#define MW_READY_BYTES  (MW_SLOTS_MAX / 8)
#define MW_SLOT_OFFSET  (MW_READY_OFFSET + MW_READY_BYTES)
MW_ASSERT(MW_SLOT_OFFSET % MW_PAGE == 0, "slots begin on a page");

#endif
