/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper.h - a process of the broker's (the resolver, telemetry): started, and started again when it dies. Used by supervise.c.
 * Trust: nothing is read from it but that it is ready.
 *
 * Its listening sockets and all else that it serves with stay here, so that nothing is lost between two lives but what the dead
 * one had begun. One that dies young is started again a second later.
 */
#ifndef MW_BROKER_HELPER_H
#define MW_BROKER_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HELPER_FDS  18
#define HELPER_ARGS 16

struct helper {
	const char *what, *lost;      /* for a person: "the resolver"; what its end costs */
	const char *path;
	char key[24];                 /* of what is deposited: "helper/..." */
	const char *argv[HELPER_ARGS];     /* NULL at the end */
	int fds[HELPER_FDS];          /* become descriptors 4, 5, ...; -1: none. 3 is its end of `up` */
	int fd_count;
	/* helper.c's own */
	pid_t pid;                    /* 0: it does not run just now */
	int up;
	int64_t started_ms;
	bool adopted;                 /* another's child: its end is that of `up` */
};

/* Waits until it serves. 0 or -errno, with a line for the person in `why`. */
int helper_start(struct helper *h, char *why, size_t why_bytes);

/* With the depot: again when its descriptors have changed. */
void helper_leave(const struct helper *h);
/* One of a broker that died: what, lost, path and key are there already. False: there was none. */
bool helper_adopt(struct helper *h);

/* What was read on `up` was its end: true if that is all that we will hear of it. */
bool helper_gone(struct helper *h, const char *app);

/* A child ended; true if it was this one. */
bool helper_ended(struct helper *h, pid_t pid, int status, const char *app);

/* For poll: milliseconds until helper_due wants to be called, -1: never. */
int helper_wait_ms(const struct helper *h);
void helper_due(struct helper *h);

/* Lets it end by itself: it sees that our end is closed. Waits at most so long. */
void helper_end(struct helper *h, int limit_ms);

#endif
