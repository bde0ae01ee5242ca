/* SPDX-License-Identifier: Apache-2.0 */
/*
 * urgent.h - TCP's urgent data: where reads stop, and the byte by itself. Used inside shim/ only.
 * Trust: as in urgent.c.
 */
#ifndef MW_SHIM_URGENT_H
#define MW_SHIM_URGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct iovec;
struct sock;

ssize_t urgent_recv(struct sock *k, const struct iovec *iov, size_t want, int flags);
ssize_t urgent_send(struct sock *k, const struct iovec *iov, int count, size_t want, int flags); /* stream lane */
uint32_t urgent_cut(struct sock *k, uint64_t *cons, uint32_t used, bool more); /* what one read may take, and from where */
uint32_t urgent_unread(struct sock *k, uint64_t cons, uint32_t used); /* as FIONREAD counts */
uint32_t urgent_hidden(struct sock *k, uint64_t cons); /* unread bytes that no read would give */
bool urgent_stops(struct sock *k);             /* a read that has taken something ends */
bool urgent_within(struct sock *k);            /* a read ends before all that is there */
bool urgent_there(struct sock *k);             /* a byte is, be it the urgent one */
void urgent_inline_set(struct sock *k);        /* SO_OOBINLINE was changed */
void urgent_owner(int fd);                     /* F_SETOWN or the like went well */

#endif
