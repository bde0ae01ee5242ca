/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.h - the metrics of the application's other INSs, so that whichever telemetry is asked answers for all. Used inside telem/.
 * Trust: text of another telemetry process: lines of a family are passed on as they are, to whoever reads metrics; never parsed further.
 *
 * Each writes its own into a pipe that the broker made (link/owner.h). Who does not within the time that the asker waits is left out.
 */
#ifndef MW_TELEM_PEERS_H
#define MW_TELEM_PEERS_H

#include <stdio.h>

/* Asks all, one time after the other. fn is called once, when all have written, or there is nobody; unless peers_settle is before. */
void peers_ask(void (*fn)(void));
/* What there is now of what was asked for last is what peers_samples gives from now on. */
void peers_settle(void);
/* Of those that had written all: their samples of that family, under the name that it has in plain text. */
void peers_samples(FILE *out, const char *family);

void peers_pipe(int fd);  /* another's, from the broker */
void peers_write(int fd); /* another wants ours */

#endif
