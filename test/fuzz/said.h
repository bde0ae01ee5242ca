/* SPDX-License-Identifier: Apache-2.0 */
/*
 * said.h - in the place of fprintf(): what a person would read has other bytes than text nowhere.
 */
#ifndef MW_TEST_FUZZ_SAID_H
#define MW_TEST_FUZZ_SAID_H

#include <stdio.h>

/* The line goes nowhere. Returns its length in bytes, as fprintf() does. */
int said(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
