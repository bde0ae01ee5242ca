/* SPDX-License-Identifier: Apache-2.0 */
/*
 * values.h - what an INS domain says of itself in its keys. Pure. Used by xen/.
 * Trust: none. A domain writes what it likes: what does not make sense is 0, absent or false, and what does is within its limits.
 */
#ifndef MW_XEN_VALUES_H
#define MW_XEN_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct values_load {
	double cpu, connections, rate; /* as in registry/entry.h */
};

/* A number of that base, 10 or 16, in the whole text, in lower case. */
bool values_number(const char *text, int base, uint64_t most, uint64_t *out);

/* key `load`: "CPU:CONNECTIONS:RATE", hex; cpu in thousandths. */
bool values_load(const char *text, struct values_load *out);

/* key `listening_ports`: hex, with spaces between. */
bool values_listens(const char *text, uint16_t port);

/* key `ip_addrs`: the i-th word, at most room - 1 bytes of it. False: there are not so many. */
bool values_word(const char *text, size_t i, char *out, size_t room);

#endif
