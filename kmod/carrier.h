/* SPDX-License-Identifier: GPL-2.0 */
/*
 * carrier.h - how pages and news get to an INS and back. Used by kmod/; doc/xen.md, "Carriers".
 * Trust: the other side may do anything to a page that is shared, until unshare() says that it is ours again.
 */
#ifndef MW_KMOD_CARRIER_H
#define MW_KMOD_CARRIER_H

#include <linux/mm_types.h>
#include <linux/types.h>

struct mwk_ins;

struct mwk_carrier {
	const char *name;
	/* 0 and *ref, or -errno (-ENOSPC: the grant table is full). May sleep. */
	int (*share)(struct mwk_ins *i, struct page *page, u32 *ref);
	/* The page is freed, now or when the other side has let go of it; the caller forgets it. May sleep. */
	void (*unshare)(struct mwk_ins *i, struct page *page, u32 ref);
	void (*notify)(struct mwk_ins *i); /* any context */
	void (*served)(struct mwk_ins *i, bool any); /* all news are taken, and there were some: more may come. Or NULL; any context but interrupts */
	void (*detach)(struct mwk_ins *i); /* no more news after it; pages are unshared later. May sleep */
	void (*release)(struct mwk_ins *i); /* all pages are unshared: the last call, frees what is the carrier's own. May sleep */
};

/*
 * A carrier that has met an INS of number `domain` (the domain's id; loop: 0 and up) asks the core to serve it: the core makes
 * arena, door, telemetry and directory and shares them through `c`. *directory: the directory's ref. NULL or the INS.
 */
struct mwk_ins *mwk_ins_add(const struct mwk_carrier *c, void *carrier_private, u32 domain, u32 slots, u32 *directory);
void mwk_ins_up(struct mwk_ins *i);    /* the other side has mapped all: HELLO, listeners follow; any context */
void mwk_ins_news(struct mwk_ins *i);  /* from the interrupt, any context */
void mwk_ins_drain(struct mwk_ins *i); /* it gets no new sockets; those that it has go on; any context */
void mwk_ins_gone(struct mwk_ins *i, const char *why); /* its sockets end with ECONNRESET; may sleep; i is freed in the end */
void *mwk_ins_private(const struct mwk_ins *i);

#endif
