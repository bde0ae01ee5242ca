/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h - the frontend's table in the kernel, `inet mwf-NAME`: found, replaced, removed. Used by apply.c.
 * Trust: the texts are rules.c's; believes the kernel and libnftables.
 *
 * The table belongs to nobody's socket: when the frontend is killed it stays, and the next frontend of that name takes it over.
 */
#ifndef MW_FRONT_TABLE_H
#define MW_FRONT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "registry/entry.h"

enum { TABLE_WHY_BYTES = 256 };

struct nft_ctx;

struct table {
	struct nft_ctx *ctx;
	char name[ENTRY_NAME_MAX + 1];
};

/* 0 or -ENOMEM. */
int table_open(struct table *t, const char *name);

/* The kernel's table as text, the caller's to free; NULL when there is none. */
char *table_text(struct table *t);
bool table_is_there(struct table *t);

/* One transaction. `whole`: in place of what is there. 0, or -EIO with a line in `why`: the kernel keeps what it had. */
int table_apply(struct table *t, const char *text, bool whole, char why[TABLE_WHY_BYTES]);
int table_remove(struct table *t, char why[TABLE_WHY_BYTES]);

void table_close(struct table *t);

#endif
