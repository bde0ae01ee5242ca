// SPDX-License-Identifier: Apache-2.0
/*
 * metric_fuzz.c - libFuzzer target: any text as an Accept header and as an application's name. A label never ends its line.
 * Trust: none.
 */
#include <stdlib.h>
#include <string.h>

#include "telem/metric_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1), out[4096];
	struct metric_text t = { .app = text, .open = n & 1 };
	size_t used;

	memcpy(text, data, n);
	text[n] = 0;
	metric_text_wants_open(text);
	t.out = fmemopen(out, sizeof(out), "w");
	metric_text_value(&t, "x", METRIC_GAUGE, "", "", 1);
	used = (size_t)ftell(t.out);
	fclose(t.out);
	if (used && memchr(out, '\n', used) != out + used - 1)
		abort();
	free(text);
	return 0;
}
