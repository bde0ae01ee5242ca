/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.h - one socket seen and used through itself, a duplicate, a child, or a process it was passed to.
 * Trust: a test's own processes.
 */
#ifndef MW_SAME_VIEW_H
#define MW_SAME_VIEW_H

#include <stdint.h>

enum view { VIEW_SELF, VIEW_DUP, VIEW_CHILD, VIEW_PASSED, VIEWS };
extern const char *const view_names[VIEWS];

enum view_op { DO_LOOK, DO_READ, DO_WRITE, DO_ERROR, DO_SHUTDOWN };

/* What poll, select and epoll say. All in poll's bits; select as IN, OUT, PRI. */
struct look {
	uint32_t poll, select, level;
	uint32_t once, once_again, once_rearmed; /* EPOLLONESHOT: first wait, second, after EPOLL_CTL_MOD */
	uint32_t exclusive;
};

struct act {
	int32_t r, error, sigpipe;
	struct look look;
};

void view_start(void);                  /* forks the process that descriptors are passed to */
void view_stop(void);

/*
 * DO_LOOK waits up to 2 s for poll to say `arg`, then looks. DO_READ and DO_WRITE move `arg` bytes without
 * waiting; DO_ERROR takes SO_ERROR; DO_SHUTDOWN is given how.
 */
struct act view_do(enum view v, int fd, enum view_op op, uint32_t arg);
const char *view_mask(uint32_t mask);   /* "IN|OUT"; one of eight static buffers */

#endif
