/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - one meeting of this INS with another machine: what is before, beside and behind the sandboxed INS itself.
 * Trust: what the other machine says is checked by memory.c; here only its errors are told.
 */
#ifndef MW_INS_XEN_SESSION_H
#define MW_INS_XEN_SESSION_H

#include "ins/xen/front.h"

struct session {
	const struct carrier *carrier;
	struct shape shape;
	uint32_t number;  /* this INS's among the other machine's */
};

/*
 * `mw-ins door file=PATH` or `file=FD,FD` or `mw-ins xen`, each with any number of `gate=RULE` as in `mw run --gate`: meets the other machine, has `serve` called in a process below,
 * and does what only one without a sandbox can. The exit status.
 */
int session(int argc, char **argv, int (*serve)(const struct session *s));

#endif
