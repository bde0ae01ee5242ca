/* SPDX-License-Identifier: Apache-2.0 */
/*
 * again.h - connect() again after one that failed. Used by shim/ and trap/.
 * Trust: as in again.c.
 */
#ifndef MW_SHIM_AGAIN_H
#define MW_SHIM_AGAIN_H

#include <stdbool.h>

struct sock;

bool again_due(struct sock *k, int r);         /* connect() has told with `r` of an attempt that failed */
int again_make(struct sock *k);                /* a descriptor of the socket as it was before connect(), in a slot of its own, or -errno */
void again_here(struct sock *k);               /* its descriptors become such */
void again_replace(struct sock *k, int fd);    /* they become `fd`, which is closed, epoll sets included */

#endif
