/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain.h - after a seccomp filter: the doorbell by read, write and poll alone. Used inside shim/ only.
 * Trust: as in plain.c.
 */
#ifndef MW_SHIM_PLAIN_H
#define MW_SHIM_PLAIN_H

#include <stdbool.h>
#include <stddef.h>

extern bool plain_on;
void plain_prepare(void);                      /* before the filter is set */
/* As their namesakes of doorbell.h. */
bool plain_take(int fd);
int plain_wait(int fd, int flags);
int plain_send(int fd, const void *from, size_t n, int flags); /* 0: there is room now, nothing was sent */

#endif
