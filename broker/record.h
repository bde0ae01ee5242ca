/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - an INS's records, each carried out once, whenever the broker dies. Used by hear.c, supervise.c, publish.c, privilege.c.
 * Trust: an INS may be compromised; sizes are the caller's to check.
 *
 * A record stays on the socket until it has been answered. What an heir finds there was not begun, was begun (then it is carried out
 * again: record_again), or was answered already: struct deposit_words says which.
 */
#ifndef MW_BROKER_RECORD_H
#define MW_BROKER_RECORD_H

#include "broker/inss.h"

/* It has room for another answer. Nothing of it is heard until it has: who asks and does not read what it is told waits for itself. */
bool record_room(const struct one_ins *ins);

/* What lies first, with its value and descriptors (*count: room, then how many came). Bytes or -errno; then record_done. */
ssize_t record_look(const struct one_ins *ins, struct broker_msg *m, uint8_t value[BM_VALUE_MAX], int *fds, int *count);
bool record_again(void);
void record_answer(const struct one_ins *ins, const struct broker_msg *m, const int *fds, int count);
void record_done(const struct one_ins *ins);

/* Of a broker that died: what it had answered is taken away. */
void record_adopt(void);

#endif
