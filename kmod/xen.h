/* SPDX-License-Identifier: GPL-2.0 */
/*
 * xen.h - the carrier for INSs that are other domains. Used by kmod/main.c.
 * Trust: as in xen.c.
 */
#ifndef MW_KMOD_XEN_H
#define MW_KMOD_XEN_H

int mwk_xen_init(void); /* 0 also where there is no Xen */
void mwk_xen_fini(void);

#endif
