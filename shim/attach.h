/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.h - the control connections and the arenas, one for each INS that is needed. Used by shim/ and trap/.
 * Trust: as in attach.c.
 */
#ifndef MW_SHIM_ATTACH_H
#define MW_SHIM_ATTACH_H

#include "chan/arena.h"

struct mw_reply;
struct mw_req;
struct sock;

extern struct mw_view shim_views[MW_INS_MAX]; /* by number; slots == 0: not attached */
extern bool shim_attached;                 /* to any */
#define VIEW(k) (&shim_views[(k)->ins])

int attach(void);                          /* to one at least: 0, or -ENETDOWN when there is no INS to reach */
int attach_to(uint32_t ins);               /* its arena is there: 0, or -ENETDOWN */
bool attach_ended(const void *at);         /* that is in the arena of an INS that has ended */
bool attach_elsewhere(int fd);             /* this socket is of another network namespace than our connection to the INS */
int attach_pair(int type_flags, int pair[2]); /* socketpair(2) that minds the limit only for the first of them */
int ctl_call_to(uint32_t ins, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r);
int ctl_call(const struct sock *k, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r);
int ctl_call_value(const struct sock *k, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r, void *value); /* of options */
void shim_kick(uint32_t ins);              /* wakes it when it sleeps */
void refused_count(uint32_t kind);         /* MW_REFUSED_ */
void attach_after_fork(void);
bool attach_owns(int fd);                  /* a descriptor of our own, hidden from the application */
int attach_next(unsigned int from);        /* our lowest descriptor at or above it, or -1 */
int attach_move(int fd);                   /* the application wants this number: move ours away; 0 or -errno */

#define SPARES_MAX 16
struct spares {                            /* sockets that are not connected yet, one for each INS that we are attached to */
	int fd[SPARES_MAX];
	uint32_t count;
};
void attach_spares(struct spares *s);
void attach_spares_close(struct spares *s);
void attach_left(struct spares *s);        /* attaches a new child that is in another network namespace, by its parent's */
int attach_reserve(void);                  /* space_reserve() under attach.c's lock */

#endif
