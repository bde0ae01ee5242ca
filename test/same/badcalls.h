/* SPDX-License-Identifier: Apache-2.0 */
/*
 * badcalls.h - the calls of badargs.c, each with its text.
 * Trust: a test's own processes.
 */
#ifndef MW_SAME_BADCALLS_H
#define MW_SAME_BADCALLS_H

extern const char *const badcalls[];
extern const int badcalls_count;

long badcalls_do(int n, int fd);
void badcalls_init(void); /* maps the bad memory */

#endif
