/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefix.h - address prefixes: "192.0.2.0/24", "2001:db8::/32", or an address alone. Used by telem, ctl, broker.
 * Trust: text is anybody's.
 */
#ifndef MW_LIB_PREFIX_H
#define MW_LIB_PREFIX_H

#include "chan/wire.h"

#define PREFIX_TEXT_BYTES 68

/* addr's bits beyond `bits` are zero; its port is 0. An IPv4-mapped IPv6 prefix is the IPv4 one. */
struct prefix {
	struct mw_addr addr;
	uint32_t bits;
};

/* 0, or -EINVAL when it is none, or has bits set beyond its length. */
int prefix_parse(struct prefix *p, const char *text);
bool prefix_has(const struct prefix *p, const struct mw_addr *a); /* an IPv4-mapped address is the IPv4 one */
const char *prefix_text(const struct prefix *p, char text[PREFIX_TEXT_BYTES]);

#endif
