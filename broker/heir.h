/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heir.h - what a broker must know of the one that died before it, beside what each part of it deposits. Used by supervise.c, run.c, ctl/ask.c, ctl/ins.c.
 * Trust: as in deposit.h.
 */
#ifndef MW_BROKER_HEIR_H
#define MW_BROKER_HEIR_H

#include <time.h>

#include "broker/broker.h"

struct heir_left {
	pid_t app;
	int app_status;   /* -1: it lives */
	ino_t netns;
	time_t started;
};

/* There is a depot, and no broker. `any`: even if there is one; a depot that is being killed never answers. */
bool heir_wanted(const char *name, bool any);

/* Before the application runs. app_status is not looked at. */
void heir_leave(const struct run_options *o, int lock, const struct heir_left *left);

/* Asks for the place. Negative: it was not to be had, and the person has been told why. *depot: whose children were the dead broker's. */
int heir_come(const char *name, const struct seat *s, int *deaths, pid_t *depot_pid);

/* The options that the dead one had, in its directory. 0 or -errno, with a line for the person in `why`. */
int heir_take(struct run_options *o, run_parse *parse, struct heir_left *left, char *why, size_t why_bytes);

#endif
