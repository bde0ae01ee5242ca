// SPDX-License-Identifier: Apache-2.0
/*
 * libc.c - see libc.h.
 * Trust: none. A name that libc does not have stays NULL and is never called: nobody could have linked to it.
 */
#include <dlfcn.h>
#include <stdbool.h>

#include "shim/libc.h"

static struct libc table;
static bool ready;

/* dlsym's result is an object pointer; this is POSIX's way round the warning. */
#define LIBC_LOOKUP(result, name, parameters) *(void **)(&table.name) = dlsym(RTLD_NEXT, #name);

BEFORE_SANITIZER const struct libc *libc(void)
{
	if (__builtin_expect(!__atomic_load_n(&ready, __ATOMIC_ACQUIRE), 0)) {
		LIBC_FUNCTIONS(LIBC_LOOKUP)
		__atomic_store_n(&ready, true, __ATOMIC_RELEASE);
	}
	return &table;
}
