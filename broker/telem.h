/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telem.h - what telemetry and the INS share, and the telemetry process (mw-telem) itself. Used by supervise.c and spawn.c.
 * Trust: nothing is read from it but that it is ready.
 */
#ifndef MW_BROKER_TELEM_H
#define MW_BROKER_TELEM_H

#include "broker/broker.h"
#include "broker/helper.h"

extern struct helper telem;

/* Before the INS: makes what both will have. 0 or -errno. */
int telem_prepare(void);
/* In the INS's process: the descriptors that become INS_VERBS_FD, INS_WAKE_FD and INS_READER_FD. */
void telem_ins_fds(int fds[3]);
/* Starts it and waits until it serves; netns: the INS's, or -1: ours. 0 or -errno, with a line for the person in `why`. */
int telem_start(const struct run_options *o, pid_t ins, int netns, int arena, int tele, char *why, size_t why_bytes);
/* Opens for reading: the arena, the INS's telemetry memory, and what telemetry itself wrote. */
void telem_files(int fds[3], int arena, int tele);

#endif
