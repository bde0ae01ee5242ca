/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data.h - bytes between the stack and the rings. Used by ins/.
 * Trust: as in data.c.
 */
#ifndef MW_INS_DATA_H
#define MW_INS_DATA_H

#include "ins/ins.h"

struct iovec;

void data_rx(struct isock *s, bool hup);  /* network to rx ring */
void data_tx(struct isock *s);            /* tx ring to network */
void data_rx_recover(struct isock *s);    /* the journal's deed is this socket's */
void data_tx_recover(struct isock *s);
int64_t data_sent(struct isock *s);
void data_service(struct isock *s);       /* the application marked it ready */
void data_fail(struct isock *s, int error, uint32_t end); /* ends the connection and shows it */
void data_tx_failed(struct isock *s, int r); /* a send said r: < 0 and not -EAGAIN */
void data_quarantine(struct isock *s);
int ring_iov(const struct mw_ring *r, uint64_t pos, uint32_t n, struct iovec iov[2]);

/* Room of a ring that may hold no more than `limit`; 0: all of it. */
static inline uint32_t within(uint32_t room, const struct mw_ring *r, uint32_t limit)
{
	uint32_t used = r->bytes - room;

	return !limit ? room : used < limit ? limit - used : 0;
}

#endif
