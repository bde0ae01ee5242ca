/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conntrack.h - makes the host forget how it led the datagrams of a UDP port, or what it led to an INS that is gone. Used by
 * broker/net.c and front/gone.c.
 * Trust: the caller passes checked ports and addresses.
 */
#ifndef MW_LIB_CONNTRACK_H
#define MW_LIB_CONNTRACK_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

struct conntrack_led {
	struct in_addr to4; /* all zero: none */
	struct in6_addr to6;
};

/* For every address of this host. Both after the rules have changed; what cannot be forgotten expires by itself. */
void conntrack_forget_port(uint16_t udp_port);
void conntrack_forget_led(const struct conntrack_led *led, size_t count);

#endif
