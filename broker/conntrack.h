/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conntrack.h - makes the host forget how it led the datagrams of a UDP port, or what it led to an INS that is gone. Used by net.c.
 * Trust: the caller passes checked ports and addresses.
 */
#ifndef MW_BROKER_CONNTRACK_H
#define MW_BROKER_CONNTRACK_H

#include "broker/plan.h"

/* For every address of this host. Both after the rules have changed; what cannot be forgotten expires by itself. */
void conntrack_forget(const struct plan_port *port);
void conntrack_forget_ins(const struct plan_ins *ins, size_t count);

#endif
