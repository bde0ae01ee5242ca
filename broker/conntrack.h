/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conntrack.h - makes the host forget how it led the datagrams of a UDP port. Used by net.c.
 * Trust: the caller passes checked ports.
 */
#ifndef MW_BROKER_CONNTRACK_H
#define MW_BROKER_CONNTRACK_H

#include "broker/plan.h"

/* For every address of this host. After the rules have changed; what cannot be forgotten expires by itself. */
void conntrack_forget(const struct plan_port *port);

#endif
