/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * door.h - what stands for doorbells and control connections where the two sides share memory and an interrupt, and no
 * descriptors: between two virtual machines. PROTOCOL.md, section 10.
 * Trust: as in ring.h: every word of the other side is loaded once, bounded, and the copy is used.
 *
 *   mw_door | up-ready bitmap | request ring | reply ring
 *
 * The door is its own piece of shared memory beside the arena; app makes both.
 */
#ifndef MW_CHAN_DOOR_H
#define MW_CHAN_DOOR_H

#include "msg.h"
#include "ring.h"
#include "wire.h"

#define MW_DOOR_MAGIC   0x31524f4f44574dULL /* "MWDOOR1" */
#define MW_DOOR_VERSION 1u
#define MW_DOOR_RING    65536u /* bytes of each control ring; more than the longest record */

struct mw_door {
	/* app (at start, then constant) */
	uint64_t magic;
	uint32_t version;
	uint32_t slots;        /* of the arena */
	uint64_t pad0[6];
	/* app: */
	uint64_t req_prod;     /* bytes ever put into the request ring */
	uint64_t rep_cons;     /* bytes ever taken from the reply ring */
	uint64_t event_armed;  /* telemetry: "notify when event_next reaches this"; 0: nobody waits */
	uint64_t pad1[5];
	/* ins: */
	uint64_t req_cons;
	uint64_t rep_prod;
	uint32_t spare;        /* slots with rings that wait for connections */
	uint32_t state;        /* MW_DOOR_ */
	uint64_t heartbeat;    /* grows at least once a second while ins is alive */
	uint64_t violations;   /* of app, that ins has seen */
	uint64_t pad2[3];
	/* both: app stores 1 when it has looked at everything; ins exchanges it for 0, and notifies if it was 1 */
	uint32_t app_sleeping;
	uint32_t pad3[15];
	/* ins sets, app takes, both atomically: bit per word of the up-ready bitmap */
	uint64_t up_top[MW_SLOTS_MAX / 4096];
};
MW_ASSERT(sizeof(struct mw_door) == 4 * MW_LINE + 128, "mw_door");
MW_ASSERT(offsetof(struct mw_door, req_prod) == MW_LINE, "mw_door.req_prod");
MW_ASSERT(offsetof(struct mw_door, req_cons) == 2 * MW_LINE, "mw_door.req_cons");
MW_ASSERT(offsetof(struct mw_door, app_sleeping) == 3 * MW_LINE, "mw_door.app_sleeping");

/* mw_door.state */
#define MW_DOOR_NONE   0u
#define MW_DOOR_UP     1u
#define MW_DOOR_DRAIN  2u /* gets nothing new */
#define MW_DOOR_ENDED  3u /* by intent: all its sockets have ended */

#define MW_DOOR_UP_OFFSET  MW_PAGE
#define MW_DOOR_REQ_OFFSET (MW_DOOR_UP_OFFSET + MW_SLOTS_MAX / 8)
#define MW_DOOR_REP_OFFSET (MW_DOOR_REQ_OFFSET + MW_DOOR_RING)
#define MW_DOOR_BYTES      (MW_DOOR_REP_OFFSET + MW_DOOR_RING)

/*
 * The directory: pages of u32 words that list the refs of all that is shared from the start. Magic, version, slots, rx room, tx room,
 * pages of the arena's fixed part, of the door, of telemetry; then their refs. The last word of a page is the next one's ref; 0: there is none.
 */
#define MW_DIRECTORY_MAGIC   0x3144574du /* "MWD1" */
#define MW_DIRECTORY_VERSION 1u
#define MW_DIRECTORY_HEAD    8u /* words in front of the refs */
#define MW_DIRECTORY_WORDS   (MW_PAGE / 4) /* of a page */

/* One side's private view. */
struct mw_door_view {
	uint8_t __peer *base;
	uint32_t slots;        /* of the arena */
	uint32_t pad;
};

/* Writes the header of MW_DOOR_BYTES zeroed bytes at `base`, and fills *v. 0 or -EINVAL. */
int door_init(struct mw_door_view *v, void *base, uint32_t slots);
/* Fills *v. 0, or -EPROTO when this is no door for an arena of so many slots. */
int door_check(struct mw_door_view *v, void *base, uint64_t mapped, uint32_t slots);
struct mw_door __peer *door_header(const struct mw_door_view *v);

/* The control rings; neither has an event index: `sleeping` of each side tells. */
void door_requests(const struct mw_door_view *v, struct mw_ring *r); /* app produces */
void door_replies(const struct mw_door_view *v, struct mw_ring *r);  /* ins produces */

/*
 * Control records lie in their ring one behind the other, each at a multiple of 8. Puts a record of two parts at `*prod`,
 * publishes it, and moves *prod behind it. 0, -EAGAIN: no room, or -EPROTO.
 */
int door_put(const struct mw_ring *r, uint64_t *prod, const void *a, uint32_t a_bytes, const void *b, uint32_t b_bytes);
/*
 * Copies the record at *cons into `to`, releases it, and moves *cons behind it. Bytes, 0: there is none, or -EPROTO: a length
 * below `least`, above `room`, or beyond what was published.
 */
int32_t door_take(const struct mw_ring *r, uint64_t *cons, void *to, uint32_t least, uint32_t room);

/* ins marks a slot that has news for app. True: app sleeps, and must be notified (once, at the end of ins's round). */
bool door_mark(const struct mw_door_view *v, uint32_t slot);
/* ins has put a reply. True as above. */
bool door_wake(const struct mw_door_view *v);
/* app: as ready_take() of arena.h, of the up-ready bitmap. */
int32_t door_take_ready(const struct mw_door_view *v, uint32_t from, uint64_t *bits);
/* app: says that it sleeps; false: look again, something came (it counts as awake then). */
bool door_sleep(const struct mw_door_view *v, uint64_t rep_cons);

#endif
