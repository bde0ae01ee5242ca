/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netflow.h - where the MAGICWAND stream is served: a UNIX socket, and TCP of the host if the user says so.
 * Used by broker/ and ctl/run.c.
 * Trust: the user's command line.
 */
#ifndef MW_BROKER_NETFLOW_H
#define MW_BROKER_NETFLOW_H

#include "broker/helper.h"
#include "broker/registry.h"
#include "lib/prefix.h"

#define NETFLOW_ALLOW_MAX 16

struct netflow_options {
	struct mw_addr addr;      /* family MW_FAMILY_NONE: no TCP */
	struct prefix allow[NETFLOW_ALLOW_MAX]; /* who may connect by TCP; none: anybody who can */
	size_t allow_count;
};

/* "ADDR:PORT", an IPv6 address in brackets. */
bool netflow_parse(struct mw_addr *a, const char *text);

/* The TCP socket, -1 without one; make: run_options.port_socket. 0 or -errno, with a line for the person in `why`. */
int netflow_listen(const struct netflow_options *o, int (*make)(int family), int *fd, char *why, size_t why_bytes);
/* Listens on the UNIX socket NAME/file, and gives telemetry that and the list. 0 or -errno, with a line for the person in `why`. */
int netflow_prepare(const char *name, const char *file, const struct netflow_options *o, struct helper *h, char *why, size_t why_bytes);

/* Where clients find it: "ADDR:PORT", or the UNIX socket's path. */
void netflow_where(const char *name, const struct netflow_options *o, char text[REGISTRY_PATH_MAX]);

#endif
