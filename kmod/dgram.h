/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dgram.h - datagrams. Used by kmod/.
 * Trust: as in dgram.c.
 */
#ifndef MW_KMOD_DGRAM_H
#define MW_KMOD_DGRAM_H

#include <linux/types.h>

#include "kmod/compat.h"

struct file;
struct msghdr;
struct mwk_end;
struct mwk_sock;
struct poll_table_struct;
struct sock;
struct socket;

int mwk_dgram_send(struct socket *sock, struct msghdr *msg, size_t len);
int mwk_dgram_recv(struct socket *sock, struct msghdr *msg, size_t len, int flags);
__poll_t mwk_dgram_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait);
int mwk_dgram_connect(struct socket *sock, struct mwk_sockaddr *addr, int len, int flags);
int mwk_dgram_unread(struct sock *sk);
int mwk_dgram_shutdown(struct socket *sock, int how);
void mwk_dgram_news(struct mwk_sock *m, struct mwk_end *e);

#endif
