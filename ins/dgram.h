/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dgram.h - UDP: a record on the doorbell is a datagram. Used by ins/.
 * Trust: as in dgram.c.
 */
#ifndef MW_INS_DGRAM_H
#define MW_INS_DGRAM_H

#include "ins/ins.h"

struct broker_msg;
struct event;

int dgram_init(void);
int dgram_digits(void);
void dgram_up_recover(struct isock *s);  /* a record is on the doorbell */
void dgram_in_recover(struct isock *s);  /* the journal's deed is this socket's */
void dgram_out_recover(struct isock *s);
void dgram_recover(struct isock *s);
int dgram_start(struct isock *s, uint32_t lane);
void dgram_wake(struct isock *s);
void dgram_event(struct isock *s, const struct event *e);
void dgram_service(struct isock *s, uint32_t flags); /* door: marked, with these MW_APP_ flags */
int dgram_connect(struct isock *s, const struct mw_addr *to);
int dgram_flush(struct isock *s, uint32_t tag);
int dgram_shutdown(struct isock *s, uint32_t how);
void dgram_changed(struct isock *s);            /* what was known of destinations is not known any more */
int dgram_bound(struct isock *s, const struct broker_msg *m, int *fds, int count); /* published: now bind */

#endif
