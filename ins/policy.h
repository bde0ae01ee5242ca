/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - options that are not simply the stack's business. Used by ins/.
 * Trust: as in policy.c.
 */
#ifndef MW_INS_POLICY_H
#define MW_INS_POLICY_H

#include "ins/ins.h"

enum policy { POLICY_PLAIN, POLICY_PROGRAM, POLICY_DESCRIPTOR, POLICY_ULP, POLICY_ZEROCOPY, POLICY_MAP, POLICY_STAMPS,
	      POLICY_ERRORS };
enum policy policy_option(int level, int name);
bool policy_ioctl(unsigned int request);
bool policy_control_ok(int level, int type);        /* control data that goes out with a datagram */

#endif
