/* SPDX-License-Identifier: GPL-2.0 */
/*
 * grant.h - pages that another domain may map. Used by kmod/xen.c.
 * Trust: the other domain may write such a page, and keeps it for as long as it likes.
 */
#ifndef MW_KMOD_GRANT_H
#define MW_KMOD_GRANT_H

#include <linux/mm_types.h>
#include <linux/types.h>
#include <xen/interface/xen.h>

int mwk_grant(domid_t domain, struct page *page, u32 *ref); /* 0, or -ENOSPC, which is said */
void mwk_grant_end(struct page *page, u32 ref); /* the page is freed, now or when the domain has let go of it. May sleep */
void mwk_grant_fini(void); /* what is still mapped is waited for, a while; then it is the kernel's to wait for. Nothing is granted any more */

#endif
