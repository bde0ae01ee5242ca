/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xenstore.h - XenStore, as far as an INS and a protected machine need it: one connection, spoken to directly (xen/io/xs_wire.h).
 * Used by ins/xen/ and broker/.
 * Trust: xenstored is believed; values are other domains' and the caller's to check.
 *
 * libxenstore is not used: it is only where Xen is, and needs a thread for watches.
 */
#ifndef MW_LINK_XENSTORE_H
#define MW_LINK_XENSTORE_H

#include <stdbool.h>
#include <stddef.h>

#define STORE_VALUE_MAX 1024

/* $XENSTORED_PATH (a socket), or /dev/xen/xenbus. 0 or -errno; all others too. */
int store_open(void);
int store_fd(void);                                   /* readable: store_changed() */
int store_read(const char *path, char value[STORE_VALUE_MAX]); /* with NUL; "" when it is not there */
int store_write(const char *path, const char *value);
int store_watch(const char *path);
bool store_changed(void);                             /* what is watched may have, since the last look. Does not wait */
int store_domain_lives(unsigned int domain);          /* 1, 0 or -errno */

#endif
