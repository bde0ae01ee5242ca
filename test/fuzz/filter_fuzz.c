// SPDX-License-Identifier: Apache-2.0
/*
 * filter_fuzz.c - libFuzzer target: any text as a filter. What is taken matches or does not, without a step out of bounds.
 * Trust: none.
 */
#include <stdlib.h>
#include <string.h>

#include "telem/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct flow flow;
	char why[FILTER_WHY_BYTES], *text = malloc(n + 1);
	struct filter *f;

	memcpy(text, data, n);
	text[n] = 0;
	f = filter_parse(text, why);
	if (f) {
		memset(&flow, (int)n, sizeof(flow));
		flow.app[sizeof(flow.app) - 1] = 0; /* flow_read's own, and diag_parse's */
		flow.s.cong[sizeof(flow.s.cong) - 1] = 0;
		filter_match(f, &flow, 1);
		filter_free(f);
	} else if (!why[0]) {
		abort();
	}
	free(text);
	return 0;
}
