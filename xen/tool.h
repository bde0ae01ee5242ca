/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool.h - shared inside xen/ only: what was asked for.
 * Trust: the command line is the user's.
 */
#ifndef MW_XEN_TOOL_H
#define MW_XEN_TOOL_H

#include "xen/store.h"

#define INS_MAX 64
#define NO_DOMAIN (-1)

struct wish {
	int pvm;           /* NO_DOMAIN: as it is */
	int ins[INS_MAX];
	unsigned ins_count;
	bool keys;         /* status: every key */
};

/* 0 or an exit status; what is wrong is said. */
int setup(struct store *s, struct wish *w);
int remove_keys(struct store *s, struct wish *w);
int status(struct store *s, struct wish *w);

/* Says it, with "mw xen: " in front, and gives the exit status for it. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The domain ids that /mw has directories of, at most `max`; -errno. */
int known(struct store *s, int *ids, unsigned max);

/* Takes one's directory away. 0 or -errno. */
int remove_ins(struct store *s, int id);

#endif
