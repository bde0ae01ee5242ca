/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hear.h - what an INS says to its broker: each record, to who carries it out. Used by supervise.c.
 * Trust: an INS may be compromised: a record's size and kind are checked here, the rest where it is carried out.
 */
#ifndef MW_BROKER_HEAR_H
#define MW_BROKER_HEAR_H

#include "broker/inss.h"

/* One record of that INS. netns: of the application. False: that was its end. */
bool hear(struct net *net, const struct run_options *o, ino_t netns, struct one_ins *ins);

#endif
