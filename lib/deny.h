/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deny.h - a seccomp filter that refuses what a process never does. Used by names/ and telem/, behind privs_drop.
 * Trust: none needed.
 */
#ifndef MW_LIB_DENY_H
#define MW_LIB_DENY_H

#include <seccomp.h>
#include <stddef.h>

/*
 * These system calls are EPERM, and so are those that neither makes (deny.c): programs, processes, signals, namespaces, mounts, the
 * kernel's wide interfaces. Whatever else `more` adds is refused too, and all others are allowed. 0 or -errno.
 */
int deny_calls(const int *calls, size_t count, int (*more)(scmp_filter_ctx f));

#endif
