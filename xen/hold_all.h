/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold_all.h - this host's ports that are published, held so that no server takes one: broker/hold.h. Used by xen/broker.c.
 * Trust: the ports are checked ones.
 */
#ifndef MW_XEN_HOLD_ALL_H
#define MW_XEN_HOLD_ALL_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/plan.h"

/* For as long as we live. False: one cannot be, which is said. An address that this host does not have needs none. */
bool hold_all(const struct plan_port *ports, size_t count);

#endif
