/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade.h - an INS goes on as another program: the mw-ins that is on the disk now. Used by hear.c, supervise.c and insctl.c.
 * Trust: as in broker.h; what the next program says comes on a connection of its own, which no worker has.
 *
 * ins/upgrade.c tells how. The broker starts the next program, gives the old one the way to it, and afterwards has
 * another process in the same struct one_ins. Only one of the two serves, and which, they settle between them.
 */
#ifndef MW_BROKER_UPGRADE_H
#define MW_BROKER_UPGRADE_H

#include "broker/inss.h"

/* Begins; by: a socket of who asks for it. 0 or -errno, with a line for the person in `why`; how it ends, insctl_upgraded() is told. */
int upgrade_begin(struct one_ins *ins, const struct run_options *o, int by, char *why, size_t why_bytes);

void upgrade_serves(struct one_ins *ins, const char *app); /* the INS says so */
void upgrade_stays(struct one_ins *ins, const char *app);  /* the old program says that it goes on by itself */
void upgrade_kill(const struct one_ins *ins);         /* the INS, whichever program it is now */

int upgrade_poll(const struct one_ins *ins);          /* its connection, or -1 */
void upgrade_record(struct one_ins *ins, const char *app);
int upgrade_wait_ms(const struct one_ins *ins);       /* until it is late; -1: never */
void upgrade_due(struct one_ins *ins);

/* A process has ended. True: it is dealt with; false: with it the INS has, by *status. */
bool upgrade_old_ended(struct one_ins *ins, int status);
bool upgrade_next_ended(struct one_ins *ins, int *status, const char *app);
struct one_ins *upgrade_of_pid(pid_t pid);

#endif
