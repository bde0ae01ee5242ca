/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker.h - `mw xen broker`: what was asked for. Used by xen/.
 * Trust: the command line is the user's.
 */
#ifndef MW_XEN_BROKER_H
#define MW_XEN_BROKER_H

#include "broker/plan.h"
#include "registry/entry.h"
#include "xen/pool.h"

#define BROKER_PORTS_MAX 64

struct broker_options {
	char name[ENTRY_NAME_MAX + 1];
	const char *template, *image, *gateway; /* NULL: none are created; none */
	struct pool pool;
	struct plan_port ports[BROKER_PORTS_MAX];
	size_t port_count;
	int64_t ready_ms, drain_ms; /* 0: for as long as it takes */
};

/* broker_options.c: 0, or the exit status that ends us; -1: it was help. */
int broker_options(struct broker_options *o, int argc, char **argv);

/* broker.c: the exit status. argv[0] is "broker". */
int broker(int argc, char **argv);

/* A line on standard error, "mw xen: NAME: ..." */
void broker_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
