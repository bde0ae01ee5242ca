/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.h - the system calls of an INS's processes, as seccomp programs. Used by ins/sandbox.c.
 * Trust: none needed.
 */
#ifndef MW_INS_CALLS_H
#define MW_INS_CALLS_H

#include <seccomp.h>
#include <stdbool.h>

enum calls_of {
	CALLS_WORKER = 1,
	CALLS_KEEPER = 2,
	CALLS_STARTER = 4, /* all: what it starts inherits its filter */
};

/* Any other kills the process. door: another machine's pages come and go. NULL: no memory. */
scmp_filter_ctx calls_filter(enum calls_of whose, bool door);

#endif
