/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.h - what the worker is in the midst of, so that the next one can finish it. Used by ins/.
 * Trust: the INS's own state; a record of the application's or of telemetry's that lies here is checked again when it is
 * taken up again.
 *
 * The worker is one thread, so there is at most one of each:
 *   deed   a system call that moves something once, and what is to be noted of it
 *   job    a record that was taken off its socket and is not answered yet, or a connection that was accepted and belongs to
 *          nobody yet
 *   making a slot that is not whole yet: undone, and made again by its job
 *   events what the last wait told, until the next one
 *
 * Whether a deed took place says the kernel itself, in the same call: sendmmsg() and recvmmsg() write msg_len here before
 * the process can die. For TCP the stack's own counters say it (stack.h, `moved`), and such a call costs nothing more.
 *
 * Descriptors are forgotten before they are closed, and known after they are made. So what is open and known to nobody is
 * the dead worker's, and is closed; recover.c.
 */
#ifndef MW_INS_JOURNAL_H
#define MW_INS_JOURNAL_H

#include <sys/epoll.h>
#include <sys/socket.h>

#include "chan/msg.h"
#include "ins/head.h"
#include "lib/fdpass.h"
#include "link/broker.h"
#include "link/telem.h"

enum deed_kind {
	DEED_NONE,
	DEED_RECV,     /* TCP to the rx ring. pos: rx_prod; total: flow.rx_bytes; head: before these bytes */
	DEED_SEND,     /* tx ring to TCP. pos: tx_cons; total: flow.tx_bytes */
	DEED_STRAY,    /* a stray record to TCP. pos: stray_at; total: flow.tx_bytes */
	DEED_TOKEN,    /* pos: rx_rung before */
	DEED_TAKE,     /* a record, or filler, off the doorbell */
	DEED_MARKER,   /* the end marker */
	DEED_HAND,     /* an accepted connection to the application; sub: the listener */
	DEED_PULL,     /* stream: doorbell to tx ring. pos: tx_prod */
	DEED_PUSH,     /* stream: rx ring to doorbell. pos: rx_cons */
	DEED_FILLER,   /* stream: filler off the doorbell. pos: bytes of it before */
	DEED_REPLY,    /* the answer to the job */
	DEED_LATE,     /* an answer for which the job has not waited; sub: its place */
	DEED_ABORT,    /* fd: closed with a reset */
	DEED_CLOSE,    /* fd: closed */
	DEED_DGRAM_IN, /* a datagram from the stack. sub: by which handle */
	DEED_DGRAM_UP, /* ... to the doorbell */
	DEED_DGRAM_OUT, /* a datagram to the network, still first on the doorbell */
	DEED_DGRAM_OFF, /* ... taken off it */
	DEED_KINDS
};

struct deed {
	uint32_t kind;
	uint32_t slot, gen, sub;
	uint64_t pos, total;
	uint32_t room;
	int32_t fd;
	struct head head;
	struct mmsghdr m;
};

enum job_kind { JOB_NONE, JOB_REQUEST, JOB_VERB, JOB_BROKER, JOB_ACCEPT, JOB_CONN };

struct job {
	uint32_t kind;
	uint32_t again;       /* it was begun by a worker that died */
	uint32_t conn;        /* REQUEST */
	uint32_t slot, gen, sub; /* ACCEPT: the listener and its handle */
	uint32_t state;       /* REQUEST: the socket's, before */
	uint32_t found;       /* VERB: the socket was there */
	struct mmsghdr m;     /* how it was taken */
	union fdpass_control control;
	union {
		uint8_t request[sizeof(struct mw_req) + MW_VALUE_MAX];
		struct {
			struct verb_msg msg;
			uint8_t value[VERB_VALUE_MAX]; /* right behind it, as in the record */
		} verb;
		struct {
			struct broker_msg msg;
			uint8_t value[BM_VALUE_MAX];
		} broker;
	} u;
};

#define EVENTS_MAX 256

struct journal {
	struct deed deed;
	struct job job;
	uint32_t making;      /* slot + 1, or 0 */
	uint32_t at, at_gen;  /* the socket whose turn it is; at: slot + 1, or 0 */
	uint32_t ready;       /* the first worker said so */
	uint32_t asleep;      /* waits for events */
	uint32_t unwatched;   /* by the keeper, which sleeps: to be waked when there is work */
	int32_t heir;         /* the next program wants all, there; 0: nobody does */
	uint32_t workers;     /* started */
	uint32_t crash_at, crash_gen, crashes; /* `at` of the last crash, and how often in a row */
	struct epoll_event event[EVENTS_MAX];
};

extern struct journal *journal;

int journal_init(void);

struct isock;

void deed_begin(enum deed_kind kind, const struct isock *s);
/* Bytes of a TCP connection; total: those that were moved so far, that way; room: most that are now. */
static inline void deed_bytes_begin(enum deed_kind kind, const struct isock *s, uint64_t pos, uint64_t total, uint32_t room)
{
	struct deed *d = &journal->deed;

	d->pos = pos;
	d->total = total;
	d->room = room;
	deed_begin(kind, s);
}
static inline void deed_end(void)
{
	mw_order();
	mw_store(&journal->deed.kind, (uint32_t)DEED_NONE);
}
/* One message; `fds` go along. Bytes, or -errno. The deed is begun. */
ssize_t deed_send(int fd, struct iovec *iov, size_t parts, const int *fds, int count, int flags);
ssize_t deed_recv(int fd, struct iovec *iov, size_t parts, int flags);
bool deed_done(void);         /* of the begun deed: the kernel says so */
uint32_t deed_bytes(void);    /* then */

void journal_at(const struct isock *s); /* it is this one's turn */
/* A record off a socket, into journal->job.u. Bytes, 0: the other end is closed, or -errno; only above 0 there is a job. */
ssize_t job_take(enum job_kind kind, int fd);
bool job_taken(void);         /* the job that there is was really taken */
ssize_t job_bytes(void);      /* -EMSGSIZE: it was too long */
int job_fds(int *fds, int room); /* that came along: how many; what is beyond room is closed */
static inline void job_end(void)
{
	mw_order();
	mw_store(&journal->making, 0u);
	mw_store(&journal->job.kind, (uint32_t)JOB_NONE);
}
static inline void job_end_of(enum job_kind kind)
{
	if (journal->job.kind == kind)
		job_end();
}
void job_begin_accept(const struct isock *l, uint32_t sub);

#endif
