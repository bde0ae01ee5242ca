/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option.h - socket options and ioctls. Used by shim/ and trap/.
 * Trust: as in option.c.
 */
#ifndef MW_SHIM_OPTION_H
#define MW_SHIM_OPTION_H

#include <sys/socket.h>

struct sock;

int option_set(struct sock *k, int level, int name, const void *value, socklen_t len);
int option_get(struct sock *k, int level, int name, void *value, socklen_t *len);
int option_ioctl(struct sock *k, unsigned long request, void *argument); /* -ENOSYS: the kernel's own business */
void option_inherit(struct sock *listener, struct sock *k);
/* Before a call waits on the doorbell: what the operator says of waiting is in force. Returns its flags. */
int option_timeo(struct sock *k, int flags);

#endif
