/* SPDX-License-Identifier: GPL-2.0 */
/*
 * option.h - socket options and ioctls. Used by kmod/.
 * Trust: as in option.c.
 */
#ifndef MW_KMOD_OPTION_H
#define MW_KMOD_OPTION_H

#include <linux/sockptr.h>
#include <linux/types.h>

struct mwk_end;
struct mwk_sock;
struct sock;
struct socket;

int mwk_option_set(struct socket *sock, int level, int name, sockptr_t value, unsigned int bytes);
int mwk_option_get(struct socket *sock, int level, int name, char __user *value, int __user *bytes);
int mwk_option_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg);
void mwk_option_sync(struct mwk_sock *m, struct mwk_end *e); /* what the kernel's own setsockopt has changed */
bool mwk_option_due(const struct mwk_sock *m, const struct mwk_end *e);
void mwk_option_fresh(const struct mwk_sock *m, struct mwk_end *e); /* a new end: what the stack has anyway */
int mwk_option_replay(struct mwk_sock *m, struct mwk_end *e);
void mwk_option_forget(struct mwk_sock *m);
void mwk_option_keepalive(struct sock *sk, int on);
int mwk_option_lowat(struct sock *sk, int bytes);

#endif
