/* SPDX-License-Identifier: Apache-2.0 */
/*
 * depot.h - the process that keeps what must outlive a broker: descriptors, each lot under a key, and nothing else.
 * Used by broker/.
 * Trust: the broker, and who has the user's own number; no byte of what is kept is read. Everything else is in depot.c.
 *
 * A lot's first descriptor is a memory file in which the broker has written what it must know of the others. The depot is the parent
 * of the first broker, and a subreaper: what a dead broker leaves falls to it. While it keeps the other ends, nobody notices.
 */
#ifndef MW_BROKER_DEPOT_H
#define MW_BROKER_DEPOT_H

#include <stdint.h>
#include <sys/types.h>

#define DEPOT_VERSION 1u  /* of all that a broker leaves: records here, and what is in the memory files */
#define DEPOT_KEY     64
#define DEPOT_FDS     24
#define DEPOT_LOTS    1536

enum depot_kind {
	DEPOT_PUT = 1, /* broker: keep these, in place of what has that key; answered */
	DEPOT_DROP,    /* broker: close these; answered */
	DEPOT_END,     /* broker: close all and end */
	DEPOT_HELLO,   /* adopter: carries a socket for DEPOT_DIED, and its `mw run` (a pidfd); answered by all lots, or DEPOT_BUSY */
	DEPOT_DONE,    /* the answer: 0 or -errno */
	DEPOT_LOT,
	DEPOT_ALL,     /* there are no more; pid: the depot's */
	DEPOT_BUSY,    /* a broker lives: pid */
	DEPOT_DIED,    /* a child of the depot's */
};

/* What has ended when the descriptor behind the memory file says so. */
enum depot_life {
	DEPOT_THING,
	DEPOT_APP,     /* a pidfd: the application itself; status: its exit status, -1: it lives */
	DEPOT_INS,     /* its record socket: at its end the other side has closed */
	DEPOT_HELPER,  /* never looked at */
};

struct depot_msg {
	uint32_t version, kind;
	uint32_t mask;   /* which descriptors there are: bit i: number i */
	uint32_t life;
	int32_t pid;     /* of the process that the lot is about; 0: none */
	int32_t status;
	char key[DEPOT_KEY];
};

/* One record; fds: DEPOT_FDS, -1 where there is none. 0 or -errno. */
int depot_send(int sock, struct depot_msg *m, const int *fds, int flags);
/* 1; 0: the other side has closed; -errno. Who takes a record takes its descriptors. */
int depot_recv(int sock, struct depot_msg *m, int fds[DEPOT_FDS], int flags);

/* Becomes the depot. listen: where adopters come; broker: the connection to it; front: pidfd of its `mw run`, without which it is an
 * orphan: whoever comes may have its place. */
_Noreturn void depot(int listen, int broker, pid_t broker_pid, int front);

#endif
