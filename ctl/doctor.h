/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.h - findings: how they are collected and printed. Used by doctor.c and host.c.
 * Trust: none needed.
 */
#ifndef MW_CTL_DOCTOR_H
#define MW_CTL_DOCTOR_H

#include <stdbool.h>

struct report {
	int problems;
};

void report_head(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void report_ok(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void report_note(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What is wrong, and on a line of its own what to do. */
void report_problem(struct report *r, const char *advice, const char *format, ...) __attribute__((format(printf, 3, 4)));

void host_check(struct report *r);

#endif
