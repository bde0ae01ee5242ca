/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.h - listeners that every INS of the application serves. Used by ins/.
 * Trust: as in share.c.
 */
#ifndef MW_INS_SHARE_H
#define MW_INS_SHARE_H

#include "ins/ins.h"

struct broker_msg;
struct mw_req_option;

void share_ask(struct isock *l, struct broker_msg *m); /* fills BM_LISTEN */
void share_told(struct isock *l, const struct mw_req_option *o, const uint8_t *value); /* to the others */
void share_backlog(struct isock *l, int backlog);
void share_event(const struct broker_msg *m, const uint8_t *value, int fds[2]); /* takes those that it sets to -1 */

#endif
