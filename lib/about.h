/* SPDX-License-Identifier: Apache-2.0 */
/*
 * about.h - --help and --version of the programs that mw starts. Included by their main.c.
 * Trust: the command line is its caller's.
 */
#ifndef MW_LIB_ABOUT_H
#define MW_LIB_ABOUT_H

enum { ABOUT_NOT_ASKED = -1 };

/* Where -h, --help or --version is the only argument it is answered on standard output: 0, or 1 when that cannot be written. */
int about(const char *program, const char *help, int argc, char **argv);

#endif
