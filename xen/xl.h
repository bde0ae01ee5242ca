/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xl.h - runs xl, one at a time, without waiting for it. Used by xen/broker.c.
 * Trust: the xl of $PATH; what it says is shown, made harmless.
 */
#ifndef MW_XEN_XL_H
#define MW_XEN_XL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { XL_WHY_BYTES = 256, XL_LIMIT_MS = 60000 };

struct xl {
	pid_t pid;		/* 0: none runs */
	int fd, said;		/* for poll: its end; what it says */
	char text[512];
	size_t bytes;		/* of text, the latest */
	int64_t late_ms;
};

/* words end with NULL; the first is "xl". 0 or -errno. */
int xl_start(struct xl *x, const char *const *words);

/* True when it has ended, or took too long and was: `why` is empty if it did what it should, else its last words. */
bool xl_turn(struct xl *x, char why[XL_WHY_BYTES]);

#endif
