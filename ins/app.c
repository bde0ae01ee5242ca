// SPDX-License-Identifier: Apache-2.0
/*
 * app.c - the application's control connections, one for each of its processes that needed one.
 * Trust: a record that does not pass msg_request_check ends that connection; no other notices.
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/ins.h"
#include "lib/fdpass.h"

#define CONNS_MAX 4096

static struct {
	int fd;
	uint32_t gen;
	bool hello;
} conns[CONNS_MAX];

static const struct answer nothing;

/* Replies that wait for the next loop's end. */
#define WAITING_MAX 64
static struct waiting {
	uint32_t conn, conn_gen;
	bool looked;
	struct mw_reply reply;
} waiting[WAITING_MAX];
static uint32_t waiting_count;

int app_init(void)
{
	for (uint32_t i = 0; i < CONNS_MAX; i++)
		conns[i].fd = -1;
	return poll_add(ins.control, EV_CONTROL, 0, 0, 0, EPOLLIN);
}

uint32_t app_conn_gen(uint32_t conn)
{
	return conns[conn].gen;
}

int app_conn_fd(uint32_t conn)
{
	return conns[conn].fd;
}

static void drop(uint32_t conn)
{
	close(conns[conn].fd);
	conns[conn].fd = -1;
	conns[conn].gen++;
	conns[conn].hello = false;
}

void app_accept(void)
{
	int fd = accept4(ins.control, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	uint32_t i = 0;

	if (fd < 0)
		return;
	while (i < CONNS_MAX && conns[i].fd >= 0)
		i++;
	if (i == CONNS_MAX || poll_add(fd, EV_CONN, 0, i, conns[i].gen, EPOLLIN) < 0) {
		close(fd);
		return;
	}
	conns[i].fd = fd;
}

static void send_reply(uint32_t conn, struct mw_reply *r, const struct answer *a, const int *fds, int count)
{
	struct iovec iov[] = { { r, sizeof(*r) }, { (void *)(mw_uintptr)a->value, a->bytes } };

	r->bytes = (uint16_t)(sizeof(*r) + a->bytes);
	r->value_bytes = a->bytes;
	r->length = a->length;
	if (fdpass_sendv(conns[conn].fd, iov, 2, fds, count, MSG_DONTWAIT) < 0)
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
	send_reply(conn, &r, a, NULL, 0);
}

void app_reply_settled(uint32_t conn, uint32_t conn_gen, const struct mw_req *q, int status, uint32_t slot)
{
	struct waiting *w = &waiting[waiting_count];

	if (waiting_count == WAITING_MAX) { /* late is better than never */
		app_reply(conn, conn_gen, q, status, slot, &nothing);
		return;
	}
	waiting_count++;
	w->conn = conn;
	w->conn_gen = conn_gen;
	w->looked = false;
	make_reply(&w->reply, q, status, slot);
}

bool app_settling(void)
{
	return waiting_count;
}

/* What a request set off is seen in the loop after it: on loopback the kernel is done when its call returns. */
void app_settled(void)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < waiting_count; i++) {
		struct waiting *w = &waiting[i];

		if (!w->looked) {
			w->looked = true;
			waiting[kept++] = *w;
		} else if (lives(w->conn, w->conn_gen)) {
			send_reply(w->conn, &w->reply, &nothing, NULL, 0);
		}
	}
	waiting_count = kept;
}

void app_reply_hello(uint32_t conn, const struct mw_req *q)
{
	struct mw_reply r = { .op = q->op, .seq = q->seq };
	int fds[3] = { ins.arena_fd, ins.kick, INS_ROSTER_FD };

	if (q->u.hello.version != MW_VERSION) {
		app_reply(conn, conns[conn].gen, q, -EPROTONOSUPPORT, 0, &nothing);
		return;
	}
	conns[conn].hello = true;
	send_reply(conn, &r, &nothing, fds, 3);
}

/* One record, if there is one. */
static void take_one(uint32_t conn)
{
	static uint8_t raw[sizeof(struct mw_req) + MW_VALUE_MAX];
	struct mw_req q;
	int fd = -1, count = 1;
	ssize_t n = fdpass_recv(conns[conn].fd, raw, sizeof(raw), &fd, &count, MSG_DONTWAIT);

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0 || msg_request_check(&q, raw, (size_t)n) < 0 || (q.op != MW_OP_HELLO && !conns[conn].hello)) {
		if (count)
			close(fd);
		drop(conn);
		return;
	}
	op_handle(conn, &q, raw + msg_request_bytes(q.op), count ? fd : -1);
}

/* One request a loop: what the application closed before its next one is an event that comes first. */
void app_event(uint32_t conn, uint32_t gen)
{
	if (lives(conn, gen))
		take_one(conn);
}
