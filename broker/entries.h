/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entries.h - the INSs as others see them: NAME/ins/N.json, of the form that registry/entry.h tells. Used by supervise.c, pvm.c, insctl.c.
 * Trust: nothing is read.
 *
 * They are written at every change; and once a second while there are several INSs, or while somebody watches: a stack that nobody
 * looks at never wakes its broker.
 */
#ifndef MW_BROKER_ENTRIES_H
#define MW_BROKER_ENTRIES_H

#include <jansson.h>

#include "broker/inss.h"

int entries_init(const struct run_options *o);     /* makes their directory. 0 or -errno */
void entries_write(struct net *net);               /* now; what is wrong then is somebody else's to say */
void entries_write_due(struct net *net, bool watched); /* if they are due; what is wrong is said, once */
void entries_changed(void);                        /* they are due within a second */
void entries_due(void);                            /* they are due */
int entries_wait_ms(bool watched);                 /* until they are due; -1: never */
void entries_forget(uint32_t number);              /* its entry goes */
json_t *entries_one(struct net *net, struct one_ins *ins); /* what is written of it: a new reference */

#endif
