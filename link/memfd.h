/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memfd.h - the host setting's carrier: a sealed memory file, and the name under which the INS is reached.
 * Trust: the file is sealed against shrinking and growing, so a mapping never faults.
 */
#ifndef MW_LINK_MEMFD_H
#define MW_LINK_MEMFD_H

#include "chan/arena.h"
#include "chan/tele.h"

/* Abstract UNIX name in the application's network namespace. */
#define MW_CONNECT_NAME "\0mwcomms"

/* Makes, sizes, seals and maps a memory file. Returns the descriptor, or -errno. */
int memfd_make_plain(const char *name, uint64_t bytes, void **base);
/* The same, of an arena; of telemetry memory. */
int memfd_make(struct mw_view *v, uint32_t slots, uint32_t rx_bytes, uint32_t tx_bytes);

int memfd_make_tele(struct mw_tele_view *v, uint32_t slots);

/* Maps another's arena, or telemetry memory; for reading, or writing too. 0 or -errno. */
int memfd_map(struct mw_view *v, int fd, bool writable);
int memfd_map_tele(struct mw_tele_view *v, int fd, bool writable);

#endif
