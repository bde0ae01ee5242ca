// SPDX-License-Identifier: Apache-2.0
/*
 * state.c - see state.h: one shared mapping, which every worker inherits at the same address.
 * Trust: as in the header.
 */
#include <errno.h>
#include <sys/mman.h>

#include "chan/wire.h"
#include "ins/state.h"

#define SLOT_BYTES  8192u /* more than all blocks have for one slot */
#define FIXED_BYTES (64ull << 20)

static uint8_t *next, *end;

int state_init(uint32_t slots)
{
	size_t bytes = FIXED_BYTES + (size_t)slots * SLOT_BYTES;
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return -errno;
	next = base;
	end = next + bytes;
	return 0;
}

void *state_block(size_t bytes)
{
	size_t whole = (bytes + MW_PAGE - 1) & ~(size_t)(MW_PAGE - 1);
	uint8_t *block = next;

	if (whole > (size_t)(end - next))
		return NULL;
	next += whole;
	return block;
}
