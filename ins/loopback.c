// SPDX-License-Identifier: Apache-2.0
/*
 * loopback.c - with --host-loopback, a connect() that our own loopback refuses is tried on the host's.
 * Trust: the broker decides, by its own option. The address may be the application's invention: the socket that the broker
 * gives reaches loopback only.
 *
 * Our own loopback comes first, so whatever the application listens on is what it finds there. When that refuses, the socket
 * stays "connecting", the broker is asked for a socket made in the host's network, and this one takes the handle's place:
 * same options, same name if it was given one, then connect(). What that says is final.
 * Requests in flight are few, so that neither we nor the broker ever wait to send; the rest wait by a flag in their slot.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ins/ins.h"
#include "lib/addr.h"

#define IN_FLIGHT_MAX 64

static uint32_t in_flight, last_slot;
static bool some_wait;

/* What an application may have set before it connected. */
static const struct {
	int level, name;
} kept[] = {
	{ SOL_SOCKET, SO_REUSEADDR }, { SOL_SOCKET, SO_REUSEPORT }, { SOL_SOCKET, SO_KEEPALIVE },
	{ SOL_SOCKET, SO_LINGER }, { SOL_SOCKET, SO_SNDBUF }, { SOL_SOCKET, SO_RCVBUF }, { SOL_SOCKET, SO_RCVLOWAT },
	{ SOL_SOCKET, SO_OOBINLINE }, { SOL_SOCKET, SO_PRIORITY }, { SOL_SOCKET, SO_MAX_PACING_RATE },
	{ IPPROTO_TCP, TCP_NODELAY }, { IPPROTO_TCP, TCP_CORK }, { IPPROTO_TCP, TCP_KEEPIDLE },
	{ IPPROTO_TCP, TCP_KEEPINTVL }, { IPPROTO_TCP, TCP_KEEPCNT }, { IPPROTO_TCP, TCP_SYNCNT },
	{ IPPROTO_TCP, TCP_LINGER2 }, { IPPROTO_TCP, TCP_CONGESTION }, { IPPROTO_TCP, TCP_USER_TIMEOUT },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT }, { IPPROTO_IP, IP_TOS }, { IPPROTO_IP, IP_TTL },
	{ IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT }, { IPPROTO_IPV6, IPV6_V6ONLY }, { IPPROTO_IPV6, IPV6_TCLASS },
	{ IPPROTO_IPV6, IPV6_UNICAST_HOPS },
};

static void copy_option(int from, int to, int level, int name)
{
	uint8_t was[32], is[32];
	uint32_t n = sizeof(was), m = sizeof(is);
	int bytes;

	if (ins.stack->getopt(from, level, name, was, &n) < 0 || ins.stack->getopt(to, level, name, is, &m) < 0 ||
	    (n == m && !memcmp(was, is, n)))
		return;
	if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_RCVBUF)) { /* Linux tells twice what was set */
		memcpy(&bytes, was, sizeof(bytes));
		bytes /= 2;
		memcpy(was, &bytes, sizeof(bytes));
	}
	ins.stack->setopt(to, level, name, was, n);
}

/* Makes `to` the socket's handle and connects it. As connect(). */
static int take_place(struct isock *s, int to, const struct mw_addr *peer)
{
	struct mw_addr own;
	int r = 0;

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		copy_option(s->tcp, to, kept[i].level, kept[i].name);
	if (s->flags & F_BOUND && ins.stack->name_of(s->tcp, &own, false) == 0)
		r = ins.stack->bind(to, &own);
	ins.stack->close(s->tcp);
	s->tcp = to;
	if (r == 0)
		r = ins.stack->connect(to, peer);
	if (r == 0 || r == -EINPROGRESS)
		r = poll_add(to, EV_TCP, 0, slot_of(s), s->gen, TCP_MASK); /* tells also if it was decided at once */
	return r;
}

static void ask(struct isock *s)
{
	struct broker_msg m = { .kind = BM_LOOPBACK, .slot = slot_of(s), .gen = s->gen, .addr = flow_of(s)->peer };

	s->flags |= F_LOOP_ASKED;
	in_flight++;
	uplink_send(&m, -1);
}

static void ask_waiting(void)
{
	for (uint32_t i = 0; some_wait && in_flight < IN_FLIGHT_MAX; i++) {
		struct isock *s = sock_at(last_slot);

		last_slot = (last_slot + 1) % ins.view.slots;
		if ((s->flags & (F_LOOP_WAITS | F_LOOP_ASKED)) == F_LOOP_WAITS)
			ask(s);
		some_wait = i < ins.view.slots;
	}
}

bool loopback_ask(struct isock *s)
{
	struct mw_addr peer = flow_of(s)->peer;

	if (!ins.host_loopback || s->flags & F_LOOP_ASKED || !(addr_is_loopback(&peer) || addr_is_any(&peer)))
		return false;
	s->flags |= F_LOOP_WAITS;
	if (in_flight < IN_FLIGHT_MAX)
		ask(s);
	else
		some_wait = true;
	return true;
}

void loopback_answer(const struct broker_msg *m, int *fd)
{
	struct isock *s = slots_find(m->slot, m->gen);
	int r = -ECONNREFUSED; /* as our own loopback said, when the broker has no socket to give */

	in_flight--;
	ask_waiting();
	if (!s || !(s->flags & F_LOOP_WAITS))
		return;
	s->flags &= ~F_LOOP_WAITS;
	if (m->status == 0 && *fd >= 0) {
		r = take_place(s, *fd, &m->addr);
		*fd = -1;
	}
	if (r < 0)
		data_fail(s, -r, MW_END_REFUSED);
}
