/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * mark.h - TCP's urgent data as a reader of the rx ring sees it: where reads stop, and which bytes nobody is given.
 * PROTOCOL.md, section 5. Included by the application's sides.
 * Trust: ins's words decide only what of the ring's bytes is given; each is bounded by what is there.
 */
#ifndef MW_CHAN_MARK_H
#define MW_CHAN_MARK_H

#include "wire.h"

/* From where reading goes on. */
struct mw_mark {
	uint64_t begin; /* behind bytes that a newer urgent byte has made worthless */
	uint64_t ahead; /* bytes before the urgent one: huge when there is none */
	uint32_t in_line;
	uint32_t pad;
};

/* To be called when the ring's bytes have been counted: the mark is stored before its byte is published. */
void mark_see(struct mw_mark *m, struct mw_slot __peer *s, uint64_t cons, uint32_t rx_bytes);
/* How many of the `used` bytes at *cons one read may give, and *cons moved to them. more: it has given some already. */
uint32_t mark_cut(const struct mw_mark *m, uint64_t *cons, uint32_t used, bool more);
uint32_t mark_unread(const struct mw_mark *m, uint64_t cons, uint32_t used); /* as FIONREAD says */
uint32_t mark_hidden(const struct mw_mark *m, uint64_t cons);                /* bytes that no read would give */

#endif
