/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample.h - shared by sample.c, linger.c and cookies.c: the kernel's word on each connection, kept in the memory of link/samples.h.
 * Trust: as in telem.h. That memory is ours; what an INS did to it is never used as an index.
 */
#ifndef MW_TELEM_SAMPLE_H
#define MW_TELEM_SAMPLE_H

#include "telem/diag.h"
#include "telem/telem.h"

/* --- cookies.c: which connection has that kernel socket --- */
struct cookie {
	uint64_t cookie, id;
	uint32_t index;           /* of a slot; from MW_SLOTS_MAX on, of a linger */
	uint32_t pad;
};
void cookies_clear(uint32_t count); /* room for so many */
void cookies_put(uint64_t cookie, uint64_t id, uint32_t index);
const struct cookie *cookies_find(uint64_t cookie);

/* --- linger.c: connections that the INS has closed and the kernel perhaps not --- */
void lingers_init(void);
void lingers_learn(void);                           /* from the log of closed flows, before it is overwritten */
uint32_t lingers_count(void);                       /* for cookies_clear */
bool lingers_want(void);                            /* some are to be looked at soon */
bool lingers_by_host(void);                         /* some may be in the host's network */
void lingers_look(void);                            /* cookies_put for each */
void lingers_seen(uint32_t index, uint64_t id, const struct sample *s); /* the kernel still has it */
void lingers_sweep(void);                           /* the look is complete: what was not seen is gone */
bool lingers_read(uint32_t index, struct flow *out); /* one that is worth telling */

#endif
