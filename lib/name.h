/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name.h - what an application may be called: its name is a directory's, a table's of nftables, part of a key in etcd.
 * Used by broker/, registry/, front/ and xen/.
 * Trust: none in the text.
 */
#ifndef MW_LIB_NAME_H
#define MW_LIB_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"

/* Of these, not beginning with '.', and not longer than that. */
static inline bool name_ok(const char *name, size_t max)
{
	size_t n = strspn(name, NAME_CHARACTERS);

	return name[0] != '.' && n >= 1 && n <= max && !name[n];
}

#endif
