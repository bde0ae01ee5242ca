/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doorbell.h - tokens, filler and seed on the socket that the application holds. Used by shim/ and trap/.
 * Trust: as in doorbell.c.
 */
#ifndef MW_SHIM_DOORBELL_H
#define MW_SHIM_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sock;

int doorbell_pair(int type_flags, int pair[2], uint64_t *cookie); /* SOCK_SEQPACKET or SOCK_STREAM, see MW_LANE_ */
int doorbell_fill(struct sock *k, int flags);  /* one filler record; -EAGAIN when the budget is spent */
void doorbell_fill_all(struct sock *k);
void doorbell_shrink(struct sock *k);          /* the send budget */
bool doorbell_strays(struct sock *k);          /* records wait in the doorbell that may be data */
bool doorbell_writable(struct sock *k);        /* a stray will fit */
ssize_t doorbell_send(struct sock *k, const void *from, size_t n, int flags); /* as a stray, at most STRAY_BYTES */
#define STRAY_BYTES 4096u                      /* fits the smallest send budget */
void doorbell_reseed(struct sock *k);          /* when stray bytes took the seed's place */
int doorbell_wait(struct sock *k, int flags);  /* until something is queued: 1, 0 at end of stream, or -errno */
void doorbell_drained(struct sock *k);         /* until the INS has taken the filler of a connect that is decided */
bool doorbell_take(int fd);                    /* takes one token back if it is there */
void doorbell_copy_file(int from, int to);     /* what belongs to the open file: flags and time-outs */
void doorbell_replace(const struct sock *from, int fd, uint32_t to); /* all descriptors of this process that are its: now `fd`'s, of that place */
int doorbell_cookie(int fd, uint64_t *cookie); /* -ENOTSOCK and the like for what is not a doorbell */

#endif
