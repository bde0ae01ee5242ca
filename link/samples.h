/* SPDX-License-Identifier: Apache-2.0 */
/*
 * samples.h - what telemetry (mw-telem) starts with, and the memory that it writes: a page for the INS, samples for `mw`.
 * Used by telem/, broker/ and ctl/.
 * Trust: telemetry alone writes it; an INS that got hold of the file could falsify samples of its own sockets, no more.
 */
#ifndef MW_LINK_SAMPLES_H
#define MW_LINK_SAMPLES_H

#include "link/telem.h"

/* Descriptors that the broker gives a new mw-telem. */
#define TELEM_BROKER_FD  3 /* its end is ours */
#define TELEM_CONTROL_FD 4 /* UNIX stream, listening: telem/CONTROL.md */
#define TELEM_VERBS_FD   5 /* the INS's other end */
#define TELEM_WAKE_FD    6 /* as INS_WAKE_FD */
#define TELEM_READER_FD  7 /* this memory */
#define TELEM_TELE_FD    8 /* telemetry memory, for reading */
#define TELEM_ARENA_FD   9 /* arena, for reading */
#define TELEM_AUDIT_FD   11 /* the audit log, for appending */
#define TELEM_STATE_FD   12 /* verdicts, which outlive us: telem/policy.h */
#define TELEM_FDS        9  /* of them behind the broker's */

/* What the kernel says of one connection's socket. */
struct sample {
	uint64_t id;         /* mw_flow.id that it belongs to; 0: none. Stored last */
	uint64_t time_ns;
	uint64_t pad[30];
};
MW_ASSERT(sizeof(struct sample) == 256, "sample");

#define POLICY_BYTES (4u << 20)

#define SAMPLES_OFFSET MW_PAGE
#define SAMPLES_BYTES  (SAMPLES_OFFSET + (uint64_t)MW_SLOTS_MAX * sizeof(struct sample))

#endif
