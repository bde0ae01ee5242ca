/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.h - a bounded table of address prefixes, each with a value. Used by ins/block.c.
 * Trust: addresses may be chosen by an attacker; the hash is seeded.
 *
 * An IPv4-mapped IPv6 address, or a prefix of such, is the IPv4 one that it stands for. Look-ups cost one probe for each
 * length in use.
 */
#ifndef MW_INS_PEERS_H
#define MW_INS_PEERS_H

#include "chan/wire.h"

struct peers_prefix {
	uint8_t addr[16]; /* as in mw_addr; bits behind the prefix are zero */
	uint8_t six;      /* 1: IPv6 */
	uint8_t bits;     /* at most 32 or 128 */
	uint16_t tag;     /* the caller's: prefixes of different tags have nothing to do with each other */
	uint32_t used;    /* the table's */
};

struct peers_value {
	uint64_t id, count;
};

struct peers_entry {
	struct peers_prefix p;
	struct peers_value v;
};

struct peers {
	struct peers_entry *at;
	uint32_t size, most, used;
	uint64_t seed;
	uint32_t of_length[2][129];
	uint64_t lengths[2][3]; /* bits of those that are not 0 */
};

/* Bytes of memory for `most` prefixes. */
size_t peers_bytes(uint32_t most);
/* In that memory; all zeroes: an empty table. With another's, peers_recover() comes next. */
void peers_init(struct peers *t, void *memory, uint32_t most, uint64_t seed);
void peers_clear(struct peers *t);
/* Of a table that somebody was interrupted in: what is whole in it. spare: as much memory again. */
void peers_recover(struct peers *t, void *spare);
/* The first `bits` bits of an address. 0, or -EINVAL when there are not as many or the address has no family. */
int peers_prefix_of(struct peers_prefix *p, const struct mw_addr *a, uint32_t bits);
void peers_cut(struct peers_prefix *p, uint32_t bits); /* to `bits` bits, if it has more */
bool peers_same(const struct peers_prefix *p, const struct peers_prefix *q);
bool peers_covers(const struct peers_prefix *p, const struct mw_addr *a);
struct peers_value *peers_find(struct peers *t, const struct peers_prefix *p);
/* The one that is there, or a new one of zeros; NULL: full. */
struct peers_value *peers_add(struct peers *t, const struct peers_prefix *p);
void peers_remove(struct peers *t, const struct peers_prefix *p); /* if it is there */
/* The longest prefix with tag 0 that covers the address, or NULL. */
struct peers_value *peers_match(struct peers *t, const struct mw_addr *a);

#endif
