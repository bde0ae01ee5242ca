/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operator.h - options that an operator sets on a live socket, a listener, or all. Used by ins/.
 * Trust: as in operator.c.
 */
#ifndef MW_INS_OPERATOR_H
#define MW_INS_OPERATOR_H

#include "ins/ins.h"

struct verb_msg;

int operator_init(uint32_t slots);
int operator_set(struct isock *s, const struct verb_msg *m, const uint8_t *value);
int operator_set_all(struct verb_msg *m, const uint8_t *value);
int operator_get(struct isock *s, struct verb_msg *m, uint8_t *value); /* s NULL: what new ones get */
int operator_backlog(struct isock *l, const struct verb_msg *m);
int operator_backlog_all(struct verb_msg *m);
int operator_listen(struct isock *l, int backlog); /* the application's backlog came: the one to use */
void operator_app_set(struct isock *s, int level, int name); /* the application's value is in force: no longer, if held */
void operator_app_get(struct isock *s, int level, int name, uint8_t *at, int32_t length);
void operator_new(struct isock *s);
void operator_accepted(const struct isock *l, struct isock *s); /* or the same socket in another slot */
void operator_door(const struct isock *l, int app_end);
void operator_acks(struct isock *s);               /* bytes came */

#endif
