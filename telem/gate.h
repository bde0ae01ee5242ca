/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.h - listeners' gates: how they are, and the words of an order that sets one. Used inside telem/.
 * Trust: an order is JSON of a client's; every value is bounded here, and by the INS again.
 */
#ifndef MW_TELEM_GATE_H
#define MW_TELEM_GATE_H

#include <jansson.h>

#include "link/gate.h"

/* {"ok":true,"gates":[...]}, one of each listener; when the INS has answered for all. o becomes the callee's. */
typedef void gate_answer(void *arg, json_t *o);
void gate_list(gate_answer *fn, void *arg);

/* "mode", and if they are there "deadline" (seconds), "limit" (bytes), "per_peer". NULL, or what is wrong. */
const char *gate_settings_read(const json_t *q, struct gate_settings *g);
void gate_settings_text(const struct gate_settings *g, char *text, size_t bytes);

#endif
