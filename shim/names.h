/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h - how the replaced lookups reach the resolver process. Used by shim/names*.c.
 * Trust: an answer was checked for its form (link/names.c); what its numbers and lengths mean is checked by whoever uses it.
 */
#ifndef MW_SHIM_NAMES_H
#define MW_SHIM_NAMES_H

#include <netdb.h>
#include <resolv.h>

#include "link/names.h"

struct names_answer {
	uint8_t *record; /* the caller's to free; NULL when there is none */
	struct names_reply r;
	int fd; /* that came with it, the caller's to close, or -1 */
};

/*
 * One lookup. 0; -ENOMEM; -EMFILE, -ENFILE; else -EAGAIN: the resolver is gone, and for NAMES_IF_ADDRESSES and all above -ENONET:
 * this process has left for a network of its own. errno is as it was.
 */
int names_ask(struct names_ask *ask, struct names_answer *answer);

/* names_here.c: the same for those below NAMES_IF_ADDRESSES, wherever this process has them answered. */
int names_lookup(struct names_ask *ask, struct names_answer *answer);

/* The configuration that goes with an ask, if the application made one of its own in `st`. */
void names_conf_of(struct names_ask *ask, const struct __res_state *st);

#endif
