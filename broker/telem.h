/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telem.h - what telemetry and the INS share, and the telemetry process (mw-telem) itself. Used by supervise.c and spawn.c.
 * Trust: nothing is read from it but that it is ready.
 */
#ifndef MW_BROKER_TELEM_H
#define MW_BROKER_TELEM_H

#include "broker/broker.h"
#include "broker/helper.h"

/* One for each INS. */
struct telem {
	struct helper helper;
	int verbs[2];            /* the INS's end, telemetry's */
	int wake, reader, state, audit;
	char name[REGISTRY_NAME_MAX + 1], fast[32], slow[32], ins[32];
};
struct one_ins;

/* Nothing: telem_forget knows what to do from then on. */
void telem_init(struct telem *t);
/* Before the INS: makes what both will have. 0 or -errno. */
int telem_prepare(struct telem *t);
/* What was ordered on another INS shall hold for a new one: telem/policy.c. */
void telem_inherit(struct telem *t, const struct telem *from);
/* In the INS's process: the descriptors that become INS_VERBS_FD, INS_WAKE_FD and INS_READER_FD. */
void telem_ins_fds(const struct telem *t, int fds[3]);
/* Starts it and waits until it serves. 0 or -errno, with a line for the person in `why`. */
int telem_start(struct one_ins *ins, const struct run_options *o, char *why, size_t why_bytes);
/* The first of those that there are: the MAGICWAND stream by TCP is its. */
void telem_lead(struct telem *t);
/* Of a broker that died: the ports that an application has once. */
void telem_ports_adopt(void);
/* One of a broker that died; verbs: the INS's end. False: nothing of it was left. */
bool telem_adopt(struct telem *t, uint32_t ins, int verbs);
/* It has been ended: its sockets go. */
void telem_forget(struct telem *t, const char *app, uint32_t ins);
/* For reading, the caller's to close: the arena, telemetry's memory, and what telemetry itself wrote. */
void telem_views(const struct one_ins *ins, int fds[3]);

#endif
