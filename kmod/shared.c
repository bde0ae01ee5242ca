// SPDX-License-Identifier: GPL-2.0
/*
 * shared.c - what is shared with an INS from the start: the arena's fixed part, the door, telemetry's memory, and the directory that
 * lists their refs (doc/xen.md).
 * Trust: all of it is written here before the INS sees any of it, and believed no more from then on.
 */
#include <linux/slab.h>

#include "chan/msg.h"
#include "chan/tele.h"
#include "kmod/ins.h"
#include "kmod/main.h"
#include "kmod/pool.h"
#include "kmod/shared.h"

static u32 pages(u64 bytes)
{
	return (u32)DIV_ROUND_UP_ULL(bytes, PAGE_SIZE);
}

/* Where word n of the directory is; the last word of each page is the ref of the next page. */
static u32 *directory_word(struct mwk_ins *i, u32 n)
{
	u32 page = n / (MW_DIRECTORY_WORDS - 1);

	return (u32 *)(i->directory.at + (size_t)page * PAGE_SIZE) + n % (MW_DIRECTORY_WORDS - 1);
}

static void write_directory(struct mwk_ins *i)
{
	const struct mwk_mem *parts[] = { &i->arena, &i->door_mem, &i->tele };
	const u32 head[MW_DIRECTORY_HEAD] = { MW_DIRECTORY_MAGIC, MW_DIRECTORY_VERSION, i->view.slots, MWK_ROOM, MWK_ROOM, i->arena.pages, i->door_mem.pages,
				      i->tele.pages };
	u32 at = 0;

	for (u32 n = 0; n < MW_DIRECTORY_HEAD; n++)
		*directory_word(i, at++) = head[n];
	for (u32 p = 0; p < ARRAY_SIZE(parts); p++)
		for (u32 n = 0; n < parts[p]->pages; n++)
			*directory_word(i, at++) = parts[p]->ref[n];
	for (u32 n = 0; n + 1 < i->directory.pages; n++)
		((u32 *)(i->directory.at + (size_t)n * PAGE_SIZE))[MW_DIRECTORY_WORDS - 1] = i->directory.ref[n + 1];
}

/* The directory first: with the loop carrier it must be page 0. */
int mwk_shared_new(struct mwk_ins *i, u32 slots)
{
	u64 whole = arena_bytes(slots, MWK_ROOM, MWK_ROOM);
	u32 fixed = pages(MW_SLOT_OFFSET + (u64)slots * sizeof(struct mw_slot)), door = pages(MW_DOOR_BYTES), tele = pages(tele_bytes(slots));
	struct mw_tele_view t;
	int e;

	i->sizes = kvcalloc(slots, sizeof(*i->sizes), GFP_KERNEL);
	i->reply = kvmalloc(sizeof(struct mw_reply) + MW_VALUE_MAX, GFP_KERNEL);
	i->slot = kvcalloc(slots, sizeof(*i->slot), GFP_KERNEL);
	if (!i->sizes || !i->reply || !i->slot)
		return -ENOMEM;
	i->view.slots = slots;
	e = mwk_mem_new(i, &i->directory, DIV_ROUND_UP(MW_DIRECTORY_HEAD + fixed + door + tele, (u32)MW_DIRECTORY_WORDS - 1));
	e = e ?: mwk_mem_new(i, &i->arena, fixed);
	e = e ?: mwk_mem_new(i, &i->door_mem, door);
	e = e ?: mwk_mem_new(i, &i->tele, tele);
	e = e ?: arena_init(&i->view, i->arena.at, whole, slots, MWK_ROOM, MWK_ROOM);
	e = e ?: door_init(&i->door, i->door_mem.at, slots);
	e = e ?: tele_init(&t, i->tele.at, (u64)tele * PAGE_SIZE, slots);
	if (e)
		return e;
	i->view.sizes = i->sizes;
	door_requests(&i->door, &i->requests);
	door_replies(&i->door, &i->replies);
	write_directory(i);
	return 0;
}

void mwk_shared_free(struct mwk_ins *i)
{
	for (u32 s = 0; i->slot && s < i->view.slots; s++) {
		atomic64_sub(i->slot[s].rings.pages, &mwk_count.ring_pages);
		mwk_mem_free(i, &i->slot[s].rings);
	}
	mwk_mem_free(i, &i->tele);
	mwk_mem_free(i, &i->door_mem);
	mwk_mem_free(i, &i->arena);
	mwk_mem_free(i, &i->directory);
	kvfree(i->slot);
	kvfree(i->sizes);
	kvfree(i->reply);
}
