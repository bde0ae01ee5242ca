// SPDX-License-Identifier: Apache-2.0
/*
 * verbs.c - questions and orders to the INS: one record each way, as many at once as its socket surely holds.
 * Trust: an answer must name a question that is under way, and carry no more than was asked for; a status that is no errno is EPROTO.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "telem/metric.h"
#include "telem/telem.h"

#define ERRNO_MAX 4095 /* Linux's */

struct asked {
	struct asked *next;
	verb_answer *fn;
	void *arg;
	struct verb_msg m;
	uint8_t value[VERB_VALUE_MAX];
};

static struct asked *waiting, **waiting_end = &waiting; /* not sent yet */
static struct asked *under_way;
static uint32_t in_flight;
static uint64_t last_seq;
static struct watch ins;

static bool send_one(struct asked *a)
{
	struct iovec iov[] = { { &a->m, sizeof(a->m) }, { a->value, verb_has_value(a->m.verb) ? a->m.bytes : 0 } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };

	return sendmsg(ins.fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void send_waiting(void)
{
	while (waiting && in_flight < VERBS_IN_FLIGHT) {
		struct asked *a = waiting;

		if (!send_one(a)) {
			loop_change(&ins, EPOLLIN | EPOLLOUT);
			return;
		}
		waiting = a->next;
		if (!waiting)
			waiting_end = &waiting;
		a->next = under_way;
		under_way = a;
		in_flight++;
	}
	loop_change(&ins, EPOLLIN);
}

int verbs_ask(const struct verb_msg *m, const void *value, verb_answer *fn, void *arg)
{
	struct asked *a = m->bytes <= VERB_VALUE_MAX ? calloc(1, sizeof(*a)) : NULL;

	if (!a)
		return -ENOMEM;
	a->m = *m;
	a->m.seq = ++last_seq;
	a->fn = fn;
	a->arg = arg;
	if (value)
		memcpy(a->value, value, m->bytes);
	*waiting_end = a;
	waiting_end = &a->next;
	send_waiting();
	return 0;
}

static struct asked *take(uint64_t seq)
{
	for (struct asked **at = &under_way; *at; at = &(*at)->next) {
		struct asked *a = *at;

		if (a->m.seq != seq)
			continue;
		*at = a->next;
		in_flight--;
		return a;
	}
	return NULL;
}

/* False when there is no more. */
static bool answer(void)
{
	uint8_t value[VERB_VALUE_MAX] = { 0 };
	struct verb_msg m;
	struct iovec iov[] = { { &m, sizeof(m) }, { value, sizeof(value) } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = recvmsg(ins.fd, &h, MSG_DONTWAIT);
	struct asked *a;

	if (n <= 0)
		return false;
	a = n >= (ssize_t)sizeof(m) ? take(m.seq) : NULL;
	if (!a)
		return true; /* of an earlier life's, or nonsense */
	if (m.status > 0 || m.status < -ERRNO_MAX)
		m.status = -EPROTO;
	metric_verb(a->m.verb, m.status);
	if (m.bytes > (size_t)n - sizeof(m))
		m.bytes = (uint32_t)((size_t)n - sizeof(m));
	if (a->fn)
		a->fn(a->arg, &m, value);
	free(a);
	return true;
}

static void on_ins(struct watch *w, uint32_t events)
{
	(void)w;
	if (events & EPOLLIN)
		while (answer())
			;
	send_waiting();
}

int verbs_init(void)
{
	ins = (struct watch){ TELEM_VERBS_FD, on_ins };
	last_seq = loop_now_ns(); /* answers to an earlier life's may still come */
	return loop_add(&ins, EPOLLIN);
}
