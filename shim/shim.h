/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim.h - shared inside shim/, and by trap/, which calls the same functions for others.
 * Trust: the application is ours; whatever comes through the arena or the control connection is the INS's word.
 *
 * Every function here returns 0 (or a count) or -errno. Only interpose.h turns that into errno and -1.
 */
#ifndef MW_SHIM_H
#define MW_SHIM_H

#include <signal.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "chan/arena.h"
#include "chan/msg.h"
#include "chan/ring.h"

/* One of our sockets as found from its descriptor. */
struct sock {
	int fd;
	uint32_t ins; /* whose it is: a number that stays while the application lives */
	uint32_t slot;
	struct mw_slot __peer *s;
};

/* A socket's ins and slot as one number. */
#define PLACE(ins, slot) ((ins) << 16 | (slot))
#define VIEW(k) (&shim_views[(k)->ins])

/* attach.c: the control connections and the arenas, one for each INS that is needed */
extern struct mw_view shim_views[MW_INS_MAX]; /* by number; slots == 0: not attached */
extern bool shim_attached;                 /* to any */
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

/* roster.c: which INSs there are */
void roster_map(int fd);                   /* with attach.c's lock held */
bool roster_known(void);                   /* else there is INS number 0 alone */
uint32_t roster_high(void);                /* numbers at or above it were never used */
uint32_t roster_home(void);                /* the INS of sockets that are bound, and of datagrams */
uint32_t roster_choose(void);              /* the INS of a new socket: each in turn */
uint32_t roster_fallback(uint32_t ins);    /* that one does not answer: another */
bool roster_serves(uint32_t ins);          /* it has not ended */

/* space.c: where the address space is limited */
int space_reserve(void);                   /* 0, also when it has been done, or -ENOMEM */
void *space_map(int fd, size_t bytes, bool write); /* an arena, the roster; MAP_FAILED with errno */
void space_unmap(void *base, size_t bytes);
bool space_empty(void *base, size_t bytes);  /* zeros take the place of what was mapped, and it is let go */
void space_restore(void);                  /* the limit that the program knows, for one that has no shim */

#define FDTAB_MAX (1u << 20) /* a descriptor at or above it can't be made: see attach.c */

/* fdtab.c: which descriptors are sockets of ours */
bool sock_get(int fd, struct sock *k);
void sock_at(struct sock *k, uint32_t place); /* of an arena that is there; no descriptor */
void fdtab_set(int fd, uint32_t place);
void fdtab_clear(int fd);
void fdtab_clear_from(unsigned int first, unsigned int last);
void fdtab_copy(int from, int to);
bool fdtab_has(uint32_t ins);              /* some descriptor is a socket of that INS's */
bool fdtab_find(uint64_t cookie, uint32_t *place); /* whose doorbell that is */
void fdtab_adopt(int fd);                  /* a descriptor that came by exec or SCM_RIGHTS: is it one of ours? */
bool fdtab_again(struct sock *k);          /* its INS has ended: does another serve the same listener? */
void fdtab_scan(void);                     /* adopt all that came by exec */

/* fork.c */
bool in_own_process(void);                 /* false in a vfork child, which must not touch our tables */
int own_pid(void);
int own_tid(void);

/* lane.c: programs that the shim cannot serve */
const char *lane_trap(const char *file, bool search, char path[]); /* PATH_MAX; what to execute instead, or NULL */
size_t lane_count(char *const argv[]);
char *const *lane_argv(char **to, char *path, char *const argv[]); /* to: lane_count(argv) + 4 */

