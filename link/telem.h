/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telem.h - what telemetry (mw-telem) and an INS say to each other: a page, an eventfd, and records for verbs.
 * Used by ins/, telem/ and broker/.
 * Trust: an INS may be compromised, so telemetry checks what it reads; an INS checks every record (ins/verb.c).
 */
#ifndef MW_LINK_TELEM_H
#define MW_LINK_TELEM_H

#include "chan/tele.h"

/* Descriptors that the broker gives a new INS, behind those of link/broker.h. */
#define INS_VERBS_FD  5 /* SEQPACKET, struct verb_msg and a value */
#define INS_WAKE_FD   6 /* eventfd: events are there */
#define INS_READER_FD 7 /* memory file that telemetry writes: struct mw_reader, samples */

/* First page of the reader's memory. Written by telemetry; an INS reads it, and waits for nothing. */
struct mw_reader {
	uint64_t wanted;  /* 0: nobody listens; no events are made */
	uint64_t armed;   /* "wake me when event_next passes this" */
	uint64_t ipfix;   /* telemetry's own: closed flows that IPFIX collectors were told of */
};

/* Verbs. An INS answers each record with the same record: status, number, and for GET the value. */
#define VERB_CLOSE   1u /* FIN to the peer; the application sees a reset */
#define VERB_RESET   2u /* RST to the peer */
#define VERB_SET     3u /* an option: level, name, bytes, the value behind the record. VERB_UNDO, of VERB_ALL: what `verdict` set,
			 * wherever it is in force; the wider one is again */
#define VERB_GET     4u /* an option: bytes is the room. SO_ERROR is told once, and left for the application */
#define VERB_BLOCK   5u /* addr, prefix: no traffic with those peers. Again: the same, by another verdict. -ENOSPC: 65,536 */
#define VERB_UNBLOCK 6u /* exactly that prefix, or -ENOENT. number: what it refused in all, connections and datagrams */
#define VERB_CAP     7u /* addr.port (0: any), addr.family, prefix: at most `number` accepted connections on that port from the
			 * same `prefix` bits. Again, or VERB_UNDO: of that port and family. In answers: those in groups that have more */
#define VERB_GATE    8u /* number: a port. All its listeners, those to come too: struct gate_settings behind the record; VERB_UNDO: no value.
			 * With a slot: a listener's, a question; the answer has struct verb_gate behind it */
#define VERB_BACKLOG 9u /* number: a listener's. VERB_UNDO: the application's own again; of VERB_ALL as SET */
#define VERB_MINRATE 10u /* telemetry's own: it resets who is slower */
#define VERB_NUM     12u

#define VERB_ALL 0xffffffffu /* slot, with gen 0, of SET, GET and BACKLOG: every socket, those to come too */

#define VERB_LEVEL    0x4d57 /* level of options that no stack has */
#define VERB_NONBLOCK 1      /* int: 1: the application's calls do not wait, whatever its O_NONBLOCK is; 0: as it says */

#define VERB_UNDO 0x1u /* flags: as if nothing had been said */

struct verb_msg {
	uint64_t seq;      /* the asker's; echoed */
	uint64_t verdict;  /* id of the verdict that this carries out, kept in the flow record; 0: a question */
	uint32_t verb;     /* VERB_ */
	uint32_t slot, gen; /* the socket */
	int32_t status;    /* in answers: 0 or -errno; -ESTALE: that socket has ended */
	int32_t level, name;
	uint32_t bytes;
	uint32_t flags;    /* VERB_UNDO */
	struct mw_addr addr;
	uint32_t prefix;   /* bits of addr */
	uint32_t pad;
	uint64_t number;   /* in answers: sockets that it hit */
};
MW_ASSERT(sizeof(struct verb_msg) == 96, "verb_msg");
static inline bool verb_has_value(uint32_t verb) /* behind the record that asks */
{
	return verb == VERB_SET || verb == VERB_GATE;
}
#define VERB_VALUE_MAX 256u  /* longer than any option that is set by a verb */
#define VERBS_IN_FLIGHT 64u  /* records that telemetry may leave unanswered; their answers fit any socket buffer */

#endif
