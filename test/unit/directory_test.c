// SPDX-License-Identifier: Apache-2.0
/*
 * directory_test.c - the directory of a door, read as doc/xen.md has it: of one page or several, also when the last one is full.
 * Trust: none needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "ins/slots.h"
#include "ins/state.h"
#include "ins/xen/front.h"

#define PAGES 32u
#define ROOM  131072u
#define REF(n) (1000000u + (n)) /* of what is shared; a page of the directory has its number */

struct ins ins;
static uint32_t page[PAGES][MW_DIRECTORY_WORDS];

/* What memory.c needs besides. */
void *state_block(const char *name, size_t bytes)
{
	(void)name;
	return calloc(1, bytes);
}

void slots_spare(uint32_t slot)
{
	(void)slot;
}

void slots_unspare(uint32_t slot)
{
	(void)slot;
}

void mirror_start(void)
{
}

static int map(void *at, const uint32_t *refs, uint32_t pages)
{
	assert_int_equal(pages, 1);
	if (*refs >= PAGES || mprotect(at, MW_PAGE, PROT_READ | PROT_WRITE) < 0)
		return -EINVAL;
	memcpy(at, page[*refs], MW_PAGE);
	return 0;
}

static void unmap(void *at, const uint32_t *refs, uint32_t pages)
{
	(void)at;
	(void)refs;
	(void)pages;
}

static const struct carrier carrier = { .name = "test", .map = map, .unmap = unmap };

static uint32_t in_pages(uint64_t bytes)
{
	return (uint32_t)((bytes + MW_PAGE - 1) / MW_PAGE);
}

/* How many words, without those that name the next page. */
static uint32_t write_directory(uint32_t slots)
{
	uint32_t fixed = in_pages(MW_SLOT_OFFSET + (uint64_t)slots * sizeof(struct mw_slot)), door = in_pages(MW_DOOR_BYTES);
	uint32_t tele = in_pages(tele_bytes(slots)), words = MW_DIRECTORY_HEAD + fixed + door + tele;
	const uint32_t head[MW_DIRECTORY_HEAD] = { MW_DIRECTORY_MAGIC, MW_DIRECTORY_VERSION, slots, ROOM, ROOM, fixed, door, tele };

	memset(page, 0, sizeof(page));
	for (uint32_t n = 0; n < words; n++) {
		uint32_t p = n / (MW_DIRECTORY_WORDS - 1), at = n % (MW_DIRECTORY_WORDS - 1);

		page[p][at] = n < MW_DIRECTORY_HEAD ? head[n] : REF(n - MW_DIRECTORY_HEAD);
		if (p && !at)
			page[p - 1][MW_DIRECTORY_WORDS - 1] = p;
	}
	return words;
}

static void each_ref_is_found(void **state)
{
	bool full = false;

	(void)state;
	for (uint32_t slots = 64; slots <= MW_SLOTS_MAX; slots += 64) {
		uint32_t words = write_directory(slots);
		struct shape s;

		full |= words % (MW_DIRECTORY_WORDS - 1) == 1; /* one word more than fits */
		assert_int_equal(memory_directory(&carrier, 0, &s), 0);
		assert_int_equal(s.slots, slots);
		for (uint32_t n = 0; n < words - MW_DIRECTORY_HEAD; n++)
			assert_int_equal(s.refs[n], REF(n));
		free(s.refs);
	}
	assert_true(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_ref_is_found) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