/* doorbell.c */
int doorbell_pair(int type_flags, int pair[2], uint64_t *cookie); /* SOCK_SEQPACKET or SOCK_STREAM, see MW_LANE_ */
int doorbell_fill(struct sock *k, int flags);  /* one filler record; -EAGAIN when the budget is spent */
void doorbell_fill_all(struct sock *k);
void doorbell_shrink(struct sock *k);          /* the send budget */
bool doorbell_strays(struct sock *k);          /* records wait in the doorbell that may be data */
bool doorbell_writable(struct sock *k);        /* a stray will fit */
ssize_t doorbell_send(struct sock *k, const void *from, size_t n, int flags); /* as a stray, at most STRAY_BYTES */
#define STRAY_BYTES 4096u                      /* fits the smallest send budget */
void doorbell_reseed(struct sock *k);          /* when stray bytes took the seed's place */
int doorbell_wait(struct sock *k, int flags);  /* until something is queued: 1, 0 at end of stream, or -errno */
void doorbell_drained(struct sock *k);         /* until the INS has taken the filler of a connect that is decided */
bool doorbell_take(int fd);                    /* takes one token back if it is there */
void doorbell_copy_file(int from, int to);     /* what belongs to the open file: flags and time-outs */
void doorbell_replace(const struct sock *from, int fd, uint32_t to); /* all descriptors of this process that are its: now `fd`'s, of that place */
int doorbell_cookie(int fd, uint64_t *cookie); /* -ENOTSOCK and the like for what is not a doorbell */

/* hold.c: signals in a call that moves some bytes and then waits. NULL: not held, for it will not wait */
sigset_t *hold(int fd, int flags, sigset_t *theirs); /* theirs: the mask that was */
int hold_wait(int fd, short events, int timeout_option, sigset_t *theirs); /* 0: look again; or -errno */
sigset_t *hold_end(const sigset_t *theirs);                                /* NULL, for it is held no more */

/* data.c: the rings */
/* The iovec is right, see user_iov_bytes(); what it names may be a wrong address: -EFAULT. */
ssize_t data_recv(struct sock *k, const struct iovec *iov, int count, int flags);
ssize_t data_send(struct sock *k, const struct iovec *iov, int count, int flags);
ssize_t data_sendfile(struct sock *k, int in, off_t *offset, size_t count);
int data_unread(struct sock *k);
void data_lowat(struct sock *k);               /* SO_RCVLOWAT was changed */
int data_error(struct sock *k);                /* takes the pending error: positive errno or 0 */

/* plain.c: after a seccomp filter. As their namesakes of doorbell.c */
extern bool plain_on;
void plain_prepare(void);                      /* before the filter is set */
bool plain_take(int fd);
int plain_wait(int fd, int flags);
int plain_send(int fd, const void *from, size_t n, int flags); /* 0: there is room now, nothing was sent */

/* token.c */
void token_service(struct sock *k);            /* the INS shall look at it */
bool token_rearm(struct sock *k, const struct mw_ring *r, uint64_t cons); /* true when bytes came meanwhile */
void token_behind(struct sock *k, const struct mw_ring *r, uint64_t seen);
void token_again(struct sock *k, const struct mw_ring *r, uint64_t cons, uint64_t seen);
uint32_t token_lowat(struct sock *k);
uint32_t token_least(struct sock *k, uint64_t cons); /* bytes behind `cons` with which the descriptor is readable */
void token_hide(struct sock *k, const struct mw_ring *r, uint64_t cons, uint64_t seen); /* fewer than SO_RCVLOWAT are there */
void token_space(struct sock *k, uint64_t cons);
void token_after_guests(struct sock *k, uint32_t before);
void token_drop(struct sock *k);

/* urgent.c: see there */
ssize_t urgent_recv(struct sock *k, const struct iovec *iov, size_t want, int flags);
ssize_t urgent_send(struct sock *k, const struct iovec *iov, int count, size_t want, int flags); /* stream lane */
uint32_t urgent_cut(struct sock *k, uint64_t *cons, uint32_t used, bool more); /* what one read may take, and from where */
uint32_t urgent_unread(struct sock *k, uint64_t cons, uint32_t used); /* as FIONREAD counts */
uint32_t urgent_hidden(struct sock *k, uint64_t cons); /* unread bytes that no read would give */
bool urgent_stops(struct sock *k);             /* a read that has taken something ends */
bool urgent_within(struct sock *k);            /* a read ends before all that is there */
bool urgent_there(struct sock *k);             /* a byte is, be it the urgent one */
void urgent_inline_set(struct sock *k);        /* SO_OOBINLINE was changed */
void urgent_owner(int fd);                     /* F_SETOWN or the like went well */

