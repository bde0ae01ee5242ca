/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op.h - the application's requests. Used by ins/.
 * Trust: as in op.c.
 */
#ifndef MW_INS_OP_H
#define MW_INS_OP_H

#include "ins/ins.h"

struct broker_msg;
struct mw_req;

void op_handle(uint32_t conn, struct mw_req *q, const uint8_t *value, int fd);
void op_broker_answer(const struct broker_msg *m, int *fds, int count);
void op_abandon(struct isock *s);  /* the socket is gone before the broker has answered */

#endif
