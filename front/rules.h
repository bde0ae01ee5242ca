/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules.h - the plan: which nftables rules spread an application's new connections over its INSs. Pure. Used by frontend.c and apply.c.
 * Trust: entries were parsed (registry/entry.h): what of them becomes text is numbers, addresses printed here, and names of checked letters.
 */
#ifndef MW_FRONT_RULES_H
#define MW_FRONT_RULES_H

#include <stdio.h>

#include "front/spread.h"
#include "registry/entry.h"

enum { RULES_PORTS_MAX = 1024 }; /* published, of one family */

struct rules_member {
	const struct entry *e;
	unsigned weight;
};

struct rules_taken {
	uint8_t proto;
	uint16_t host_port;
};

struct rules {
	const char *name;			/* of the application */
	enum balance balance;
	const struct rules_member *members;	/* healthy ones, at most SPREAD_MAX, in a lasting order; not all of weight 0 */
	size_t count;
	const struct rules_taken *taken;	/* ports that are not to be forwarded */
	size_t taken_count;
};

/*
 * A port that is published on its INS's host's loopback is left out. One that is published on a certain address is forwarded for that
 * address, which this host may have or not.
 *
 * Both functions: 0, -ENOSPC more than RULES_PORTS_MAX, -EINVAL a name, -EIO.
 * The table, with empty maps.
 */
int rules_write_table(FILE *out, const struct rules *rules);

/* What lies in the maps. With `flush` in place of what is there. */
int rules_write_maps(FILE *out, const struct rules *rules, bool flush);

#endif
