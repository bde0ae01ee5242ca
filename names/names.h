/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h - shared inside names/ only.
 * Trust: an ask was checked by names_ask_get: lengths and strings, not the meaning of its numbers.
 */
#ifndef MW_NAMES_NAMES_H
#define MW_NAMES_NAMES_H

#include <sys/types.h>

#include "link/names.h"

/* lookup.c: calls libc and writes the reply. 0, or -errno when there can be none. */
int lookup(const struct names_ask *ask, struct names_out *out);

/* interfaces.c: the same, for NAMES_IF_ADDRESSES and all above. *give: a descriptor that goes with the reply, the caller's to close. */
int interfaces(const struct names_ask *ask, struct names_out *out, int *give);

/* relay.c */
/* Called in the host's network namespace, with privileges, before there are threads: enters the INS's, and starts the relay if
 * there is a resolver on the host's loopback. *pidfd is the relay's, or -1 when none is needed. 0 or -errno. */
int relay_start(int ins_netns, int *pidfd);

/* sandbox.c: no privileges, and no system calls that a lookup does not need. 0 or -errno. */
int sandbox_enter(void);

#endif
