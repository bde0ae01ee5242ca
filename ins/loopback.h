/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loopback.h - what our own loopback refuses, tried on the host's. Used by ins/.
 * Trust: as in loopback.c.
 */
#ifndef MW_INS_LOOPBACK_H
#define MW_INS_LOOPBACK_H

#include "ins/ins.h"

struct broker_msg;

void loopback_recover(struct isock *s);
bool loopback_ask(struct isock *s); /* the host's may take it: the answer comes later */
void loopback_answer(const struct broker_msg *m, int *fd);

#endif
