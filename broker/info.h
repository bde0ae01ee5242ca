/* SPDX-License-Identifier: Apache-2.0 */
/*
 * info.h - what runs here, for whoever connects to NAME/ctl (mw ps, flows, top, doctor). Used by supervise.c and pvm.c.
 * Trust: whoever may connect is the user; nothing is read.
 */
#ifndef MW_BROKER_INFO_H
#define MW_BROKER_INFO_H

#include <time.h>

#include "broker/inss.h"

struct info {
	const struct run_options *o;
	struct net *network;      /* of INSs' addresses; NULL: each knows its own, or has none */
	const char *net, *lane;
	pid_t front, app, names;  /* 0: there is none */
	pid_t (*process_of)(const struct one_ins *ins); /* that ends when the INS does; NULL: its own */
	ino_t netns;
	time_t started;
	char *const *command;
};

/* Who connects gets one record for each INS: the text, and for reading the arena, telemetry's memory, and what telemetry itself wrote. */
void info_show(int listener, const struct info *i);

#endif
