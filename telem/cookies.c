// SPDX-License-Identifier: Apache-2.0
/*
 * cookies.c - a hash table, made anew for each look at all sockets.
 * Trust: an INS may repeat a cookie: the first one counts.
 */
#include <string.h>

#include "telem/sample.h"

#define TABLE_MAX (1u << 17)
MW_ASSERT(TABLE_MAX > MW_SLOTS_MAX + LINGERS, "there is always a free place");

static struct cookie table[TABLE_MAX];
static uint32_t mask, used;

static uint32_t place(uint64_t cookie)
{
	return (uint32_t)(cookie * 0x9e3779b97f4a7c15u >> 40) & mask;
}

void cookies_clear(uint32_t count)
{
	uint32_t n = 64;

	while (n < 2 * count && n < TABLE_MAX)
		n *= 2;
	mask = n - 1;
	used = 0;
	memset(table, 0, n * sizeof(*table));
}

void cookies_put(uint64_t cookie, uint64_t id, uint32_t index)
{
	uint32_t i = place(cookie);

	if (!cookie || used == mask)
		return;
	while (table[i].cookie && table[i].cookie != cookie)
		i = (i + 1) & mask;
	if (table[i].cookie)
		return;
	used++;
	table[i] = (struct cookie){ cookie, id, index, 0 };
}

const struct cookie *cookies_find(uint64_t cookie)
{
	uint32_t i = place(cookie);

	while (table[i].cookie && table[i].cookie != cookie)
		i = (i + 1) & mask;
	return table[i].cookie ? &table[i] : NULL;
}
