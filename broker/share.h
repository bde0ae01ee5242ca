/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.h - the application's TCP listeners, which every INS of it serves. Used by hear.c, publish.c, inss.c, supervise.c.
 * Trust: an INS may ask for any listener, as for any port: publish.c.
 *
 * Kept of each: the address, the backlog, the doorbell's INS end, a socket that is never used but has its options, and its
 * listeners of the host's loopback, which one INS has at a time.
 */
#ifndef MW_BROKER_SHARE_H
#define MW_BROKER_SHARE_H

#include "broker/inss.h"

/* BM_LISTEN of that INS: a socket that listens for each other. fds: its own, the doorbell's end. *id: its number, 0 when it
 * stays that INS's alone. 0, or -EADDRINUSE: the port is taken on another. */
int share_begin(struct net *net, uint32_t ins, const struct broker_msg *m, const int fds[2], uint32_t *id);
void share_hosts(uint32_t id, const int *fds, int count); /* keeps duplicates */
/* Whose it is, as publish.c knows it; false: there is none. */
bool share_was(uint32_t id, struct broker_msg *was, uint32_t *was_of);
/* The one that this INS began with that socket; 0: none. */
uint32_t share_of(uint32_t ins, uint32_t slot, uint32_t gen);
/* The application has ended it, as that INS says. */
void share_end(uint32_t id, uint32_t told_by);
/* BM_SET. */
void share_set(uint32_t told_by, const struct broker_msg *m, const uint8_t *value, uint32_t n);

void share_adopt(struct net *net);          /* those of a broker that died */
void share_give(struct one_ins *ins);       /* a new one: all that there are */
void share_hosts_move(struct one_ins *ins); /* it is drained or has ended: others take its listeners of the host's loopback */
/* Each port that listens, once. Returns how many were written. */
size_t share_ports(uint16_t *ports, size_t max);

#endif
