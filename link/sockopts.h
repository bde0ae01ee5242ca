/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sockopts.h - which options a second socket must have that is to be like a first. Used by ins/, broker/ and shim/.
 * Trust: none needed.
 */
#ifndef MW_LINK_SOCKOPTS_H
#define MW_LINK_SOCKOPTS_H

#include <stdint.h>

/* Level, name; each table ends with level -1. */
extern const int sockopts_kept[][2];      /* what an application may have set before it connects or listens */
extern const int sockopts_inherited[][2]; /* what accept() takes over from the listener */

/* Linux tells of SO_SNDBUF and SO_RCVBUF twice what was set. Makes a value that was read one to set; returns n. */
uint32_t sockopts_settable(int level, int name, void *value, uint32_t n);

#endif
