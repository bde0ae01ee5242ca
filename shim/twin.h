/* SPDX-License-Identifier: Apache-2.0 */
/*
 * twin.h - connections whose two ends are both this process's. Used inside shim/ only.
 * Trust: as in twin.c.
 */
#ifndef MW_SHIM_TWIN_H
#define MW_SHIM_TWIN_H

#include <stdint.h>

struct sock;

void twin_dialed(struct sock *k);
void twin_accepted(struct sock *k);
int twin_ask(const struct sock *k, uint32_t gen); /* when all is handled: -EBADF, the application has closed it; else 0 */
void twin_settle(const struct sock *k);        /* after a call whose effect the other end must see */

#endif
