/* SPDX-License-Identifier: Apache-2.0 */
/*
 * taken.h - whether a server of this host has a port. Used by frontend.c.
 * Trust: /proc/net.
 */
#ifndef MW_FRONT_TAKEN_H
#define MW_FRONT_TAKEN_H

#include <stdbool.h>
#include <stdint.h>

/* TCP listens there, or UDP is bound, on another than a loopback address. proto: IPPROTO_TCP or IPPROTO_UDP. */
bool taken_port(int proto, uint16_t port);

#endif
