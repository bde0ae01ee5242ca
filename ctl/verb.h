/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verb.h - what the verbs' subcommands have in common. Used inside ctl/.
 * Trust: as in ctl.h.
 */
#ifndef MW_CTL_VERB_H
#define MW_CTL_VERB_H

#include <jansson.h>

#include "ctl/ctl.h"

struct verb_options {
	bool dry_run, json;
	double ttl, grace;
	const char *why, *per;
	long ins;           /* 1 + the number of the only INS that is meant; 0: all */
};

/* One option of those: 't', 'g', 'p', 'w', 'd', 'j', as they begin but for "dry-run". EXIT_USAGE when it is wrong. */
int verb_option(const char *verb, struct verb_options *o, int c);

/* Gives the order q, which becomes its own, and shows the answer: EXIT_. */
int verb_give(const char *verb, const char *name, const struct verb_options *o, json_t *q);

#endif
