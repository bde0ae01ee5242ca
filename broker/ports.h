/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ports.h - the ports of the host that one application has: each held (hold.h), and deposited (deposit.h). Used by net.c, which makes
 * the rules that lead from them.
 * Trust: the caller passes checked ports. publish.c decides which there are.
 */
#ifndef MW_BROKER_PORTS_H
#define MW_BROKER_PORTS_H

#include <stddef.h>

#include "broker/hold.h"

struct published {
	struct plan_port port;
	struct hold hold;
	bool ends;	/* it is held until the rules are without it */
};

struct ports {
	size_t count;
	struct published list[PLAN_PORTS_MAX];
};

/* The one with that protocol, address and port of the host, also one that ends; NULL: there is none. */
struct published *ports_find(struct ports *all, const struct plan_port *port);

/* Holds one that is not there yet and for which there is room. 0, or -errno and one line for a person in `why`. */
int ports_add(struct ports *all, const struct plan_port *port, bool has_v6, char *why, size_t why_bytes);
void ports_undo(struct ports *all); /* the last one, if none was let go since */

void ports_leave(const struct published *p); /* an heir gets it as it is now */

/* Those that do not end, for the rules. Once they are in force those that end are let go; what was found before is not valid then. */
size_t ports_wanted(const struct ports *all, struct plan_port out[PLAN_PORTS_MAX]);
void ports_let_go(struct ports *all);

/* After the rules have changed: datagrams are led as they say now. */
void ports_forget_led(const struct plan_port *port);

/* As net_listen_loopback. */
int ports_listen_loopback(const struct published *p, int family, int backlog, char *why, size_t why_bytes);

void ports_adopt(struct ports *all); /* those of a broker that died */
void ports_close(struct ports *all); /* when there are no rules any more */

#endif
