/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data.h - bytes to and from the rings. Used by shim/ and trap/.
 * Trust: as in data.c.
 */
#ifndef MW_SHIM_DATA_H
#define MW_SHIM_DATA_H

#include <sys/types.h>

struct iovec;
struct sock;

/* The iovec is right, see user_iov_bytes(); what it names may be a wrong address: -EFAULT. */
ssize_t data_recv(struct sock *k, const struct iovec *iov, int count, int flags);
ssize_t data_send(struct sock *k, const struct iovec *iov, int count, int flags);
ssize_t data_sendfile(struct sock *k, int in, off_t *offset, size_t count);
int data_unread(struct sock *k);
void data_lowat(struct sock *k);               /* SO_RCVLOWAT was changed */
int data_error(struct sock *k);                /* takes the pending error: positive errno or 0 */

#endif
