/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - expressions over the fields of a flow: `peer = 192.0.2.0/24 and unread > 16k and not head = complete`.
 * Used by telem/ and ctl/.
 * Trust: the text is anybody's; memory and depth are bounded.
 *
 *   expression  term { or term }                and, or, not: also &&, ||, !
 *   term        factor { and factor }
 *   factor      [not] ( expression ) | [not] FIELD OPERATOR VALUE
 *   OPERATOR    = != < <= > >=                  addresses and names: = and != alone
 *   VALUE       a number, with k M G (1024) behind counts and us ms s m h d behind times; an address or prefix; a name of
 *               that field (established, partial ...); none
 *
 * A time is compared as how long ago it was: `opened > 10s` opened more than ten seconds ago. One that has not come yet is `none`,
 * and neither more nor less than anything.
 */
#ifndef MW_TELEM_FILTER_H
#define MW_TELEM_FILTER_H

#include "telem/flow.h"

#define FILTER_TEXT_MAX 2048u
#define FILTER_WHY_BYTES 160u

struct filter;

/* NULL: `why` says what is wrong, and where, in plain ASCII. An empty text matches every flow. */
struct filter *filter_parse(const char *text, char why[FILTER_WHY_BYTES]);
bool filter_match(const struct filter *f, const struct flow *flow, uint64_t now_ns);
/* It compares what the kernel says: samples must be fresh. */
bool filter_sampled(const struct filter *f);
void filter_free(struct filter *f);

#endif