/* stream.c: sockets whose descriptor carries the bytes */
ssize_t stream_recv(struct sock *k, const struct iovec *iov, int count, int flags);
ssize_t stream_send(struct sock *k, const struct iovec *iov, int count, int flags);
ssize_t stream_sendfile(struct sock *k, int in, off_t *offset, size_t count);
ssize_t stream_splice(struct sock *k, int in, int out, size_t n, unsigned int flags);
int stream_unread(struct sock *k);
void stream_fill(int fd);                      /* not writable until the INS has dropped it */
int stream_convert(int fd);                    /* makes a ring socket one; 0 also for what needs none; or -errno */
/* dgram.c: UDP */
ssize_t dgram_sendmsg(struct sock *k, const struct msghdr *m, int flags);
ssize_t dgram_sendto(struct sock *k, const struct iovec *iov, int count, int flags, const struct sockaddr *sa, socklen_t len);
ssize_t dgram_recvmsg(struct sock *k, struct msghdr *m, int flags);
ssize_t dgram_recvfrom(struct sock *k, const struct iovec *iov, int count, int flags, struct sockaddr *sa, socklen_t *len);
int dgram_unread(struct sock *k);
int dgram_shutdown(struct sock *k, int how);
int dgram_error(struct sock *k);               /* as data_error */

/* splice.c: one of the two at least is a socket of ours */
ssize_t splice_sock(int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned int flags);

/* sock.c: naming */
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

/* again.c */
bool again_due(struct sock *k, int r);         /* connect() has told with `r` of an attempt that failed */
int again_make(struct sock *k);                /* a descriptor of the socket as it was before connect(), in a slot of its own, or -errno */
void again_here(struct sock *k);               /* its descriptors become such */
void again_replace(struct sock *k, int fd);    /* they become `fd`, which is closed, epoll sets included */

/* linger.c */
int linger_begin(struct sock *k);              /* before close(): seconds that it waits afterwards, or 0 */
void linger_wait(struct sock *k, uint32_t gen, int seconds);

/* route.c: netlink sockets of the INS's network; for NETLINK_ROUTE alone */
int route_create(int type, int protocol);      /* -ENOSYS: the kernel's own business */
bool route_is(int fd);
ssize_t route_send(int fd, const struct msghdr *m, int flags);      /* fd is one; -ENOSYS: no address, the kernel's own business */
bool route_refuses(int fd, unsigned long request);                  /* this ioctl: EPERM */
int route_ioctl(int fd, unsigned long request, void *argument);    /* any descriptor but a socket of ours; -ENOSYS as above */

/* option.c */
int option_set(struct sock *k, int level, int name, const void *value, socklen_t len);
int option_get(struct sock *k, int level, int name, void *value, socklen_t *len);
int option_ioctl(struct sock *k, unsigned long request, void *argument); /* -ENOSYS: the kernel's own business */
void option_inherit(struct sock *listener, struct sock *k);
/* Before a call waits on the doorbell: what the operator says of waiting is in force. Returns its flags. */
int option_timeo(struct sock *k, int flags);

/* twin.c: connections of this process with itself */
void twin_dialed(struct sock *k);
void twin_accepted(struct sock *k);
int twin_ask(const struct sock *k, uint32_t gen); /* when all is handled: -EBADF, the application has closed it; else 0 */
void twin_settle(const struct sock *k);        /* after a call whose effect the other end must see */

/* Loads of the INS's words. */
#define SLOT_INS(k, word) mw_load_acquire(MW_WORD(&(k)->s->ins.word))
#define SLOT_NAMES(k, word) mw_load_acquire(MW_WORD(&(k)->s->names.word))
#define SLOT_APP(k, word) mw_load(MW_WORD(&(k)->s->app.word))
#define IS_DGRAM(k)       (SLOT_INS(k, type) == MW_TYPE_DGRAM)
#define APP_FLAGS(k)      __atomic_load_n(MW_WORD(&(k)->s->app.flags), __ATOMIC_RELAXED)
#define APP_SET(k, bits)  __atomic_fetch_or(MW_WORD(&(k)->s->app.flags), (bits), __ATOMIC_SEQ_CST)
#define APP_CLR(k, bits)  __atomic_fetch_and(MW_WORD(&(k)->s->app.flags), ~(bits), __ATOMIC_SEQ_CST)

#endif
