/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loop.h - the carrier for an INS in the same machine. Used by kmod/main.c.
 * Trust: as in loop.c.
 */
#ifndef MW_KMOD_LOOP_H
#define MW_KMOD_LOOP_H

int mwk_loop_init(void);
void mwk_loop_fini(void);

#endif
