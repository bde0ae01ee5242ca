/* SPDX-License-Identifier: Apache-2.0 */
/*
 * again.h - a connect() that failed, and the socket that may connect once more. Used by ins/.
 * Trust: as in again.c.
 */
#ifndef MW_INS_AGAIN_H
#define MW_INS_AGAIN_H

#include "ins/ins.h"

void again_failed(struct isock *s, int error);
int again_keep(struct isock *s);    /* what an orphan keeps of it: a handle, or -1 */
void again_options(int from, int to);
/* The socket that failed in slot `from`, in a new one; the doorbell `fd` is ours when it returns 0. */
int again_start(uint32_t from, uint32_t gen, int fd, int type, uint64_t cookie, uint32_t *slot);

#endif
