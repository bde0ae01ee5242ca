// SPDX-License-Identifier: Apache-2.0
/*
 * app.c - the application's control connections, one for each of its processes that needed one.
 * Trust: a record that does not pass msg_request_check ends that connection; no other notices.
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan/msg.h"
#include "ins/app.h"
#include "ins/journal.h"
#include "ins/op.h"
#include "ins/poll.h"
#include "ins/state.h"
#include "ins/xen/front.h"
#include "lib/fdpass.h"
#include "link/broker.h"

#define CONNS_MAX 4096

struct conn {
	int fd; /* or -1 */
	uint32_t gen;
	bool hello;
};

static const struct answer nothing;

/* Replies that wait for the next loop's end. */
#define WAITING_MAX 64
struct waiting {
	uint32_t conn, conn_gen;
	bool used, looked;
	struct mw_reply reply;
};
static struct conn *conns;
static struct waiting *waiting;
static uint32_t waiting_count;

int app_init(void)
{
	conns = state_block("connections", CONNS_MAX * sizeof(*conns));
	waiting = state_block("replies", WAITING_MAX * sizeof(*waiting));
	if (!conns || !waiting)
		return -ENOMEM;
	for (uint32_t i = 0; !ins.taken && i < CONNS_MAX; i++)
		conns[i].fd = -1;
	if (ins.door)
		conns[DOOR_CONN].fd = 0; /* it lives */
	return 0;
}

int app_watch(void)
{
	return poll_add(ins.control, EV_CONTROL, 0, 0, 0, EPOLLIN);
}

/* What a worker that died has left. */
void app_recover(void)
{
	const struct deed *d = &journal->deed;

	if (d->kind == DEED_LATE && deed_done() && d->sub && d->sub <= WAITING_MAX)
		waiting[d->sub - 1].used = false;
	for (uint32_t i = 0; i < WAITING_MAX; i++)
		waiting_count += waiting[i].used;
}

void app_know(void (*know)(int fd))
{
	for (uint32_t i = 0; i < CONNS_MAX; i++)
		know(conns[i].fd);
}

uint32_t app_conn_gen(uint32_t conn)
{
	return conns[conn].gen;
}

int app_conn_fd(uint32_t conn)
{
	return ins.door ? -1 : conns[conn].fd;
}

static void drop(uint32_t conn)
{
	int fd = conns[conn].fd;

	if (ins.door)
		front_end(EXIT_BROKEN);
	conns[conn].fd = -1;
	conns[conn].gen++;
	conns[conn].hello = false;
	mw_order();
	close(fd);
}

void app_take(int fd)
{
	uint32_t i = 0;

	while (i < CONNS_MAX && conns[i].fd >= 0)
		i++;
	if (i == CONNS_MAX || poll_add(fd, EV_CONN, 0, i, conns[i].gen, EPOLLIN) < 0)
		close(fd);
	else
		conns[i].fd = fd;
}

