/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pool.h - memory that INSs share, and rings of it for slots. Used by kmod/.
 * Trust: who has such a page mapped may write it at any time.
 */
#ifndef MW_KMOD_POOL_H
#define MW_KMOD_POOL_H

#include <linux/types.h>

struct mwk_ins;
struct page;

#define MWK_ROOM (128u << 10) /* of each ring: the most that a slot has, and what datagrams need */

/* Pages that an INS shares, and where we see them, one behind the other. */
struct mwk_mem {
	u32 pages;
	u32 shared; /* of them have a ref */
	u8 *at;
	struct page **page;
	u32 *ref;
};

int mwk_mem_new(struct mwk_ins *i, struct mwk_mem *m, u32 pages);
void mwk_mem_free(struct mwk_ins *i, struct mwk_mem *m);
int mwk_pool_grant(struct mwk_ins *i, bool dgram);    /* rings for one more slot */
void mwk_pool_fill(struct mwk_ins *i);                /* enough of them */
void mwk_pool_trim(struct mwk_ins *i);                /* those that were idle for long */
bool mwk_pool_low(struct mwk_ins *i);
int mwk_pool_init(void);
void mwk_pool_fini(void);

#endif
