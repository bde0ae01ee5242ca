// SPDX-License-Identifier: Apache-2.0
/*
 * table.c - see table.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/table.h"
#include "lib/complaint.h"

int table_open(struct table *t, const char *name)
{
	snprintf(t->name, sizeof(t->name), "%s", name);
	t->ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!t->ctx)
		return -ENOMEM;
	nft_ctx_buffer_error(t->ctx);
	nft_ctx_buffer_output(t->ctx);
	return 0;
}

static bool run(struct table *t, const char *text)
{
	return nft_run_cmd_from_buffer(t->ctx, text) == 0;
}

char *table_text(struct table *t)
{
	char list[64 + ENTRY_NAME_MAX];
	const char *text;

	snprintf(list, sizeof(list), "list table inet mwf-%s\n", t->name);
	if (!run(t, list))
		return NULL;
	text = nft_ctx_get_output_buffer(t->ctx);
	return text ? strdup(text) : NULL;
}

bool table_is_there(struct table *t)
{
	char list[64 + ENTRY_NAME_MAX];

	snprintf(list, sizeof(list), "list chain inet mwf-%s prerouting\n", t->name);
	return run(t, list);
}

int table_apply(struct table *t, const char *text, bool whole, char why[TABLE_WHY_BYTES])
{
	char complaint[128], *all;
	int r = 0;

	if (asprintf(&all, whole ? "table inet mwf-%s\ndelete table inet mwf-%s\n%s" : "%.0s%.0s%s", t->name, t->name, text) < 0) {
		snprintf(why, TABLE_WHY_BYTES, "no memory for the nftables rules of %s", t->name);
		return -ENOMEM;
	}
	if (!run(t, all)) {
		complaint_text(t->ctx, complaint, sizeof(complaint));
		snprintf(why, TABLE_WHY_BYTES, "nftables refuses table inet mwf-%s: %s; what was there stays, and it is tried again", t->name,
			 complaint);
		r = -EIO;
	}
	free(all);
	return r;
}

int table_remove(struct table *t, char why[TABLE_WHY_BYTES])
{
	return table_apply(t, "", true, why);
}

void table_close(struct table *t)
{
	if (t->ctx)
		nft_ctx_free(t->ctx);
	t->ctx = NULL;
}
