/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nft.h - one application's table in the kernel, `inet mw-NAME`: made, replaced, gone with its socket. Used by net.c.
 * Trust: the caller passes a checked name; plan.c checks what becomes text. Believes the kernel and libnftables.
 *
 * The table has the flag `owner`: nobody else can change it, and the kernel removes it with the netlink socket held here, also
 * when the broker is killed. The socket is close-on-exec; a child that is forked and does not exec must close it.
 */
#ifndef MW_BROKER_NFT_H
#define MW_BROKER_NFT_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/plan.h"

struct nft_ctx;

struct nft {
	struct nft_ctx *ctx;	/* owns the table; NULL: not open */
	bool has_table;
	int fd;			/* its socket's, whose end is the table's */
};

/* nft_open and nft_apply, when they fail, return -errno and leave one line for a person in `why`.
 * Opens the socket; makes no table yet. -EEXIST an application of this name has one. */
int nft_open(struct nft *out, const char *name, char *why, size_t why_bytes);

/* Takes over the socket of a broker that died, and so its table. Takes fd. */
int nft_adopt(struct nft *out, int fd, char *why, size_t why_bytes);

/* Makes the kernel's table what the plan says, in one transaction; plan->first is not looked at. On failure the kernel keeps
 * what it had. -EIO nftables refused it. */
int nft_apply(struct nft *nft, const struct plan *plan, char *why, size_t why_bytes);

/* The table goes too. All zero is allowed. */
void nft_close(struct nft *nft, const char *name);

#endif
