/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - the addresses that INS domains may have: "192.0.2.11-192.0.2.30/24", or IPv6. Pure. Used by xen/.
 * Trust: the range is the user's; an address that is asked about is anybody's text.
 */
#ifndef MW_XEN_POOL_H
#define MW_XEN_POOL_H

#include <stdbool.h>
#include <stdint.h>

#define POOL_TEXT_BYTES 46 /* INET6_ADDRSTRLEN */

struct pool {
	int family;
	uint8_t base[16];	/* the first one's bytes; the last four of them are `first` */
	uint32_t first, last, next;
	unsigned bits;		/* of the network they are in */
};

/* At most 65536 addresses, all of one network. False: it is none. */
bool pool_parse(struct pool *p, const char *text);

/* `text` is one of it, written to `out` as it is always written. */
bool pool_has(const struct pool *p, const char *text, char out[POOL_TEXT_BYTES]);

/* One that is not taken; those that were given last come last. False: all are. */
bool pool_give(struct pool *p, bool (*taken)(const char *address), char out[POOL_TEXT_BYTES]);

#endif
