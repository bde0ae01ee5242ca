/* SPDX-License-Identifier: Apache-2.0 */
/*
 * std.h - standard input, output and error of what a user starts. Used by ctl/, front/, xen/ and lib/about.c.
 * Trust: whoever started us may have closed any of them.
 */
#ifndef MW_LIB_STD_H
#define MW_LIB_STD_H

/*
 * Those that are closed are taken, so that nothing that we open gets their numbers and then what is meant for a person. To use
 * them fails as before (EBADF), and what we execute has them closed.
 */
void std_hold(void);

/* What could not be written was not said: `status`, or 1 when it is 0 and standard output failed, which `program` then says. */
int std_flushed(const char *program, int status);

#endif
