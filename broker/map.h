/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h - a published port as a command line says it. Pure. Used by ctl/ and xen/.
 * Trust: text is anybody's.
 */
#ifndef MW_BROKER_MAP_H
#define MW_BROKER_MAP_H

#include "broker/plan.h"

/* [ADDR:]HOST:PORT[/udp], or PORT for the same number; an IPv6 ADDR in brackets. False: it is none. */
bool map_parse(const char *argument, struct plan_port *m);

/* Its family and address from "192.0.2.1" or "[2001:db8::1]", which is written to. */
bool map_address(char *text, struct plan_port *m);

#endif
