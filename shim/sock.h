/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock.h - one of our sockets as a call has it, the words of its slot, and what needs the INS's answer. Used by shim/ and trap/.
 * Trust: the application is ours; what lies in the slot is the INS's word, loaded once and checked by whoever uses it.
 *
 * Functions of shim/ return 0 (or a count) or -errno. Only interpose.h turns that into errno and -1.
 */
#ifndef MW_SHIM_SOCK_H
#define MW_SHIM_SOCK_H

#include <sys/socket.h>

#include "chan/arena.h"
#include "chan/msg.h"

/* As found from its descriptor: fdtab.h. */
struct sock {
	int fd;
	uint32_t ins; /* whose it is: a number that stays while the application lives */
	uint32_t slot;
	struct mw_slot __peer *s;
};

/* A socket's ins and slot as one number. */
#define PLACE(ins, slot) ((ins) << 16 | (slot))

/* Words of its slot: the INS's, and ours. */
#define SLOT_INS(k, word) mw_load_acquire(MW_WORD(&(k)->s->ins.word))
#define SLOT_NAMES(k, word) mw_load_acquire(MW_WORD(&(k)->s->names.word))
#define SLOT_APP(k, word) mw_load(MW_WORD(&(k)->s->app.word))
#define IS_DGRAM(k)       (SLOT_INS(k, type) == MW_TYPE_DGRAM)
#define APP_FLAGS(k)      __atomic_load_n(MW_WORD(&(k)->s->app.flags), __ATOMIC_RELAXED)
#define APP_SET(k, bits)  __atomic_fetch_or(MW_WORD(&(k)->s->app.flags), (bits), __ATOMIC_SEQ_CST)
#define APP_CLR(k, bits)  __atomic_fetch_and(MW_WORD(&(k)->s->app.flags), ~(bits), __ATOMIC_SEQ_CST)

int sock_create(int domain, int type, int protocol, int lane);
int sock_bind(struct sock *k, const struct sockaddr *sa, socklen_t len);
int sock_listen(struct sock *k, int backlog);
int sock_connect(struct sock *k, const struct sockaddr *sa, socklen_t len, bool wait);
int sock_connect_begin(struct sock *k, const struct sockaddr *sa, socklen_t len); /* never waits */
int sock_connected(struct sock *k);            /* 0, -EINPROGRESS, or why it failed */
bool sock_failed(struct sock *k);              /* connect() did, and the doorbell shows it */
/* The connection that a record names is the one whose doorbell came with it: an INS speaks for its own sockets alone. */
bool sock_accepted(const struct mw_accepted *c, int fd);
int sock_accept(struct sock *k, struct sockaddr *sa, socklen_t *len, int flags);
int sock_shutdown(struct sock *k, int how);
int sock_give_name(const struct mw_addr *a, struct sockaddr *sa, socklen_t *len); /* as move_addr_to_user(); NONE has length 0 */
int sock_name(struct sock *k, struct sockaddr *sa, socklen_t *len, bool peer);
void address_request(struct sock *k, struct mw_req *q);

#endif
