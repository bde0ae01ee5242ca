/* SPDX-License-Identifier: Apache-2.0 */
/*
 * splice.h - splice() between a pipe and a socket of ours. Used inside shim/ only.
 * Trust: as in splice.c.
 */
#ifndef MW_SHIM_SPLICE_H
#define MW_SHIM_SPLICE_H

#include <sys/types.h>

/* One of the two at least is a socket of ours. */
ssize_t splice_sock(int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned int flags);

#endif
