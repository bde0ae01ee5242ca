/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror.h - the helper that publishes the application's INSs in etcd (mw-front registry). Used by supervise.c.
 * Trust: nothing is read from it.
 *
 * Without --etcd all of it does nothing.
 */
#ifndef MW_BROKER_MIRROR_H
#define MW_BROKER_MIRROR_H

#include "broker/broker.h"

/* Before net_open: INSs get addresses that other hosts can reach, and the person is told which. */
void mirror_reach(const struct run_options *o);

int mirror_start(const struct run_options *o, char *why, size_t why_bytes);

int mirror_adopt(const struct run_options *o, char *why, size_t why_bytes);
int mirror_up(void);              /* for poll, when it is adopted; -1: no need */
bool mirror_gone(const char *app);

/* As helper.h's. mirror_end withdraws what is published, if etcd answers soon. */
bool mirror_ended(pid_t pid, int status, const char *app);
int mirror_wait_ms(void);
void mirror_due(void);
void mirror_end(void);

#endif