void app_accept(void)
{
	int fd;

	journal->job.kind = JOB_CONN;
	mw_order();
	fd = accept4(ins.control, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		app_take(fd);
	job_end();
}

/* The deed is begun. */
static void send_reply(uint32_t conn, struct mw_reply *r, const struct answer *a, const int *fds, int count)
{
	struct iovec iov[] = { { r, sizeof(*r) }, { (void *)(mw_uintptr)a->value, a->bytes } };

	r->bytes = (uint16_t)(sizeof(*r) + a->bytes);
	r->value_bytes = a->bytes;
	r->length = a->length;
	if ((ins.door ? control_reply(r, a) : deed_send(conns[conn].fd, iov, 2, fds, count, MSG_DONTWAIT)) < 0)
		drop(conn); /* it asks without listening to answers */
}

static void make_reply(struct mw_reply *r, const struct mw_req *q, int status, uint32_t slot)
{
	memset(r, 0, sizeof(*r));
	r->op = q->op;
	r->seq = q->seq;
	r->status = status;
	r->slot = slot;
	r->gen = slot < ins.view.slots ? sock_at(slot)->gen : 0;
}

static bool lives(uint32_t conn, uint32_t conn_gen)
{
	return conns[conn].fd >= 0 && conns[conn].gen == conn_gen;
}

void app_reply(uint32_t conn, uint32_t conn_gen, const struct mw_req *q, int status, uint32_t slot, const struct answer *a)
{
	struct mw_reply r;

	if (!lives(conn, conn_gen))
		return;
	make_reply(&r, q, status, slot);
	deed_begin(DEED_REPLY, NULL);
	send_reply(conn, &r, a, NULL, 0);
	job_end();
	deed_end();
}

void app_reply_verb(uint32_t seq, const struct answer *a)
{
	const struct mw_req q = { .op = MW_OP_VERB, .seq = seq };
	struct mw_reply r;

	make_reply(&r, &q, 0, 0);
	send_reply(DOOR_CONN, &r, a, NULL, 0);
}

/* Of a request that the job is not about any more. */
void app_reply_late(const struct isock *s, int status)
{
	struct mw_req q = { .op = s->asked, .seq = s->seq };
	struct mw_reply r;

	if (!lives(s->conn, s->conn_gen))
		return;
	make_reply(&r, &q, status, slot_of(s));
	journal->deed.sub = 0;
	deed_begin(DEED_LATE, s);
	send_reply(s->conn, &r, &nothing, NULL, 0);
}

void app_reply_settled(uint32_t conn, uint32_t conn_gen, const struct mw_req *q, int status, uint32_t slot)
{
	struct waiting *w = waiting;

	while (w < waiting + WAITING_MAX && w->used)
		w++;
	if (w == waiting + WAITING_MAX) { /* late is better than never */
		app_reply(conn, conn_gen, q, status, slot, &nothing);
		return;
	}
	w->conn = conn;
	w->conn_gen = conn_gen;
	w->looked = false;
	make_reply(&w->reply, q, status, slot);
	mw_order();
	w->used = true;
	waiting_count++;
	job_end();
}

bool app_settling(void)
{
	return waiting_count;
}

/* What a request set off is seen in the loop after it: on loopback the kernel is done when its call returns. */
void app_settled(void)
{
	for (uint32_t i = 0; waiting_count && i < WAITING_MAX; i++) {
		struct waiting *w = &waiting[i];

		if (!w->used)
			continue;
		if (!w->looked) {
			w->looked = true;
			continue;
		}
		journal->deed.sub = i + 1;
		deed_begin(DEED_LATE, NULL);
		if (lives(w->conn, w->conn_gen))
			send_reply(w->conn, &w->reply, &nothing, NULL, 0);
		w->used = false;
		deed_end();
		waiting_count--;
	}
}

void app_reply_hello(uint32_t conn, const struct mw_req *q)
{
	struct mw_reply r = { .op = q->op, .seq = q->seq };
	int fds[3] = { ins.fd->arena, ins.fd->kick, INS_ROSTER_FD };

	if (q->u.hello.version != MW_VERSION) {
		app_reply(conn, conns[conn].gen, q, -EPROTONOSUPPORT, 0, &nothing);
		return;
	}
	conns[conn].hello = true;
	deed_begin(DEED_REPLY, NULL);
	send_reply(conn, &r, &nothing, fds, 3);
	job_end();
	deed_end();
}

/* The request that was taken; *fd came along, or -1. False: it makes no sense. */
static bool handle(uint32_t conn, ssize_t n)
{
	const uint8_t *raw = journal->job.u.request;
	struct mw_req q;
	int fd = -1;

	job_fds(&fd, 1);
	if (n <= 0 || msg_request_check(&q, raw, (size_t)n) < 0 || (q.op != MW_OP_HELLO && !conns[conn].hello)) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	op_handle(conn, &q, raw + msg_request_bytes(q.op), fd);
	return true;
}

/* One record, if there is one. */
static void take_one(uint32_t conn)
{
	ssize_t n;

	journal->job.conn = conn;
	n = job_take(JOB_REQUEST, conns[conn].fd);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n == 0 || n == -ECONNRESET || !handle(conn, n))
		drop(conn);
	job_end_of(JOB_REQUEST);
}

/* The job's answer waits already. */
static bool is_settling(uint32_t conn)
{
	struct mw_req q;

	memcpy(&q, journal->job.u.request, offsetof(struct mw_req, u));
	for (struct waiting *w = waiting; w < waiting + WAITING_MAX; w++)
		if (w->used && w->conn == conn && w->conn_gen == conns[conn].gen && w->reply.seq == q.seq)
			return true;
	return false;
}

/* The request that a dead worker had taken, once more. */
void app_again(void)
{
	uint32_t conn = journal->job.conn;

	if (conn < CONNS_MAX && conns[conn].fd >= 0 && !is_settling(conn) && !handle(conn, job_bytes()))
		drop(conn);
	job_end_of(JOB_REQUEST);
}

/* One request a loop: what the application closed before its next one is an event that comes first. */
void app_event(uint32_t conn, uint32_t gen)
{
	if (lives(conn, gen))
		take_one(conn);
}

void app_door(uint64_t limit)
{
	ssize_t n;

	for (journal->job.conn = DOOR_CONN; (n = control_take(limit)) != 0; job_end_of(JOB_REQUEST))
		if (n < 0 || !handle(DOOR_CONN, n))
			drop(DOOR_CONN);
}
