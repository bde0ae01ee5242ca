/* SPDX-License-Identifier: GPL-2.0 */
/*
 * stream.h - bytes of connections; datagrams and listeners have their rings' room and edges of it too. Used by kmod/.
 * Trust: as in stream.c.
 */
#ifndef MW_KMOD_STREAM_H
#define MW_KMOD_STREAM_H

#include <linux/types.h>

struct msghdr;
struct mwk_end;
struct mwk_sock;
struct sock;
struct socket;

int mwk_stream_send(struct socket *sock, struct msghdr *msg, size_t len);
int mwk_stream_recv(struct socket *sock, struct msghdr *msg, size_t len, int flags);
bool mwk_stream_readable(struct mwk_sock *m, struct mwk_end *e, u32 target);
bool mwk_stream_writable(struct mwk_end *e);
void mwk_stream_want_room(struct mwk_end *e);
int mwk_stream_unread(struct sock *sk);
void mwk_stream_space(struct mwk_end *e); /* rx_cons has moved */

#endif
