/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.h - peers that are blocked, and how many connections a peer may have. Used by ins/.
 * Trust: as in block.c.
 */
#ifndef MW_INS_BLOCK_H
#define MW_INS_BLOCK_H

#include "ins/ins.h"

struct verb_msg;

int block_init(void);
void block_recover(void);
int block_add(struct verb_msg *m);               /* may be VERB_LATER */
bool block_sweeping(void);                       /* some are left to be reset: do not sleep */
void block_sweep(void);                          /* some of those */
int block_remove(struct verb_msg *m);
int block_cap(struct verb_msg *m);
bool block_hits(const struct mw_addr *peer);     /* no traffic with it */
bool block_refuses(struct isock *s);             /* just accepted, and it must not stay */
void block_gone(struct isock *s);                /* its slot ends */

#endif
