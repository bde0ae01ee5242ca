/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.h - the stream lane: the doorbell carries the bytes. Used by ins/.
 * Trust: as in stream.c.
 */
#ifndef MW_INS_STREAM_H
#define MW_INS_STREAM_H

#include "ins/ins.h"

int stream_adopt(struct isock *s, int fd, uint64_t cookie); /* the new doorbell is ours when it returns 0 */
void stream_event(struct isock *s, uint32_t mask);
bool stream_pull(struct isock *s);         /* from the doorbell to the tx ring; false: nothing there, or no room */
void stream_push(struct isock *s);         /* from the rx ring to the doorbell */
void stream_show_fin(struct isock *s);
void stream_show_error(struct isock *s);
void stream_done(struct isock *s);         /* our FIN is on its way */
void stream_filled(struct isock *s);       /* what is unread now is filler */
void stream_drain(struct isock *s);        /* drops it: the application may write */
void stream_recover(struct isock *s);      /* it may wait for what has been told already */
void stream_pull_recover(struct isock *s); /* the journal's deed is this socket's */
void stream_push_recover(struct isock *s);
void stream_filler_recover(struct isock *s);
uint64_t stream_written(const struct isock *s); /* tx_prod once all is pulled that the application has written */

#endif
