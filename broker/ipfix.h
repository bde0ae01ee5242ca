/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipfix.h - IPFIX collectors as the user names them. Used by broker/telem.c and ctl/run.c.
 * Trust: the user; names are resolved here, before telemetry gives up what it takes to.
 */
#ifndef MW_BROKER_IPFIX_H
#define MW_BROKER_IPFIX_H

#include "broker/broker.h"
#include "broker/helper.h"

struct ipfix_target {
	char kind[5];            /* udp, tcp, file */
	char host[256];          /* a name or an address */
	char port[6];
	const char *path;
};

/* udp:HOST:PORT, tcp:HOST:PORT (HOST may be [IPv6]) or file:PATH. False when it is none of these. */
bool ipfix_parse(struct ipfix_target *t, const char *text);

/* Adds arguments and descriptors to telemetry's. 0 or -errno, with a line for the person in `why`. */
int ipfix_prepare(const struct run_options *o, struct helper *telem, char *why, size_t why_bytes);

#endif
