/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dgram.h - UDP: one record on the doorbell is one datagram. Used by shim/ and trap/.
 * Trust: as in dgram.c.
 */
#ifndef MW_SHIM_DGRAM_H
#define MW_SHIM_DGRAM_H

#include <sys/socket.h>
#include <sys/types.h>

struct iovec;
struct sock;

ssize_t dgram_sendmsg(struct sock *k, const struct msghdr *m, int flags);
ssize_t dgram_sendto(struct sock *k, const struct iovec *iov, int count, int flags, const struct sockaddr *sa, socklen_t len);
ssize_t dgram_recvmsg(struct sock *k, struct msghdr *m, int flags);
ssize_t dgram_recvfrom(struct sock *k, const struct iovec *iov, int count, int flags, struct sockaddr *sa, socklen_t *len);
int dgram_unread(struct sock *k);
int dgram_shutdown(struct sock *k, int how);
int dgram_error(struct sock *k);               /* as data_error() */

#endif
