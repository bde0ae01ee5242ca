/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker.h - what an INS and its broker say to each other: one fixed record each way. Used by ins/ and broker/.
 * Trust: an INS may be compromised, and may ask for what the kinds below name: the broker takes no other size or kind, and checks
 * what each asks for where it does that.
 */
#ifndef MW_LINK_BROKER_H
#define MW_LINK_BROKER_H

#include "chan/wire.h"

/* Descriptors that the broker gives a new INS. */
#define INS_BROKER_FD 3 /* SEQPACKET, these records */
#define INS_LISTEN_FD 4 /* where the application's processes connect */
#define INS_ROSTER_FD 8 /* behind those of link/telem.h: memory file, struct mw_roster, for the application's processes */

/* To one that takes another's place, which has them under other numbers: its INS_BROKER_FD is its own until it has the other's. */
#define INS_HEIR_FD  INS_LISTEN_FD /* SEQPACKET: ins/upgrade.c */
#define INS_STATE_FD 9             /* memory files: ins/state.h, the arena, telemetry's */
#define INS_ARENA_FD 10
#define INS_TELE_FD  11

#define BM_READY   1u /* ins: sandboxed and serving; carries the arena, telemetry and the state. To take another's place: sandboxed; nothing */
#define BM_BIND    2u /* ins: "bind this socket for me": carries it; answered with the status */
#define BM_LISTEN  3u /* ins: "this listens: publish it"; answered with the status and listeners of the host's loopback */
#define BM_CLOSED  4u /* ins: that listener is gone; not answered */
#define BM_FAILED  5u /* ins: could not start; status says why */
#define BM_LOOPBACK 6u /* ins: "a TCP socket of the host's loopback, of addr's family"; the answer carries it */
#define BM_BOUND   7u /* ins: as BM_LISTEN, for a UDP port that is going to be bound */
#define BM_OPTION  8u /* ins: "set this option, if who asked may": carries the socket and its asker's control connection */
#define BM_SHARE   9u /* broker: "serve this listener of another INS too": carries a socket that listens, the doorbell */
#define BM_UNSHARE 10u /* broker: no longer: the application has ended it */
#define BM_SET     11u /* an option (level -1: the backlog) of a shared listener was set: ins tells, broker passes on */
#define BM_HOSTS   12u /* broker: this shared listener's listeners of the host's loopback, from now on; none: another INS has them */
#define BM_WORKER  13u /* ins: a worker died of `status` (wait); slot: workers so far; gen: 1: it hung, and was killed. Not answered */
#define BM_UPGRADE 14u /* broker: "go on as another program": carries the socket on which that one waits for all. Answered only
			* with a status: it could not have all, and the old one goes on */
#define BM_UPGRADED 15u /* that program: it has all (on a connection of its own); its worker is there (where the old one spoke) */
#define BM_NUM     16u

struct broker_msg {
	uint32_t kind;
	uint32_t slot, gen; /* echoed in the answer */
	int32_t status;     /* in answers: 0 or -errno */
	struct mw_addr addr;
	int32_t backlog;
	uint32_t dual;      /* an IPv6 wildcard that also takes IPv4 */
	int32_t level, name, bytes; /* BM_OPTION: setsockopt's arguments; the value follows, if need be cut */
	uint32_t share;     /* which shared listener; never used twice. In the answer to BM_LISTEN: 0: it is not shared */
	uint64_t cookie;    /* BM_LISTEN, BM_SHARE: SO_COOKIE of the application's end */
	uint32_t inherited; /* the same: what the socket does not tell of what an accepted one has: isock.flags */
	int32_t lowat;
	uint8_t text[64];   /* BM_FAILED: what failed; NUL-terminated */
};
#define BM_VALUE_MAX 4096u /* more than any option takes that needs a privilege: an IPv6 extension header, 2 KiB */
MW_ASSERT(sizeof(struct broker_msg) == 152, "broker_msg");

#endif
