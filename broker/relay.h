/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay.h - takes telemetry's verbs to an INS that is another machine, and its answers back. Used by pvm.c.
 * Trust: a record is passed on as it is, within its size; the INS checks it, and telemetry the answer.
 */
#ifndef MW_BROKER_RELAY_H
#define MW_BROKER_RELAY_H

#include <sys/types.h>

/* A process that lives as long as we and the INS do. sock: as INS_VERBS_FD; device: bound, for writing. Its id, or -errno. */
pid_t relay_start(int sock, int device);

#endif
