/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trim.h - memory of idle sockets' rings, given back. Used by ins/.
 * Trust: as in trim.c.
 */
#ifndef MW_INS_TRIM_H
#define MW_INS_TRIM_H

#include "ins/ins.h"

#define TRIM_LOCK 0x7fffffffu /* in mw_slot_app.tx_lock: ours; no thread has that id */

void trim(void); /* ten times a second, while ins.trim_due */

#endif
