// SPDX-License-Identifier: Apache-2.0
/*
 * mwnf_fuzz.c - libFuzzer target: any bytes as requests. The stream is cut at every place with the same result.
 * Trust: none.
 */
#include <stdlib.h>
#include <string.h>

#include "telem/mwnf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct mwnf_request q, again;
	int r = mwnf_request(&q, data, n), part;

	for (size_t cut = 0; cut < n && cut < MWNF_REQUEST_BYTES; cut++) {
		part = mwnf_request(&again, data, cut);
		if (part > 0 || (part < 0 && r >= 0))
			abort();
	}
	if (r > 0 && (mwnf_request(&again, data, (size_t)r) != r || memcmp(&q, &again, sizeof(q))))
		abort();
	return 0;
}
