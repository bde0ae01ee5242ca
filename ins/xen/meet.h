/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meet.h - how an INS domain and a protected one find each other in XenStore: doc/xen.md. Used by session.c.
 * Trust: who writes a key is guarded by xenstored; values are bounded here.
 */
#ifndef MW_INS_XEN_MEET_H
#define MW_INS_XEN_MEET_H

#include "chan/tele.h"
#include "ins/xen/session.h"

/* Says that this INS is there, and waits for the protected domain. 0: s is filled (its carrier, unless it has one); -errno: told on stderr. */
int meet_begin(struct session *s);
int meet_fd(void);              /* readable: meet_turn() has something to see */
void meet_up(void);             /* it serves */
/* Once a second, and whenever meet_fd() says so. False: the protected domain wants no more, or is gone. t: may be NULL. */
bool meet_turn(const struct mw_tele_view *t, bool second);
void meet_closing(void);        /* it is going to end by intent */
void meet_end(const char *error); /* NULL: as it should */
extern volatile bool meet_stop; /* a signal asks for the end */

#endif
