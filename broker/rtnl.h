/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnl.h - the few rtnetlink requests that a network of our own needs. A socket belongs to the namespace it was opened in.
 * Trust: the kernel answers; lengths in its answers are checked all the same.
 */
#ifndef MW_BROKER_RTNL_H
#define MW_BROKER_RTNL_H

#include <stddef.h>
#include <stdint.h>

#include "broker/plan.h"

/* The socket, or -errno. */
int rtnl_open(void);

/* A veth pair: one end here, the other in the namespace of netns_fd. -EEXIST if either name is taken. */
int rtnl_veth_add(int fd, const char *name, const char *peer, int netns_fd);
int rtnl_link_up(int fd, unsigned ifindex, const char *alias);	/* alias may be NULL */
int rtnl_link_del(int fd, unsigned ifindex);

/* addr is text of either family; IPv6 addresses are usable at once (no duplicate address detection). */
int rtnl_addr_add(int fd, unsigned ifindex, const char *addr, unsigned bits);
int rtnl_route_default(int fd, unsigned ifindex, const char *gateway);

/* Every address and every routed prefix, default routes and refusals (blackhole and the like) left out.
 * The caller frees *list. */
int rtnl_prefixes(int fd, struct plan_prefix **list, size_t *count);

#endif
