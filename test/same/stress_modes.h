/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress_modes.h - the application side's connections and its ways to wait for them.
 * Trust: a test's own processes.
 */
#ifndef MW_SAME_STRESS_MODES_H
#define MW_SAME_STRESS_MODES_H

#include <pthread.h>

#include "test/same/stress.h"

enum mode { M_EDGE, M_LEVEL, M_POLL, M_SELECT, M_BLOCK, M_WAITALL, M_PEEK, M_PAIR, MODES };
extern const char *const stress_names[MODES];

struct conn {
	int fd, mode, id, ended;
	uint32_t rnd;
	struct request head;
	uint32_t head_got, left;   /* of the request being read */
	uint64_t rx, tx, owed;     /* owed: reply bytes not sent yet */
	uint64_t wakes, spurious, vain; /* vain: OUT, and nothing could be sent */
	pthread_mutex_t lock;      /* M_PAIR */
};

extern struct conn *stress_conns;      /* shared with the second process of M_PAIR, as the next two */
extern int *stress_failed;
extern int stress_count;

void stress_fail(const struct conn *c, const char *what);
int stress_of_mode(int mode, struct conn *mine[], int all); /* those not ended, or all */

/* What a thread of each mode runs: with all connections, or with the one that it is given. */
extern void *(*const stress_threads[MODES])(void *);
static inline int stress_one_each(int mode)
{
	return mode == M_BLOCK || mode == M_WAITALL || mode == M_PEEK;
}

#endif
