/* SPDX-License-Identifier: Apache-2.0 */
/*
 * front.h - the application as another machine's kernel: a door (chan/door.h) in the place of doorbells and control
 * connections. Shared inside ins/; ins.door says that it is so. PROTOCOL.md, section 10.
 * Trust: all of that memory is the other machine's. Indexes, sizes and refs that matter are in our own state; each word that
 * is read there is loaded once and bounded. What cannot be put right ends the INS: front_end().
 */
#ifndef MW_INS_XEN_FRONT_H
#define MW_INS_XEN_FRONT_H

#include <sys/types.h>

#include "chan/door.h"
#include "ins/xen/carrier.h"

struct isock;
struct mw_reply;
struct answer;
struct mw_dgram;

#define DGRAM_RING 131072u /* a datagram socket's rings have so much, both */

/* The worker's exit status, and then the INS's, beside those of uplink.c. */
#define EXIT_GONE   4 /* the other machine, says the carrier */
#define EXIT_BROKEN 5 /* it broke the rules of the door itself */

/* --- memory.c: what the other machine shares, at its places --- */

/* What the directory says, once it was checked. */
struct shape {
	uint32_t slots, rx_room, tx_room;
	uint32_t arena_pages, door_pages, tele_pages;
	uint32_t *refs; /* arena's, door's, telemetry's */
};

/* Reads the directory whose first page has that ref. 0, or -errno: -EPROTO for what is none. */
int memory_directory(const struct carrier *c, uint32_t ref, struct shape *s);
/* The keeper: room for all of it, and for what is granted later. 0 or -errno. */
int memory_init(const struct carrier *c, const struct shape *s);
/* Each worker: all that the state says. 0 or -errno. */
int memory_map(void);
int memory_grant(uint32_t slot, uint32_t rx_pages, uint32_t tx_pages, const uint8_t *refs, bool again);
int memory_revoke(uint32_t slot, bool again);
bool memory_has_rings(uint32_t slot);
bool memory_is_large(uint32_t slot); /* enough for datagrams */
extern struct mw_door_view memory_door;
extern uint8_t *memory_tele; /* telemetry's, for app to read; NULL: it wants none */

/* --- control.c: the two control rings --- */

int control_init(void);
void control_recover(void);
uint64_t control_limit(void);        /* requests up to here are there now */
bool control_pending(void);          /* there are some */
ssize_t control_take(uint64_t limit); /* one, into the job; 0: none, or -EPROTO */
int control_reply(const struct mw_reply *r, const struct answer *a); /* the deed is begun */

/* --- front.c: readiness --- */

int front_init(const struct carrier *c);
void front_up(void);                 /* the worker serves from now on */
void front_recover(void);            /* who sleeps there looks at everything */
void front_news(void);               /* the carrier has some */
void front_mark(const struct isock *s); /* words of its slot have changed */
void front_woken(bool sleeps);       /* a mark or a reply found the other side asleep */
void front_round(void);              /* at the end of each round: one notification for all of it */
_Noreturn void front_end(int status);
void front_ring(struct isock *s);    /* the answers to both event indexes */
void front_show_fin(struct isock *s);
void front_show_error(struct isock *s, int error);
void front_service(struct isock *s); /* app marked it ready */
/* An accepted connection into the listener's ring. 0, or -EAGAIN: no room. */
int front_hand_over(struct isock *l, struct isock *s);
void front_hand_recover(struct isock *s);
void front_close_listener(const struct isock *l); /* what app has not taken of it ends */

/* --- mirror.c: telemetry for the other machine --- */

int mirror_init(void);
void mirror_start(void);
void mirror_touch(uint32_t slot);    /* its flow record may have changed */
void mirror_round(void);

/* --- dgram.c: datagrams in the rings --- */

bool front_dgram_room(struct isock *s);
ssize_t front_dgram_up(struct isock *s, const struct mw_dgram *d, const void *data, size_t bytes); /* the deed is begun */
void front_dgram_up_recover(struct isock *s);
/* Copies the first record in tx. Bytes of header and payload, 0: there is none, or -EPROTO. */
int32_t front_dgram_next(struct isock *s, void *to);
bool front_dgram_off(struct isock *s); /* and lets go of it */

#endif
