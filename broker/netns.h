/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netns.h - an INS's network namespace: what is done inside it, by a process that enters it for a moment; whether a socket is of it.
 * Used by net.c, publish.c, privilege.c.
 * Trust: the kernel; nothing is read from the namespace, and nothing believed of a socket.
 */
#ifndef MW_BROKER_NETNS_H
#define MW_BROKER_NETNS_H

#include "broker/plan.h"

#define INS_IF "eth0" /* its end of the veth pair */

/* A TCP or UDP socket of that namespace; -1: of whichever: an INS on the host's network has no other. */
bool netns_has_socket(int netns_fd, int fd);

/* An interface of ours, in the namespace that we are in: quiet, no address detection, nothing learned from the wire. */
void netns_link_sysctls(const char *name);

/* Its interface, addresses, routes, and every port for unprivileged programs. 0 or -errno. */
int netns_configure(int netns_fd, const struct plan_addrs *a, bool has_v6);

#endif
