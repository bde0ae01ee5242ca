// SPDX-License-Identifier: Apache-2.0
/*
 * owner.c - asks the broker about processes that own sockets: here no process can be seen or signalled.
 * Trust: the broker's answers; it checks whose process it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "link/owner.h"
#include "telem/netflow.h"

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
	struct asked *a = pid ? calloc(1, sizeof(*a)) : NULL;

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

bool owner_answers(void)
{
	struct owner_ask m;
	ssize_t n = recv(TELEM_BROKER_FD, &m, sizeof(m), MSG_DONTWAIT);

	if (n != sizeof(m))
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	for (struct asked **at = &under_way; *at; at = &(*at)->next) {
		struct asked *a = *at;

		if (a->m.seq != m.seq)
			continue;
		*at = a->next;
		in_flight--;
		a->fn(a->arg, m.status);
		free(a);
		break;
	}
	send_waiting();
	return true;
}
