/* SPDX-License-Identifier: GPL-2.0 */
/*
 * addr.h - addresses: the caller's, the channel's, those of an INS's socket. Used by kmod/.
 * Trust: as in addr.c.
 */
#ifndef MW_KMOD_ADDR_H
#define MW_KMOD_ADDR_H

#include <linux/types.h>

struct mw_addr;
struct mwk_end;

int mwk_addr_take(struct mw_addr *a, const void *sa, int len); /* a caller's. 0, -EINVAL, -EAFNOSUPPORT */
int mwk_addr_give(const struct mw_addr *a, void *to); /* bytes of the sockaddr */
bool mwk_addr_of(struct mwk_end *e, struct mw_addr *a, bool peer); /* its own or its peer's, as the INS says; false: nonsense */

#endif
