/* SPDX-License-Identifier: Apache-2.0 */
/*
 * urgent.h - TCP's urgent data. Used by ins/.
 * Trust: as in urgent.c.
 */
#ifndef MW_INS_URGENT_H
#define MW_INS_URGENT_H

#include "ins/ins.h"

void urgent_reached(struct isock *s);      /* the next byte of the stack is urgent */
void urgent_announced(struct isock *s);    /* the stack has an urgent byte, and the ring is full */
void urgent_inline_was_set(struct isock *s);
int urgent_inline_get(struct isock *s, void *value, uint32_t *bytes); /* as getopt() of SO_OOBINLINE, of any socket */
uint32_t urgent_hidden(struct isock *s);   /* unread bytes that no read would give */
uint32_t urgent_before(const struct isock *s, uint32_t n); /* stream: of the n bytes to push, those before the urgent one */
bool urgent_at_mark(struct isock *s);
uint64_t urgent_behind_dropped(const struct isock *s, uint64_t at); /* a position of reading, as it really is */
int urgent_take(struct isock *s, bool peek, int32_t *byte);
int urgent_send(struct isock *s, uint8_t byte);
int urgent_owner(struct isock *s, int fd); /* takes fd when it returns 0 */
void urgent_init(void);
void urgent_recover(struct isock *s);       /* whom the stack signals is another process now */
void urgent_signalled(void);               /* in each loop */

#endif
