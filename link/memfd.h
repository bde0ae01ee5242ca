/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memfd.h - the host setting's carrier: a sealed memory file, and the name under which the INS is reached.
 * Trust: the file is sealed against shrinking and growing, so a mapping never faults.
 */
#ifndef MW_LINK_MEMFD_H
#define MW_LINK_MEMFD_H

#include "chan/arena.h"

/* Abstract UNIX name in the application's network namespace. */
#define MW_CONNECT_NAME "\0mwcomms"

/* Makes, sizes, seals and maps an arena. Returns the descriptor, or -errno. */
int memfd_make(struct mw_view *v, uint32_t slots, uint32_t rx_bytes, uint32_t tx_bytes);

/* Maps another's arena for reading, all of it or only what precedes the rings. 0 or -errno. */
int memfd_map_readonly(struct mw_view *v, int fd);

#endif
