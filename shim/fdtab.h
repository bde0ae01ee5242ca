/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdtab.h - which descriptors are sockets of ours. Used by shim/ and trap/.
 * Trust: as in fdtab.c.
 */
#ifndef MW_SHIM_FDTAB_H
#define MW_SHIM_FDTAB_H

#include <stdbool.h>
#include <stdint.h>

struct sock;

#define FDTAB_MAX (1u << 20) /* a descriptor at or above it can't be made: see attach.c */

bool sock_get(int fd, struct sock *k);
void sock_at(struct sock *k, uint32_t place); /* of an arena that is there; no descriptor */
void fdtab_set(int fd, uint32_t place);
void fdtab_clear(int fd);
void fdtab_clear_from(unsigned int first, unsigned int last);
void fdtab_copy(int from, int to);
bool fdtab_has(uint32_t ins);              /* some descriptor is a socket of that INS's */
bool fdtab_find(uint64_t cookie, uint32_t *place); /* whose doorbell that is */
void fdtab_adopt(int fd);                  /* a descriptor that came by exec or SCM_RIGHTS: is it one of ours? */
bool fdtab_again(struct sock *k);          /* its INS has ended: does another serve the same listener? */
void fdtab_scan(void);                     /* adopt all that came by exec */

#endif
