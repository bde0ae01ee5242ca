/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linger.h - close() with SO_LINGER and a time. Used inside shim/ only.
 * Trust: as in linger.c.
 */
#ifndef MW_SHIM_LINGER_H
#define MW_SHIM_LINGER_H

#include <stdint.h>

struct sock;

int linger_begin(struct sock *k);              /* before close(): seconds that it waits afterwards, or 0 */
void linger_wait(struct sock *k, uint32_t gen, int seconds);

#endif
