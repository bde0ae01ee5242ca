/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telem.h - what telemetry (mw-telem) and an INS say to each other: a page, an eventfd, and records for verbs.
 * Used by ins/, telem/ and broker/.
 * Trust: an INS may be compromised, so telemetry checks what it reads; an INS checks every record by verb_ok.
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
};

/* Verbs. An INS answers each record with the same record: status, and for GET the value. */
#define VERB_CLOSE  1u /* FIN to the peer; the application sees a reset */
#define VERB_RESET  2u /* RST to the peer */
#define VERB_SET    3u /* an option: level, name, bytes, the value behind the record */
#define VERB_GET    4u /* an option: bytes is the room */
#define VERB_NUM    5u

struct verb_msg {
	uint64_t seq;      /* the asker's; echoed */
	uint64_t verdict;  /* id of the verdict that this carries out, kept in the flow record; 0: a question */
	uint32_t verb;     /* VERB_ */
	uint32_t slot, gen; /* the socket */
	int32_t status;    /* in answers: 0 or -errno; -ESTALE: that socket has ended */
	int32_t level, name;
	uint32_t bytes;
	uint32_t pad;
};
MW_ASSERT(sizeof(struct verb_msg) == 48, "verb_msg");
#define VERB_VALUE_MAX 256u  /* longer than any option that is set by a verb */
#define VERBS_IN_FLIGHT 64u  /* records that telemetry may leave unanswered; their answers fit any socket buffer */

#endif
