/* SPDX-License-Identifier: Apache-2.0 */
/*
 * samples.h - what telemetry (mw-telem) starts with, and the memory that it writes: a page for the INS, samples for `mw`.
 * Used by telem/, broker/ and ctl/.
 * Trust: telemetry alone writes it; an INS that got hold of the file could falsify samples of its own sockets, no more.
 */
#ifndef MW_LINK_SAMPLES_H
#define MW_LINK_SAMPLES_H

#include <stdbool.h>

#include "link/telem.h"

/* Descriptors that the broker gives a new mw-telem. */
#define TELEM_BROKER_FD  3 /* its end is ours */
#define TELEM_CONTROL_FD 4 /* UNIX stream, listening: telem/control.c */
#define TELEM_VERBS_FD   5 /* the INS's other end */
#define TELEM_WAKE_FD    6 /* as INS_WAKE_FD */
#define TELEM_READER_FD  7 /* this memory */
#define TELEM_TELE_FD    8 /* telemetry memory, for reading */
#define TELEM_ARENA_FD   9 /* arena, for reading */
#define TELEM_DIAG_FD    10 /* NETLINK_SOCK_DIAG, of the INS's network namespace */
#define TELEM_AUDIT_FD   11 /* the audit log, for appending */
#define TELEM_STATE_FD   12 /* verdicts, which outlive us: telem/policy.h */
#define TELEM_NETFLOW_FD     13 /* UNIX stream, listening: the MAGICWAND stream, telem/mwnf.h */
#define TELEM_NETFLOW_TCP_FD 14 /* the same on TCP, of the host; maybe none */
#define TELEM_METRICS_FD 15 /* TCP, listening: HTTP for metrics; may be absent, like those between */
#define TELEM_HOST_DIAG_FD 17 /* the same, of the host's: isolated, connections by its loopback are there */
#define TELEM_IPFIX_FD  18 /* files for IPFIX, as many as TELEM_IPFIX_MAX */
#define TELEM_IPFIX_MAX  4
#define TELEM_FDS       18 /* of them behind the broker's; not all are there */

/* What the kernel says of one connection's socket. Times in nanoseconds unless named otherwise; 0 where the kernel does not say. */
struct sample {
	uint32_t seq;          /* odd while it is written */
	uint32_t pad0;
	uint64_t id;           /* mw_flow.id that it belongs to; 0: none. */
	uint64_t time_ns;      /* CLOCK_REALTIME */
	uint64_t syn_ns;       /* estimate of when the first SYN came or went */
	uint64_t zero_since_ns; /* the peer's window is closed since; 0: it is open */
	uint64_t zero_ns;      /* how long it was closed, over all, by comparing samples */
	uint64_t busy_ns, rwnd_limited_ns, sndbuf_limited_ns;
	uint64_t delivery_rate; /* bytes a second */
	uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retrans;
	uint32_t kernel_state; /* TCP_ESTABLISHED = 1, ... of linux/tcp.h */
	uint32_t timer;        /* idiag_timer: 0 off, 1 retransmission, 2 keep-alive, 3 time-wait, 4 window probe */
	uint32_t timer_ms;     /* until it runs out */
	uint32_t backoff;      /* retransmissions or probes without an answer */
	uint32_t rtt_us, rttvar_us, min_rtt_us, rto_us;
	uint32_t retransmits, lost; /* segments: ever; thought lost now */
	uint32_t unacked_segs, unacked, notsent; /* segments; bytes; bytes */
	uint32_t cwnd, mss;
	uint32_t snd_wnd, rcv_wnd; /* the peer's, ours; bytes */
	uint32_t rqueue;       /* bytes that the INS has not taken yet */
	uint32_t last_sent_ms, last_received_ms, last_ack_ms; /* ago */
	uint32_t rmem, wmem, rcvbuf, sndbuf, mem; /* bytes of memory; mem: all that is charged to the socket */
	uint32_t backlog, backlog_max; /* a listener's accept queue */
	uint32_t pad1;
	uint8_t cong[16];      /* congestion control's name, NUL-terminated */
	uint64_t tx_rate;      /* bytes_acked by busy_ns: bytes a second, or 0 */
};
MW_ASSERT(sizeof(struct sample) == 256, "sample");

/* A connection that the INS has closed and the kernel has not. sample.seq is for all of it. */
struct lingering {
	struct sample s;
	struct mw_flow f;
	uint64_t pad;
};
MW_ASSERT(sizeof(struct lingering) == 768, "linger");

/* What IPFIX collectors were told of a slot's flow. It is here so that telemetry's next life counts nothing twice. */
struct reported {
	uint64_t id;         /* mw_flow.id; 0: nothing */
	uint64_t rx, tx;     /* bytes */
	uint64_t verdict;
	uint64_t due_ns;     /* of the next record, if it still lives */
};
MW_ASSERT(sizeof(struct reported) == 40, "reported");

/* In the first page, behind struct mw_reader. */
struct samples_head {
	uint64_t time_ns;      /* the last look at all sockets was complete */
	uint64_t cost_ns;      /* processor time that it took */
	uint64_t looks;        /* ever */
	uint64_t lingers_over; /* closed connections that found no room in the table, ever */
	uint32_t lingers_high; /* entries at or above this were never used */
	uint32_t pad;
};

#define LINGERS        8192u
#define SAMPLES_HEAD   1024u /* offset */
#define POLICY_BYTES (4u << 20)
#define SAMPLES_OFFSET MW_PAGE
#define LINGERS_OFFSET (SAMPLES_OFFSET + (uint64_t)MW_SLOTS_MAX * sizeof(struct sample))
#define REPORTED_OFFSET (LINGERS_OFFSET + (uint64_t)LINGERS * sizeof(struct lingering))
#define SAMPLES_BYTES  (REPORTED_OFFSET + (uint64_t)MW_SLOTS_MAX * sizeof(struct reported))

/* Bytes a second; 0 of no time. What counters say may be anything. */
static inline uint64_t rate_of(uint64_t bytes, uint64_t ns)
{
	double rate = ns ? (double)bytes * 1e9 / (double)ns : 0;

	return rate < 0x1p64 ? (uint64_t)rate : UINT64_MAX;
}

/* Whole, or not at all: false when there is none for that id, or it is being written all the time. */
void sample_store(struct sample *to, const struct sample *from);
bool sample_load(const struct sample *from, uint64_t id, struct sample *to);
void linger_store(struct lingering *to, const struct lingering *from);
bool linger_load(const struct lingering *from, struct lingering *to);

#endif
