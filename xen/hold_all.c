// SPDX-License-Identifier: Apache-2.0
/*
 * hold_all.c - see hold_all.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "broker/hold.h"
#include "xen/broker.h"
#include "xen/hold_all.h"

bool hold_all(const struct plan_port *ports, size_t count)
{
	bool has_v6 = access("/proc/net/if_inet6", F_OK) == 0;

	for (size_t i = 0; i < count; i++) {
		char text[PLAN_ADDR_BYTES + 16];
		struct hold h;
		int r = hold_open(&h, &ports[i], has_v6, false);

		if (r == 0 || r == -EADDRNOTAVAIL)
			continue;
		plan_port_text(text, sizeof(text), &ports[i]);
		broker_say("%s port %s cannot be published: %s", ports[i].proto == IPPROTO_UDP ? "UDP" : "TCP", text,
			   r == -EADDRINUSE ? "a server of this host has it; end that, or publish another" : strerror(-r));
		return false;
	}
	return true;
}
