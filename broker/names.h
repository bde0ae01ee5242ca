/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h - the broker's resolver process (mw-names): started, and started again when it dies. Used by supervise.c.
 * Trust: nothing is read from it but that it is ready.
 */
#ifndef MW_BROKER_NAMES_H
#define MW_BROKER_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Both descriptors become this file's: where the application's processes connect, and the INS's network namespace, or -1 when
 * the network is the host's. Waits until the resolver serves. 0 or -errno, with a line for the person in `why`.
 */
int names_start(int listen, int netns, char *why, size_t why_bytes);

pid_t names_pid(void); /* 0: it does not run just now */

/* A child ended; true if it was the resolver. Connections wait in the backlog until the next one serves. */
bool names_ended(pid_t pid, int status, const char *app);

/* For poll: milliseconds until names_due wants to be called, -1: never. */
int names_wait_ms(void);
void names_due(void);

#endif
