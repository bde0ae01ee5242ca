/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insctl.h - the INSs as others see them: entries in the registry, and requests on the socket NAME/ins-ctl. Used by supervise.c.
 * Trust: whoever may connect is the user; a request is parsed by jansson and looked up by name.
 *
 * A request and its answer are one record each, JSON: {"do":"list"} -> {"ins":[ENTRY, ...]}, {"do":"add"} -> {"ins":N},
 * {"do":"drain","ins":N} and {"do":"kill","ins":N} -> {"ins":N}, and {"do":"upgrade","ins":N} -> {"ins":N} when that is done; else {"error":"TEXT"}. An entry is what NAME/ins/N.json holds.
 * Entries are written at every change; and once a second while there are several INSs, or while a client that has asked
 * {"do":"watch"} (answered as list) stays connected: a stack that nobody looks at never wakes its broker.
 */
#ifndef MW_BROKER_INSCTL_H
#define MW_BROKER_INSCTL_H

#include <jansson.h>
#include <poll.h>

#include "broker/inss.h"

#define INSCTL_POLLS 9

int insctl_init(const struct run_options *o);      /* listens. 0 or -errno */
size_t insctl_polls(struct pollfd *p);             /* at most INSCTL_POLLS */
void insctl_events(struct net **net, const struct pollfd *p, size_t n);

void insctl_write(struct net *net, bool now);      /* entries, if they are due or now */
void insctl_upgraded(const struct one_ins *ins, const char *why); /* or, with why, not: answers who asked */
void insctl_changed(void);                         /* they are due within a second */
int insctl_wait_ms(void);                          /* until they are due; -1: never */
void insctl_forget(uint32_t number);               /* its entry goes */

#endif
