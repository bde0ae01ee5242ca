/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner.h - questions of telemetry's about processes of the application: link/owner.h. Used by supervise.c.
 * Trust: none in the record.
 */
#ifndef MW_BROKER_OWNER_H
#define MW_BROKER_OWNER_H

#include <stdbool.h>
#include <sys/types.h>

#include "broker/helper.h"

/* Takes one record and answers it. netns: of the application. False when the other end is gone or makes no sense. */
bool owner_handle(int fd, ino_t netns);
/* The listening socket of --netflow by TCP, for a telemetry that runs. */
void owner_give_netflow(const struct helper *to, int fd);

#endif
