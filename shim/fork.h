/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork.h - which process and thread we are. Used inside shim/ only.
 * Trust: as in fork.c.
 */
#ifndef MW_SHIM_FORK_H
#define MW_SHIM_FORK_H

#include <stdbool.h>

bool in_own_process(void);                 /* false in a vfork child, which must not touch our tables */
int own_pid(void);
int own_tid(void);

#endif
