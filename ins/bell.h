/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bell.h - the doorbell: a socketpair whose far end the application holds. Used by ins/.
 * Trust: as in bell.c.
 */
#ifndef MW_INS_BELL_H
#define MW_INS_BELL_H

#include "ins/ins.h"

int bell_pair(struct isock *s, int type, int *app_end, uint64_t *cookie);
int bell_adopt(struct isock *s, int fd, int type);  /* type: SOCK_SEQPACKET or SOCK_STREAM, see MW_LANE_ */
void bell_event(struct isock *s, uint32_t mask);
void bell_drain(struct isock *s);
void bell_ring_later(struct isock *s);
void bell_ring_all(void);
bool bell_enough(struct isock *s, const struct mw_ring *r); /* to be told of, by SO_RCVLOWAT */
void bell_wake(struct isock *s);           /* calls that wait there look again */
void bell_show_fin(struct isock *s);
void bell_show_error(struct isock *s, int error);
void bell_gone(struct isock *s);
void bell_gone_on(struct isock *s);        /* what follows once F_APP_GONE is set, for an established socket */
void bell_token_recover(struct isock *s);  /* the journal's deed is this socket's */
void bell_marker_recover(struct isock *s);
void bell_stray_recover(struct isock *s);
void bell_take_recover(struct isock *s);

#endif
