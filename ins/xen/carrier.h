/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carrier.h - how the protected machine's pages and news get here and back. Used by ins/xen/; doc/xen.md, "Carriers".
 * Trust: refs are the other side's, and are only ever given to the kernel, which checks them.
 *
 * A carrier's descriptors stay open across workers (keeper.c); mappings do not, so each worker maps anew what the state says.
 */
#ifndef MW_INS_XEN_CARRIER_H
#define MW_INS_XEN_CARRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct carrier {
	const char *name;
	/* Maps so many pages, by their refs, one behind the other from `at` on (reserved address space). 0 or -errno, nothing mapped. */
	int (*map)(void *at, const uint32_t *refs, uint32_t pages);
	/* Makes it reserved address space again. */
	void (*unmap)(void *at, const uint32_t *refs, uint32_t pages);
	int (*fd)(void);        /* readable when there is news */
	bool (*news)(void);     /* takes it; false: the other side is gone */
	void (*notify)(void);
};

int file_open(const char *spec); /* a path, or "FD,FD": of the pages and of news. 0 or -errno */
extern const struct carrier carrier_file; /* a file that the other side's pages are in, and a descriptor to be told by */
int grant_open(uint32_t domain, uint32_t remote_port); /* whose grants, and to which port of its. 0 or -errno */
extern const struct carrier carrier_xen;  /* gntdev, evtchn */

#endif
