/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_verb.h - a verb as it goes to the INS, in JSON: for tests, and for what has no order of its own. Nothing is kept of it. Used by telem/control.c.
 * Trust: the object may hold anything; the INS checks the record again.
 *
 * {"do":"verb","verb":N} and, each 0 or empty where it is absent, the fields of struct verb_msg: "id" (a socket's) or
 * "all":true, "verdict", "level", "name", "flags", "addr" (text), "prefix" (all bits, if absent), "number", "value" (hexadecimal),
 * "bytes" (the room, for a GET). The answer: "ok", "verdict", "status", "number", and of a GET "value".
 */
#ifndef MW_TELEM_RAW_VERB_H
#define MW_TELEM_RAW_VERB_H

#include <jansson.h>

#include "link/telem.h"

/* NULL, or what is wrong. */
const char *raw_verb_read(const json_t *q, struct verb_msg *m, uint8_t value[VERB_VALUE_MAX]);
/* More of an answer. */
void raw_verb_tell(json_t *o, const struct verb_msg *m, const uint8_t *value);

#endif
