// SPDX-License-Identifier: Apache-2.0
/*
 * owner.c - asks the broker about processes that own sockets: here no process can be seen or signalled.
 * Trust: the broker's answers; it checks whose process it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fdpass.h"
#include "telem/netflow.h"
#include "telem/owner.h"
#include "telem/peers.h"

struct asked {
	struct asked *next;
	owner_done *fn;
	void *arg;
	struct owner_ask m;
};

static struct asked *waiting, **waiting_end = &waiting; /* not sent yet */
static struct asked *under_way;
static uint32_t in_flight;
static uint64_t last_seq;

/* What cannot be sent now waits for an answer to another, of which there are then some to come. */
static void send_waiting(void)
{
	while (waiting && in_flight < OWNER_IN_FLIGHT) {
		struct asked *a = waiting;

		if (send(TELEM_BROKER_FD, &a->m, sizeof(a->m), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		waiting = a->next;
		if (!waiting)
			waiting_end = &waiting;
		a->next = under_way;
		under_way = a;
		in_flight++;
	}
}

void owner_asks(uint32_t kind, uint32_t pid, owner_done *fn, void *arg)
{
	struct asked *a = pid || kind == OWNER_METRICS ? calloc(1, sizeof(*a)) : NULL;

	if (!a) {
		fn(arg, pid ? -ENOMEM : -ESRCH);
		return;
	}
	a->m = (struct owner_ask){ .seq = ++last_seq, .kind = kind, .pid = pid };
	a->fn = fn;
	a->arg = arg;
	*waiting_end = a;
	waiting_end = &a->next;
	send_waiting();
}

/* The answer to one of ours. fd: what came with it, or -1. */
static void answered(const struct owner_ask *m, int fd)
{
	for (struct asked **at = &under_way; *at; at = &(*at)->next) {
		struct asked *a = *at;

		if (a->m.seq != m->seq || a->m.kind != m->kind)
			continue;
		if (m->kind == OWNER_METRICS && m->status == 1) {
			if (fd >= 0) /* or we have no room for one more */
				peers_pipe(fd);
			return;
		}
		*at = a->next;
		in_flight--;
		a->fn(a->arg, m->status);
		free(a);
		break;
	}
	if (fd >= 0)
		close(fd);
}

bool owner_answers(void)
{
	struct owner_ask m;
	int fd = -1, count = 1;
	ssize_t n = fdpass_recv(TELEM_BROKER_FD, &m, sizeof(m), &fd, &count, MSG_DONTWAIT);

	if (n != sizeof(m))
		return n == -EAGAIN || n == -EINTR;
	if (m.kind == OWNER_WRITE && count)
		peers_write(fd);
	else if (m.kind == OWNER_NETFLOW && count)
		netflow_take(fd);
	else
		answered(&m, count ? fd : -1);
	send_waiting();
	return true;
}
