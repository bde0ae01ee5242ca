/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netns.h - what is done inside an INS's network namespace, by a process that enters it for a moment. Used by net.c.
 * Trust: the kernel; nothing is read from the namespace.
 */
#ifndef MW_BROKER_NETNS_H
#define MW_BROKER_NETNS_H

#include "broker/plan.h"

#define INS_IF "eth0" /* its end of the veth pair */

/* An interface of ours, in the namespace that we are in: quiet, no address detection, nothing learned from the wire. */
void netns_link_sysctls(const char *name);

/* Its interface, addresses, routes, and every port for unprivileged programs. 0 or -errno. */
int netns_configure(int netns_fd, const struct plan_addrs *a, bool has_v6);

#endif
