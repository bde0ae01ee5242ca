/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netfwd.h - lets the host forward packets to and from our veths, and to nobody else; undone by the last application. Used by net.c.
 * Trust: /proc/sys and who else writes it.
 */
#ifndef MW_BROKER_NETFWD_H
#define MW_BROKER_NETFWD_H

#include <stdbool.h>
#include <stddef.h>

enum { NETFWD_MAX = 4096 };	/* interfaces of the host */

/* Interfaces that forward only because of us: the caller's rules must keep them from forwarding anything else. */
struct netfwd {
	unsigned guard4[NETFWD_MAX], guard6[NETFWD_MAX];
	size_t guard4_count, guard6_count;
};

/* One change at a time on a host: a lock fd to close, or -errno. Held around every other call here and around the birth and
 * death of a veth. */
int netfwd_lock(void);

/* Switches on what is needed on every interface of this namespace but `lo`. Again when interfaces came. */
int netfwd_enable(struct netfwd *out, bool v6);

/* Switches back what any broker switched on, unless a host end (PLAN_IF_PREFIX) is left. */
void netfwd_release(void);

#ifdef MW_TEST
extern bool netfwd_old_kernel;	/* do as on a kernel without force_forwarding (before 6.17) */
#endif

#endif
