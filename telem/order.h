/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.h - requests of the control socket that give orders: JSON in, JSON out. Used inside telem/.
 * Trust: every member of a request is checked for its type and length.
 */
#ifndef MW_TELEM_ORDER_H
#define MW_TELEM_ORDER_H

#include <jansson.h>

#include "telem/policy.h"

/* {"do": "order", "verb": ...}: false when it makes no sense, with `why`. The texts of o are copies. */
bool order_parse(struct order *o, json_t *q, const char *who, char why[FILTER_WHY_BYTES]);

/* What a verdict looks like to clients: the caller's. */
json_t *verdict_json(const struct verdict *v);

#endif
