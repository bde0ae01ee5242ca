/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h - whether an INS serves: a TCP connection to it, twice in each heartbeat. Used by frontend.c.
 * Trust: none in what answers; nothing is sent or read.
 */
#ifndef MW_FRONT_PROBE_H
#define MW_FRONT_PROBE_H

#include "front/member.h"

/* Starts the probe that is due, and ends the one that is late. */
void probe_due(struct member *m, int64_t now_ms, int64_t heartbeat_ms);

/* Its descriptor is writable. */
void probe_ready(struct member *m);

/* Gives up what is under way. */
void probe_stop(struct member *m);

#endif
