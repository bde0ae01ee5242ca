/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner.h - what is asked of the broker: about processes that own sockets, and other INSs' telemetry. Used inside telem/.
 * Trust: the broker's answers.
 */
#ifndef MW_TELEM_OWNER_H
#define MW_TELEM_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "link/owner.h"

typedef void owner_done(void *arg, int32_t status);

/* kind: OWNER_ of link/owner.h. fn is called exactly once, maybe at once. */
void owner_asks(uint32_t kind, uint32_t pid, owner_done *fn, void *arg);

/* The broker has sent something. False: it is gone. */
bool owner_answers(void);

#endif
