/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ins_host.h - what a worker of mw-ins has around it, for ins_fuzz.c: a state on the heap, loopback, its descriptors.
 * Trust: none.
 */
#ifndef MW_TEST_FUZZ_INS_HOST_H
#define MW_TEST_FUZZ_INS_HOST_H

#include "link/telem.h"

#define HOST_SLOTS 64u

struct host {
	int broker, operator, wake; /* the other ends */
	struct mw_reader *reader;
};

void host_loopback_up(void);               /* of a network namespace of our own */
void host_descriptors(struct host *h);     /* what the broker gives a new INS; no other descriptor may have these numbers */

#endif
