/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane.h - programs that the shim cannot serve are executed through mw-trap. Used inside shim/ only.
 * Trust: as in lane.c.
 */
#ifndef MW_SHIM_LANE_H
#define MW_SHIM_LANE_H

#include <stdbool.h>
#include <stddef.h>

const char *lane_trap(const char *file, bool search, char path[]); /* PATH_MAX; what to execute instead, or NULL */
size_t lane_count(char *const argv[]);
char *const *lane_argv(char **to, char *path, char *const argv[]); /* to: lane_count(argv) + 4 */

#endif
