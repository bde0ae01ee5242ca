/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.h - what two looks at a socket say together. Used by sample.c, linger.c and tests.
 * Trust: numbers only; a last sample that makes no sense counts for nothing.
 */
#ifndef MW_TELEM_HISTORY_H
#define MW_TELEM_HISTORY_H

#include "link/samples.h"

/* Completes what the kernel says of flow f's socket now with what was known of it before; last may be of another flow. */
void sample_complete(struct sample *now, const struct sample *last, const struct mw_flow *f, uint64_t now_ns);

#endif
