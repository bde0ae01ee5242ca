/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.h - netlink sockets of the INS's network; for NETLINK_ROUTE alone. Used by shim/ and trap/.
 * Trust: as in route.c.
 */
#ifndef MW_SHIM_ROUTE_H
#define MW_SHIM_ROUTE_H

#include <stdbool.h>
#include <sys/types.h>

struct msghdr;

int route_create(int type, int protocol);      /* -ENOSYS: the kernel's own business */
bool route_is(int fd);
ssize_t route_send(int fd, const struct msghdr *m, int flags);      /* fd is one; -ENOSYS: no address, the kernel's own business */
bool route_refuses(int fd, unsigned long request);                  /* this ioctl: EPERM */
int route_ioctl(int fd, unsigned long request, void *argument);    /* any descriptor but a socket of ours; -ENOSYS as above */

#endif
