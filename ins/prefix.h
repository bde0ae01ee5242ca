/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefix.h - a bounded table of address prefixes, each with a value. Used by ins/block.c.
 * Trust: addresses may be chosen by an attacker; the hash is seeded.
 *
 * An IPv4-mapped IPv6 address, or a prefix of such, is the IPv4 one that it stands for. Look-ups cost one probe for each
 * length in use.
 */
#ifndef MW_INS_PREFIX_H
#define MW_INS_PREFIX_H

#include "chan/wire.h"

struct prefix {
	uint8_t addr[16]; /* as in mw_addr; bits behind the prefix are zero */
	uint8_t six;      /* 1: IPv6 */
	uint8_t bits;     /* at most 32 or 128 */
	uint16_t tag;     /* the caller's: prefixes of different tags have nothing to do with each other */
	uint32_t used;    /* the table's */
};

struct prefix_value {
	uint64_t id, count;
};

struct prefix_entry {
	struct prefix p;
	struct prefix_value v;
};

struct prefix_table {
	struct prefix_entry *at;
	uint32_t size, most, used;
	uint64_t seed;
	uint32_t of_length[2][129];
	uint64_t lengths[2][3]; /* bits of those that are not 0 */
};

/* Room for `most` prefixes. 0 or -ENOMEM. */
int prefix_init(struct prefix_table *t, uint32_t most, uint64_t seed);
/* The first `bits` bits of an address. 0, or -EINVAL when there are not as many or the address has no family. */
int prefix_of(struct prefix *p, const struct mw_addr *a, uint32_t bits);
void prefix_cut(struct prefix *p, uint32_t bits); /* to `bits` bits, if it has more */
bool prefix_covers(const struct prefix *p, const struct mw_addr *a);
struct prefix_value *prefix_find(struct prefix_table *t, const struct prefix *p);
/* The one that is there, or a new one of zeros; NULL: full. */
struct prefix_value *prefix_add(struct prefix_table *t, const struct prefix *p);
void prefix_remove(struct prefix_table *t, const struct prefix *p); /* if it is there */
/* The longest prefix with tag 0 that covers the address, or NULL. */
struct prefix_value *prefix_match(struct prefix_table *t, const struct mw_addr *a);

#endif
