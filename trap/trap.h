/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trap.h - shared inside trap/ only: the second tier, for programs that no shim sees (static, Go, raw system calls).
 * Trust: the target may change its memory and its descriptors at any moment. Memory is copied once, then used; a
 * descriptor is duplicated once and the duplicate is what a call works on. Nothing that reaches the network is ever
 * left to the kernel to do with the target's own arguments: the target's namespace has no network.
 */
#ifndef MW_TRAP_TRAP_H
#define MW_TRAP_TRAP_H

#include <seccomp.h>
#include <sys/socket.h>

#include "shim/sock.h"

/* One system call of a target, from its notification to its answer. */
struct call {
	uint64_t id;
	int pid;            /* of the thread */
	int nr;
	const uint64_t *args;
	int fd;             /* our duplicate of args[0], or -1; closed by serve.c */
	struct sock k;      /* valid when `ours`: k.fd is fd */
	bool ours;
	int give;           /* handler: a descriptor that the target gets as the call's result, or -1 */
	int give_flags;     /* O_CLOEXEC or 0 */
	bool converted;     /* handler: `give` is in the place of what is queued, */
	uint64_t queued;    /* which has this cookie */
	int put;            /* handler: a descriptor that takes the place of args[0], or -1 */
	int64_t result;     /* handler: with ANSWER */
	uint32_t events;    /* handler: with WAIT */
	int wait_option;    /* handler: with WAIT: SO_RCVTIMEO or SO_SNDTIMEO ends it */
	bool woken;         /* it waited; the descriptor is ready, or its time is over */
	bool late;          /* its time is over */
	int64_t began_ns;   /* handler: kept while it waits */
};

enum outcome {
	ANSWER,             /* result, or give */
	CONTINUE,           /* not ours: the kernel does it, on what is a UNIX socket or a file */
	WAIT,               /* again when the descriptor is ready */
};

/* call.c */
bool call_wanted(int nr);               /* is there a handler, and does it want a descriptor looked up? */
enum outcome call_handle(struct call *c);
void call_given(struct call *c);        /* the target has `give` */
void call_not_given(struct call *c);    /* and it has not: c->give is the callee's */
enum outcome call_done(struct call *c, int64_t result);
enum outcome call_or_wait(struct call *c, ssize_t r, int flags, bool sending); /* -EAGAIN may be waited for */
int call_get_addr(const struct call *c, uint64_t from, uint64_t len, struct sockaddr_storage *ss);
int call_put_addr(const struct call *c, const struct sockaddr_storage *ss, socklen_t n, uint64_t to, uint64_t len_at);
#define SEND_MAX 65536 /* bytes of a call that are looked at: no datagram has more, and TCP may take less than was given */

/* dgram.c */
enum outcome call_dgram_send(struct call *c);
enum outcome call_dgram_receive(struct call *c);
enum outcome call_dgram_sendmsg(struct call *c);
ssize_t call_message_bytes(struct call *c, const uint8_t **bytes); /* of a sendmsg(): at most SEND_MAX, ours until the next call */
enum outcome call_dgram_recvmsg(struct call *c);
enum outcome call_dgram_many(struct call *c, bool sending);

/* target.c: all take the thread's id; 0 or a count, or -errno */
int target_read(int pid, void *to, uint64_t from, size_t n);
int target_write(int pid, uint64_t to, const void *from, size_t n);
int target_fd(int pid, int fd);         /* a duplicate of its descriptor */
int target_process(int pid);            /* the process that a thread belongs to */
/* The network privileges that we hold are the target's own from now on: true when it has any. For the broker to see. */
bool target_privileges(int pid);
bool target_cloexec(int pid, int fd);
void target_signal(int pid, int signal);
bool target_sock(int fd, struct sock *k); /* is this one of our sockets? */

/* filter.c */
bool filter_allowed(void);              /* without no_new_privs, which takes a program's own privileges; raises what it needs */
/* installs the filter in the calling thread; the notification descriptor, or -errno */
int filter_install(void);

/* device.c: the same where sockets are those of /dev/mwcomms */
void serve_device(int listener);

/* serve.c: answers until the last target is gone */
void serve(int listener);

#endif
