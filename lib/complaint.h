/* SPDX-License-Identifier: Apache-2.0 */
/*
 * complaint.h - why libnftables refused, in one line for a person. Used by broker/ and front/.
 * Trust: libnftables.
 */
#ifndef MW_LIB_COMPLAINT_H
#define MW_LIB_COMPLAINT_H

#include <stddef.h>

struct nft_ctx;

/* The first line of what it complains about, without its "Error: ". */
void complaint_text(struct nft_ctx *ctx, char *out, size_t bytes);

#endif
