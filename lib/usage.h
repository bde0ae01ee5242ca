/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage.h - what is wrong with a command line, in one line. Used by ctl/, front/ and xen/.
 * Trust: the user; what is shown of an argument is cut and made harmless to a terminal.
 */
#ifndef MW_LIB_USAGE_H
#define MW_LIB_USAGE_H

#include <getopt.h>

#define USAGE_STATUS 2

/* "mw COMMAND: ...; see `mw COMMAND --help`"; COMMAND may be "". Returns USAGE_STATUS. */
int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* getopt_long, whose own complaints become one of ours: then '?'. `shorts` has a ':' in front, behind '+' or '-'. */
int usage_option(const char *command, int argc, char **argv, const char *shorts, const struct option *longs);

#endif
