// SPDX-License-Identifier: Apache-2.0
/*
 * member.c - see member.h.
 * Trust: as in the header.
 */
#include <netinet/in.h>
#include <string.h>

#include "front/member.h"

bool member_take(struct member *m, const struct entry *e, int64_t now_ms)
{
	bool moved = m->e.has4 != e->has4 || m->e.has6 != e->has6 || memcmp(m->e.addr4, e->addr4, sizeof(e->addr4)) ||
		     memcmp(m->e.addr6, e->addr6, sizeof(e->addr6));

	if (!m->beat_ms || m->e.heartbeat < e->heartbeat || m->e.heartbeat > e->heartbeat)
		m->beat_ms = now_ms;
	if (moved)
		m->probed = m->serves = false;
	m->e = *e;
	return moved;
}

static bool is_forwarded(const struct entry_port *p)
{
	return p->host_port && !entry_port_is_loopback(p);
}

const struct entry_port *member_probe_port(const struct member *m)
{
	for (size_t i = 0; i < m->e.port_count; i++)
		if (m->e.ports[i].proto == IPPROTO_TCP && is_forwarded(&m->e.ports[i]))
			return &m->e.ports[i];
	return NULL;
}

static bool has_forwarded(const struct member *m)
{
	for (size_t i = 0; i < m->e.port_count; i++)
		if (is_forwarded(&m->e.ports[i]))
			return true;
	return false;
}

/* The first one decides; afterwards as many in a row as may be missed. */
void member_probed(struct member *m, bool good)
{
	m->passed = good ? m->passed + 1 : 0;
	m->failed = good ? 0 : m->failed + 1;
	if (!m->probed || m->passed >= MEMBER_MISSES)
		m->serves = good;
	if (m->failed >= MEMBER_MISSES)
		m->serves = false;
	m->probed = true;
}

const char *member_refusal(const struct member *m, int64_t heard_ms, int64_t heartbeat_ms)
{
	if (m->e.state == ENTRY_DRAIN)
		return "it is drained";
	if (m->e.state != ENTRY_UP)
		return m->e.state == ENTRY_STARTING ? "it starts" : "it is down";
	if (heard_ms - m->beat_ms > MEMBER_MISSES * heartbeat_ms)
		return "it has no heartbeat";
	if (!has_forwarded(m))
		return "it publishes nothing";
	if (member_probe_port(m) && !m->probed)
		return "it was not seen to serve yet";
	return member_probe_port(m) && !m->serves ? "it does not serve" : NULL;
}
