// SPDX-License-Identifier: Apache-2.0
/*
 * complaint.c - see complaint.h.
 * Trust: as in the header.
 */
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>

#include "lib/complaint.h"

void complaint_text(struct nft_ctx *ctx, char *out, size_t bytes)
{
	const char *text = nft_ctx_get_error_buffer(ctx), *error = text ? strstr(text, "Error: ") : NULL;

	if (error)
		text = error + 7;
	if (!text || !*text)
		text = "no reason given";
	snprintf(out, bytes, "%.*s", (int)strcspn(text, "\n"), text);
}
