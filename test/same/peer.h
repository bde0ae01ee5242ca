/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - the other end of a test's TCP connections: a native process that does what it is told.
 * Trust: a test's own processes.
 */
#ifndef MW_SAME_PEER_H
#define MW_SAME_PEER_H

#include <stdint.h>

enum peer_op {
	PEER_PORT = 'p',    /* its listener's port on 127.0.0.1 */
	PEER_ACCEPT = 'a',  /* takes the connection that the test made */
	PEER_CONNECT = 'c', /* connects to port `arg` */
	PEER_SEND = 's',    /* `arg` bytes of a counting pattern that goes on over calls */
	PEER_PROMPT = 'n',  /* TCP_NODELAY: each send goes at once */
	PEER_READ = 'r',    /* `arg` bytes; replies how many came before end or error */
	PEER_FIN = 'f',
	PEER_RESET = 'z',   /* closes with SO_LINGER 0 */
	PEER_CLOSE = 'x',
	PEER_STUFF = 'b',   /* a listener whose queue is full: its port. Accepts nothing until PEER_UNSTUFF */
	PEER_UNSTUFF = 'u',
	PEER_REFUSE = 'g',  /* or closes that listener: who still asks is refused */
	PEER_DEAD = 'd',    /* a port on which nobody listens */
	PEER_CHECK = 'k',   /* reads to the end; 0 when all bytes ever read count on from each other */
};

struct peer_cmd {
	int32_t op, arg;
};

/* Forks the peer; returns the descriptor that commands it. */
int peer_start(void);
int32_t peer_do(int channel, enum peer_op op, int32_t arg);

#endif
