/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.h - the keys of doc/xen.md: whose each is, and who may read it. Used by xen/ and its test.
 * Trust: none needed; constants.
 */
#ifndef MW_XEN_KEYS_H
#define MW_XEN_KEYS_H

#include <stddef.h>

#define KEYS_ROOT "/mw"
#define KEYS_PVM  "/mw/pvm"

enum side { SIDE_PVM, SIDE_INS, SIDE_DOM0 };

/* Below /mw/D/. The owner writes, the other side (of dom0's: both) reads, and dom0 may do all. */
struct key {
	const char *name;
	enum side owner;
};

extern const struct key keys_ins[];
extern const size_t keys_ins_count;

#endif
