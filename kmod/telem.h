/* SPDX-License-Identifier: GPL-2.0 */
/*
 * telem.h - /dev/mwcomms-telem, the second device node. Used by kmod/.
 * Trust: as in telem.c.
 */
#ifndef MW_KMOD_TELEM_H
#define MW_KMOD_TELEM_H

struct mwk_ins;

int mwk_telem_init(void);
void mwk_telem_fini(void);
void mwk_telem_events(struct mwk_ins *i); /* the worker: there may be some that somebody waits for */
void mwk_telem_changed(void);             /* INSs have come or gone */

#endif
