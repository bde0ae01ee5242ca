/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transcript.h - runs this very program natively and under `mw run`, and compares what it printed.
 * Trust: a test's own processes.
 */
#ifndef MW_SAME_TRANSCRIPT_H
#define MW_SAME_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Runs `SELF --script [only]` twice, each time with a new peer on descriptor 0. Prints TAP: one point a line of
 * the transcript. 0 when they agree but for the differences that transcript.c lists.
 */
int transcript_compare(const char *mw, const char *only);

/* main() of a program whose script is a function: PROGRAM MW [ONLY]. */
int transcript_main(int argc, char **argv, void (*script)(const char *only));

/* Runs one script in a process of its own, at most `seconds`, so that one which hangs is one bad line. False: it ended badly. */
bool transcript_alone(size_t number, void (*script)(void), unsigned int seconds);

#endif
