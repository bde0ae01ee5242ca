/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold.h - holds a port of the host for as long as it is published, so that conflicts show on both sides. Used by ports.c, xen/hold_all.c.
 * Trust: the caller passes checked ports.
 */
#ifndef MW_BROKER_HOLD_H
#define MW_BROKER_HOLD_H

#include <stdbool.h>

#include "broker/plan.h"

struct hold {
	int fd[2];	/* bound sockets: IPv4, IPv6; -1 where not */
};

/* -EADDRINUSE: anybody listens there, or holds it. `beside`: but for our own holds of the same port, which hold_make_way lets it by. */
int hold_open(struct hold *out, const struct plan_port *port, bool has_v6, bool beside);
void hold_make_way(struct hold *hold, bool on);
void hold_settle(struct hold *hold, const struct plan_port *port); /* a dead broker's: it may have been in the midst of making way */
void hold_close(struct hold *hold);

/* A socket on loopback for the held port; TCP listens, UDP is bound. The descriptor, or -errno; -EADDRNOTAVAIL if the port is
 * not held on that. */
int hold_listen(const struct hold *hold, const struct plan_port *port, int family, int backlog);

#endif
