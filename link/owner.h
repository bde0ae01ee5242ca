/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner.h - what telemetry asks its broker, on TELEM_BROKER_FD: about the processes that own sockets, and what other INSs' metrics
 * are; and what the broker says unasked. Used by telem/ and broker/.
 * Trust: the number is the application's word; the broker checks whose process it is. A pipe carries metrics' text and no more.
 */
#ifndef MW_LINK_OWNER_H
#define MW_LINK_OWNER_H

#include "chan/wire.h"

#define OWNER_RUNNING   1u /* -ESRCH: no process of this application has that number */
#define OWNER_INTERRUPT 2u /* the same; it gets SIGINT */
#define OWNER_METRICS   3u /* a record with a pipe from each other INS's telemetry, status 1; then one without, status 0 */
/* Unasked, with a descriptor. */
#define OWNER_WRITE     4u /* a pipe: write your metrics there, in plain text with "# EOF" behind them, and close it */
#define OWNER_NETFLOW   5u /* the listening socket of --netflow by TCP is yours now */
#define OWNER_IN_FLIGHT 64u /* questions that telemetry may leave unanswered; their answers fit any socket buffer */

/* Answered with the same record. */
struct owner_ask {
	uint64_t seq;      /* the asker's; echoed */
	uint32_t kind;     /* OWNER_ */
	uint32_t pid;
	int32_t status;    /* in answers: 0 or -errno */
	uint32_t pad;
};
MW_ASSERT(sizeof(struct owner_ask) == 24, "owner_ask");

#endif
