/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.h - sockets whose descriptor carries the bytes. Used by shim/ and trap/.
 * Trust: as in stream.c.
 */
#ifndef MW_SHIM_STREAM_H
#define MW_SHIM_STREAM_H

#include <sys/types.h>

struct iovec;
struct sock;

ssize_t stream_recv(struct sock *k, const struct iovec *iov, int count, int flags);
ssize_t stream_send(struct sock *k, const struct iovec *iov, int count, int flags);
ssize_t stream_sendfile(struct sock *k, int in, off_t *offset, size_t count);
ssize_t stream_splice(struct sock *k, int in, int out, size_t n, unsigned int flags);
int stream_unread(struct sock *k);
void stream_fill(int fd);                      /* not writable until the INS has dropped it */
int stream_convert(int fd);                    /* makes a ring socket one; 0 also for what needs none; or -errno */

#endif
