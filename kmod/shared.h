/* SPDX-License-Identifier: GPL-2.0 */
/*
 * shared.h - what is shared with an INS from the start. Used by kmod/ins.c.
 * Trust: as in shared.c.
 */
#ifndef MW_KMOD_SHARED_H
#define MW_KMOD_SHARED_H

#include <linux/types.h>

struct mwk_ins;

/* The fixed parts. Their end, and that of all rings, is mwk_shared_free(), also when they were not whole. */
int mwk_shared_new(struct mwk_ins *i, u32 slots); /* 0, -ENOMEM, or the carrier's */
void mwk_shared_free(struct mwk_ins *i);

#endif
