/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accept.h - from the stack's accept queue to the application's. Used by ins/.
 * Trust: as in accept.c.
 */
#ifndef MW_INS_ACCEPT_H
#define MW_INS_ACCEPT_H

#include "ins/ins.h"

void accept_ready(struct isock *l, struct isock *s); /* as soon as the application's queue has room */
void accept_forget(struct isock *s);                 /* one that waited for it and ends */
void accept_handed(struct isock *s);                 /* the application has it */
void accept_recover(int fd);
void accept_close(struct isock *l);                  /* nobody accepts any more: all that wait end */
void accept_event(struct isock *l, uint32_t sub);
void accept_bell(struct isock *l, uint32_t mask);
void accept_watch(struct isock *l);
void accept_shut(struct isock *l);
void accept_resume_all(void);

#endif
