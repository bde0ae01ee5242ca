// SPDX-License-Identifier: Apache-2.0
/*
 * way.c - by which of its handles a datagram socket answers a peer.
 * Trust: peers choose their addresses; the table is bounded, and a wrong entry is only ever that peer's own.
 *
 * Clients on the host's own loopback come by `extra` handles, which the broker made there. Who was seen on one is
 * answered by it: `seen` is a table of such peers, in sets, and a new one takes the place of its set's oldest.
 */
#include <errno.h>
#include <netinet/in.h>

#include "chan/msg.h"
#include "ins/state.h"
#include "ins/way.h"
#include "lib/addr.h"

#define SEEN_SETS 1024
#define SEEN_WAYS 8
#define LOOPBACK_INDEX 1

struct way {
	uint32_t slot, gen, sub; /* sub 0: none */
	uint32_t used;           /* when, by the clock */
	struct mw_addr peer;
};

static struct {
	uint32_t clock;
	struct way seen[SEEN_SETS][SEEN_WAYS];
} *kept;

int way_init(void)
{
	kept = state_block("ways", sizeof(*kept));
	return kept ? 0 : -ENOMEM;
}

static struct way *set_of(const struct isock *s, const struct mw_addr *peer)
{
	uint32_t h = slot_of(s) * 31u + peer->port;

	for (int i = 0; i < 16; i++)
		h = h * 31u + peer->addr[i];
	return kept->seen[(h ^ h >> 16) % SEEN_SETS];
}

static struct way *find_way(const struct isock *s, struct way *set, const struct mw_addr *peer)
{
	for (struct way *w = set; w < set + SEEN_WAYS; w++)
		if (w->sub && w->slot == slot_of(s) && w->gen == s->gen && w->sub <= s->extra_count &&
		    w->peer.port == peer->port && !memcmp(w->peer.addr, peer->addr, sizeof(peer->addr)))
			return w;
	return NULL;
}

uint32_t way_to(const struct isock *s, const struct mw_addr *peer)
{
	const struct way *w = s->extra_count && peer->family ? find_way(s, set_of(s, peer), peer) : NULL;

	return w ? w->sub : 0;
}

static struct way *oldest(struct way *set)
{
	struct way *w = set;

	for (int i = 1; i < SEEN_WAYS; i++)
		if (!set[i].sub || (w->sub && kept->clock - set[i].used > kept->clock - w->used))
			w = &set[i];
	return w;
}

/* An entry is none while it is written. */
void way_note(const struct isock *s, const struct mw_addr *peer, uint32_t sub)
{
	struct way *set = set_of(s, peer), *w = find_way(s, set, peer);

	if (!w && !sub)
		return;
	if (!w)
		w = oldest(set);
	mw_store(&w->sub, 0u);
	mw_order();
	w->slot = slot_of(s);
	w->gen = s->gen;
	w->used = ++kept->clock;
	w->peer = *peer;
	mw_order();
	mw_store(&w->sub, sub);
}

static bool wants(const struct isock *s, int level, int name)
{
	int on = 0;
	uint32_t n = sizeof(on);

	return ins.stack->getopt(s->tcp, level, name, &on, &n) == 0 && on;
}

static void add_control(struct mw_dgram *d, int level, int type, const void *value, uint32_t bytes)
{
	struct mw_control c = { .bytes = sizeof(c) + bytes, .level = level, .type = type };

	memcpy(d->control + d->control_bytes, &c, sizeof(c));
	memcpy(d->control + d->control_bytes + sizeof(c), value, bytes);
	d->control_bytes += ((uint32_t)c.bytes + 7) & ~7u;
}

/* What the socket's own options say, told for a datagram that came by an extra: to a loopback address, on loopback. */
void way_control(const struct isock *s, uint32_t sub, struct mw_dgram *d)
{
	struct in_pktinfo four = { .ipi_ifindex = LOOPBACK_INDEX };
	struct in6_pktinfo six = { .ipi6_ifindex = LOOPBACK_INDEX };
	struct mw_addr local;

	memset(d->control, 0, sizeof(d->control));
	d->control_bytes = 0;
	if (ins.stack->name_of(handle_of(s, sub), &local, false) < 0)
		return;
	if (local.family == MW_FAMILY_IP4 && wants(s, IPPROTO_IP, IP_PKTINFO)) {
		memcpy(&four.ipi_addr, local.addr, 4);
		four.ipi_spec_dst = four.ipi_addr;
		add_control(d, IPPROTO_IP, IP_PKTINFO, &four, sizeof(four));
	}
	if (s->family == MW_FAMILY_IP6 && wants(s, IPPROTO_IPV6, IPV6_RECVPKTINFO)) {
		addr_map(&local);
		memcpy(&six.ipi6_addr, local.addr, 16);
		add_control(d, IPPROTO_IPV6, IPV6_PKTINFO, &six, sizeof(six));
	}
}
