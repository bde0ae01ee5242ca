// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * door.c - see door.h.
 * Trust: a record's length is believed only when what was published holds it.
 */
#include "door.h"

#include "bits.h"

struct mw_door __peer *door_header(const struct mw_door_view *v)
{
	return (struct mw_door __peer *)v->base;
}

int door_init(struct mw_door_view *v, void *base, uint32_t slots)
{
	struct mw_door *d = base;

	if (slots == 0 || slots > MW_SLOTS_MAX || slots % 64)
		return -EINVAL;
	d->version = MW_DOOR_VERSION;
	d->slots = slots;
	mw_store_release(&d->magic, MW_DOOR_MAGIC); /* pairs with door_check */
	return door_check(v, base, MW_DOOR_BYTES, slots);
}

int door_check(struct mw_door_view *v, void *base, uint64_t mapped, uint32_t slots)
{
	struct mw_door *d = base;

	if (mapped < MW_DOOR_BYTES || mw_load_acquire(&d->magic) != MW_DOOR_MAGIC ||
	    mw_load(&d->version) != MW_DOOR_VERSION || mw_load(&d->slots) != slots)
		return -EPROTO;
	v->base = MW_PEER(base);
	v->slots = slots;
	v->pad = 0;
	return 0;
}

static void control_ring(const struct mw_door_view *v, struct mw_ring *r, uint32_t offset)
{
	r->data = v->base + offset;
	r->event = NULL;
	r->bytes = MW_DOOR_RING;
	r->pad = 0;
}

void door_requests(const struct mw_door_view *v, struct mw_ring *r)
{
	struct mw_door __peer *d = door_header(v);

	control_ring(v, r, MW_DOOR_REQ_OFFSET);
	r->prod = &d->req_prod;
	r->cons = &d->req_cons;
}

void door_replies(const struct mw_door_view *v, struct mw_ring *r)
{
	struct mw_door __peer *d = door_header(v);

	control_ring(v, r, MW_DOOR_REP_OFFSET);
	r->prod = &d->rep_prod;
	r->cons = &d->rep_cons;
}

static uint32_t rounded(uint32_t n)
{
	return (n + 7) & ~7u;
}

int door_put(const struct mw_ring *r, uint64_t *prod, const void *a, uint32_t a_bytes, const void *b, uint32_t b_bytes)
{
	uint32_t room, n = rounded(a_bytes + b_bytes);
	int e = ring_free(r, *prod, &room);

	if (e < 0)
		return e;
	if (room < n)
		return -EAGAIN;
	ring_write(r, *prod, a, a_bytes);
	ring_write(r, *prod + a_bytes, b, b_bytes);
	*prod += n;
	ring_publish(r, *prod);
	return 0;
}

/* Both kinds of records have their length, 16 bits, behind 16 bits of opcode. */
int32_t door_take(const struct mw_ring *r, uint64_t *cons, void *to, uint32_t least, uint32_t room)
{
	uint16_t head[2];
	uint32_t used, n;
	int e = ring_used(r, *cons, &used);

	if (e < 0)
		return e;
	if (!used)
		return 0;
	if (used < sizeof(head))
		return -EPROTO;
	ring_read(r, *cons, head, sizeof(head));
	n = head[1];
	if (n < least || n > room || rounded(n) > used)
		return -EPROTO;
	ring_read(r, *cons, to, n);
	memcpy(to, head, sizeof(head)); /* not what it may be by now */
	*cons += rounded(n);
	ring_release(r, *cons);
	return (int32_t)n;
}

static struct mw_bits up_bits(const struct mw_door_view *v)
{
	struct mw_door __peer *d = door_header(v);
	struct mw_bits b = { .top = MW_WORD(&d->up_top[0]), .words = (uint64_t *)(mw_uintptr)(v->base + MW_DOOR_UP_OFFSET),
			     .slots = v->slots };

	return b;
}

bool door_wake(const struct mw_door_view *v)
{
	struct mw_door __peer *d = door_header(v);

	mw_fence(); /* pairs with door_sleep */
	return bits_flag_take(MW_WORD(&d->app_sleeping));
}

bool door_mark(const struct mw_door_view *v, uint32_t slot)
{
	struct mw_bits b = up_bits(v);

	bits_mark(&b, slot);
	return door_wake(v);
}

int32_t door_take_ready(const struct mw_door_view *v, uint32_t from, uint64_t *bits)
{
	struct mw_bits b = up_bits(v);

	return bits_next(&b, from, bits);
}

bool door_sleep(const struct mw_door_view *v, uint64_t rep_cons)
{
	struct mw_door __peer *d = door_header(v);
	uint32_t *sleeping = MW_WORD(&d->app_sleeping);
	struct mw_bits b = up_bits(v);

	mw_store(sleeping, 1u);
	mw_fence(); /* pairs with door_wake */
	if (!bits_any(&b) && mw_load(MW_WORD(&d->rep_prod)) == rep_cons)
		return true;
	mw_store(sleeping, 0u);
	return false;
}
