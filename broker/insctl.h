/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insctl.h - requests about INSs, on the socket NAME/ins-ctl. Used by hear.c, supervise.c, pvm.c, upgrade.c.
 * Trust: whoever may connect is the user; a request is parsed by jansson and looked up by name.
 *
 * A request and its answer are one record each, JSON: {"do":"list"} -> {"ins":[ENTRY, ...]}, {"do":"add"} -> {"ins":N},
 * {"do":"drain","ins":N} and {"do":"kill","ins":N} -> {"ins":N}, and {"do":"upgrade","ins":N} -> {"ins":N} when that is done; else {"error":"TEXT"}. An ENTRY is what NAME/ins/N.json
 * holds (entries.h). Who has asked {"do":"watch"} (answered as list) watches as long as it stays connected.
 */
#ifndef MW_BROKER_INSCTL_H
#define MW_BROKER_INSCTL_H

#include <poll.h>

#include "broker/inss.h"

#define INSCTL_POLLS 9

int insctl_init(const struct run_options *o);      /* listens. 0 or -errno */
size_t insctl_polls(struct pollfd *p);             /* at most INSCTL_POLLS */
void insctl_events(struct net **net, const struct pollfd *p, size_t n);

bool insctl_watched(void);
void insctl_upgraded(const struct one_ins *ins, const char *why); /* or, with why, not: answers who asked */

#endif
