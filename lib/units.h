/* SPDX-License-Identifier: Apache-2.0 */
/*
 * units.h - times, sizes and ports as people write them. Used by ctl/ and link/gate.c.
 * Trust: text is anybody's.
 */
#ifndef MW_LIB_UNITS_H
#define MW_LIB_UNITS_H

#include <stdbool.h>
#include <stdint.h>

double units_span(const char *text); /* seconds, of 500ms, 10s, 2m, 1h, 3d, 7; -1: it is none */
double units_size(const char *text); /* a number up to 1e15, of 4096, 16k, 2M, 1G (powers of 1024); -1: it is none */
bool units_port(const char *text, uint16_t *port); /* 1 to 65535; false, and nothing written: it is none */

#endif
