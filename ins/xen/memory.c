// SPDX-License-Identifier: Apache-2.0
/*
 * memory.c - see front.h: the directory, the fixed parts, and the rings slot by slot.
 * Trust: sizes are taken from the directory once, bounded, and compared with what arena and door say of themselves. Refs are
 * given to the carrier, and nothing else is done with them.
 *
 * The keeper reserves address space; each worker maps there what the state says, since mappings of another machine's pages do
 * not outlive a process. A slot has rings when its rx_bytes is not 0, which is stored last, and taken back first.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "ins/slots.h"
#include "ins/state.h"
#include "ins/xen/front.h"

#define DIRECTORY_PAGES 256u /* at most */
#define TRIES  50
#define TRY_MS 20

struct mw_door_view memory_door;
uint8_t *memory_tele;

static const struct carrier *carrier;
static struct shape shape;
static struct mw_ring_sizes *sizes; /* by slot */
static uint32_t *ring_refs;         /* by slot: room for all that its rings can have */
static void *door_at;

static uint32_t pages_of(uint64_t bytes)
{
	return (uint32_t)((bytes + MW_PAGE - 1) / MW_PAGE);
}

static void *reserve(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* --- the directory --- */

static int shape_check(struct shape *s, const uint32_t *d)
{
	uint64_t fixed, rings;

	if (d[0] != MW_DIRECTORY_MAGIC || d[1] != MW_DIRECTORY_VERSION)
		return -EPROTO;
	*s = (struct shape){ .slots = d[2], .rx_room = d[3], .tx_room = d[4], .arena_pages = d[5], .door_pages = d[6], .tele_pages = d[7] };
	fixed = arena_bytes(s->slots, s->rx_room, s->tx_room);
	rings = (uint64_t)s->slots * ((uint64_t)s->rx_room + s->tx_room);
	if (!fixed || s->arena_pages != pages_of(fixed - rings) || s->door_pages != pages_of(MW_DOOR_BYTES) ||
	    (s->tele_pages && s->tele_pages != pages_of(tele_bytes(s->slots))))
		return -EPROTO;
	return 0;
}

/* One page of it, copied. */
static int read_page(void *at, uint32_t ref, uint32_t *copy)
{
	int r = carrier->map(at, &ref, 1);

	if (r < 0)
		return r;
	memcpy(copy, at, MW_PAGE);
	carrier->unmap(at, &ref, 1);
	return 0;
}

static int read_refs(void *at, struct shape *s, uint32_t *copy)
{
	uint32_t total = s->arena_pages + s->door_pages + s->tele_pages, n = MW_DIRECTORY_HEAD, got = 0;

	s->refs = calloc(total, sizeof(*s->refs));
	if (!s->refs)
		return -ENOMEM;
	for (uint32_t pages = 1;; pages++) {
		int r;

		while (got < total && n < MW_DIRECTORY_WORDS - 1)
			s->refs[got++] = copy[n++];
		if (got == total)
			return 0;
		if (pages == DIRECTORY_PAGES)
			return -EPROTO;
		r = read_page(at, copy[MW_DIRECTORY_WORDS - 1], copy);
		if (r < 0)
			return r;
		n = 0;
	}
}

int memory_directory(const struct carrier *c, uint32_t ref, struct shape *s)
{
	uint32_t *copy = malloc(MW_PAGE);
	void *at = reserve(MW_PAGE);
	int r = copy && at ? 0 : -ENOMEM;

	carrier = c;
	if (r == 0)
		r = read_page(at, ref, copy);
	if (r == 0)
		r = shape_check(s, copy);
	if (r == 0)
		r = read_refs(at, s, copy);
	if (at)
		munmap(at, MW_PAGE);
	free(copy);
	return r;
}

/* --- places --- */

static uint32_t room_pages(void)
{
	return (shape.rx_room + shape.tx_room) / MW_PAGE;
}

int memory_init(const struct carrier *c, const struct shape *s)
{
	size_t bytes = (size_t)s->slots * (s->rx_room + s->tx_room) / MW_PAGE * sizeof(uint32_t);

	carrier = c;
	shape = *s;
	ins.view.bytes = arena_bytes(s->slots, s->rx_room, s->tx_room);
	ins.view.base = MW_PEER(reserve(ins.view.bytes));
	ins.view.slots = s->slots;
	ins.view.rx_bytes = s->rx_room;
	ins.view.tx_bytes = s->tx_room;
	door_at = reserve((uint64_t)s->door_pages * MW_PAGE);
	if (s->tele_pages)
		memory_tele = reserve((uint64_t)s->tele_pages * MW_PAGE);
	sizes = state_block("ring sizes", s->slots * sizeof(*sizes));
	ring_refs = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ins.view.sizes = sizes;
	return ins.view.base && door_at && (memory_tele || !s->tele_pages) && sizes && ring_refs != MAP_FAILED ? 0 : -ENOMEM;
}

/* --- rings --- */

static uint32_t *refs_of(uint32_t slot)
{
	return ring_refs + (size_t)slot * room_pages();
}

/* Where both begin: rx's, and with it tx's, rx_room behind it. */
static uint8_t *rings_at(uint32_t slot)
{
	struct mw_ring r;

	arena_rx(&ins.view, slot, &r);
	return (uint8_t *)(mw_uintptr)r.data;
}

static int map_rings(uint32_t slot, uint32_t rx_pages, uint32_t tx_pages)
{
	uint32_t *refs = refs_of(slot);
	uint8_t *at = rings_at(slot);
	int r = carrier->map(at, refs, rx_pages);

	if (r < 0)
		return r;
	r = carrier->map(at + shape.rx_room, refs + rx_pages, tx_pages);
	if (r < 0)
		carrier->unmap(at, refs, rx_pages);
	return r;
}

bool memory_has_rings(uint32_t slot)
{
	return sizes[slot].rx_bytes;
}

bool memory_is_large(uint32_t slot)
{
	return sizes[slot].rx_bytes >= DGRAM_RING && sizes[slot].tx_bytes >= DGRAM_RING;
}

int memory_grant(uint32_t slot, uint32_t rx_pages, uint32_t tx_pages, const uint8_t *refs, bool again)
{
	int r;

	if (slot >= ins.view.slots || rx_pages > shape.rx_room / MW_PAGE || tx_pages > shape.tx_room / MW_PAGE)
		return -EINVAL;
	if (memory_has_rings(slot))
		return again ? 0 : -EEXIST;
	if (sock_at(slot)->gen & 1)
		return -EBUSY;
	memcpy(refs_of(slot), refs, (rx_pages + tx_pages) * sizeof(uint32_t));
	r = map_rings(slot, rx_pages, tx_pages);
	if (r < 0)
		return r;
	sizes[slot].tx_bytes = tx_pages * MW_PAGE;
	mw_order();
	mw_store(&sizes[slot].rx_bytes, rx_pages * MW_PAGE);
	slots_spare(slot);
	return 0;
}

int memory_revoke(uint32_t slot, bool again)
{
	uint32_t rx_pages, tx_pages;

	if (slot >= ins.view.slots)
		return -EINVAL;
	if (sock_at(slot)->gen & 1)
		return -EBUSY;
	if (!memory_has_rings(slot))
		return again ? 0 : -ENOENT;
	rx_pages = sizes[slot].rx_bytes / MW_PAGE;
	tx_pages = sizes[slot].tx_bytes / MW_PAGE;
	slots_unspare(slot);
	mw_store(&sizes[slot].rx_bytes, 0u);
	mw_order();
	carrier->unmap(rings_at(slot), refs_of(slot), rx_pages);
	carrier->unmap(rings_at(slot) + shape.rx_room, refs_of(slot) + rx_pages, tx_pages);
	return 0;
}

/* --- each worker --- */

static int map_fixed(void)
{
	const uint32_t *refs = shape.refs;
	int r = carrier->map((void *)(mw_uintptr)ins.view.base, refs, shape.arena_pages);

	if (r == 0)
		r = carrier->map(door_at, refs + shape.arena_pages, shape.door_pages);
	if (r == 0 && memory_tele)
		r = carrier->map(memory_tele, refs + shape.arena_pages + shape.door_pages, shape.tele_pages);
	return r;
}

/* Pages that a dying worker still has mapped may not be had at once. */
static int map_fixed_soon(void)
{
	int r = map_fixed();

	for (int i = 0; i < TRIES && r == -EAGAIN; i++) {
		poll(NULL, 0, TRY_MS);
		r = map_fixed();
	}
	return r;
}

int memory_map(void)
{
	struct mw_view v;
	int r = map_fixed_soon();

	if (r < 0)
		return r;
	if (arena_check(&v, (void *)(mw_uintptr)ins.view.base, ins.view.bytes) < 0 || v.slots != shape.slots ||
	    v.rx_bytes != shape.rx_room || v.tx_bytes != shape.tx_room ||
	    door_check(&memory_door, door_at, (uint64_t)shape.door_pages * MW_PAGE, shape.slots) < 0)
		return -EPROTO;
	for (uint32_t i = 0; i < shape.slots; i++) {
		r = memory_has_rings(i) ? map_rings(i, sizes[i].rx_bytes / MW_PAGE, sizes[i].tx_bytes / MW_PAGE) : 0;
		if (r < 0)
			return r;
	}
	mirror_start();
	return 0;
}
