// SPDX-License-Identifier: Apache-2.0
/*
 * values_fuzz.c - libFuzzer target: any text in any key that an INS domain writes, and as an address that it says to have.
 * Trust: none.
 */
#include <stdlib.h>
#include <string.h>

#include "xen/pool.h"
#include "xen/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1), word[POOL_TEXT_BYTES], out[POOL_TEXT_BYTES];
	struct values_load load;
	struct pool pool;
	uint64_t number;

	memcpy(text, data, n);
	text[n] = 0;
	if (values_load(text, &load) && !(load.cpu >= 0 && load.cpu <= 1 && load.connections <= 1e9 && load.rate <= 1e9))
		abort();
	if (values_number(text, 10, 1000, &number) && number > 1000)
		abort();
	values_listens(text, n ? data[0] : 0);
	pool_parse(&pool, "10.2.0.11-10.2.0.14/24");
	for (size_t i = 0; values_word(text, i, word, sizeof(word)); i++)
		if (pool_has(&pool, word, out) && strncmp(out, "10.2.0.1", 8))
			abort();
	if (pool_parse(&pool, text) && (pool.first > pool.last || pool.last - pool.first >= 65536))
		abort();
	free(text);
	return 0;
}
