/* SPDX-License-Identifier: GPL-2.0 */
/*
 * conn.h - streams: connecting, shutting down, poll(). Used by kmod/sock.c.
 * Trust: as in conn.c.
 */
#ifndef MW_KMOD_CONN_H
#define MW_KMOD_CONN_H

#include <linux/types.h>

#include "kmod/compat.h"

struct file;
struct poll_table_struct;
struct socket;

int mwk_conn_connect(struct socket *sock, struct mwk_sockaddr *addr, int len, int flags);
int mwk_conn_shutdown(struct socket *sock, int how);
__poll_t mwk_conn_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait);

#endif
