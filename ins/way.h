/* SPDX-License-Identifier: Apache-2.0 */
/*
 * way.h - by which of its handles a datagram socket answers a peer. Used by ins/dgram.c.
 * Trust: as in way.c.
 */
#ifndef MW_INS_WAY_H
#define MW_INS_WAY_H

#include "ins/ins.h"

struct mw_dgram;

int way_init(void);
uint32_t way_to(const struct isock *s, const struct mw_addr *peer);              /* which handle leads there: 0 is its own */
void way_note(const struct isock *s, const struct mw_addr *peer, uint32_t sub);  /* it was seen on that one */
/* What the socket's own options say, told for a datagram that came by an extra: to a loopback address, on loopback. */
void way_control(const struct isock *s, uint32_t sub, struct mw_dgram *d);

#endif
