/* SPDX-License-Identifier: GPL-2.0 */
/*
 * listen.h - listeners. Used by kmod/.
 * Trust: as in listen.c.
 */
#ifndef MW_KMOD_LISTEN_H
#define MW_KMOD_LISTEN_H

#include <linux/types.h>

#include "kmod/compat.h"

struct mwk_end;
struct mwk_ins;
struct mwk_sock;
struct socket;

int mwk_listen(struct socket *sock, int backlog);
int mwk_listen_accept(struct socket *sock, struct socket *newsock, MWK_ACCEPT_ARGS);
bool mwk_listen_ready(struct mwk_sock *m);
void mwk_listen_close(struct mwk_sock *m);
void mwk_listen_stop(struct mwk_sock *m); /* shutdown(): it may listen again */
void mwk_listen_lost(struct mwk_sock *m, struct mwk_end *e); /* if it still listens: it goes on without this end */
void mwk_listen_replicate(struct mwk_ins *i); /* every listener there is */

#endif
