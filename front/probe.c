// SPDX-License-Identifier: Apache-2.0
/*
 * probe.c - see probe.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front/probe.h"

static socklen_t address_of(const struct member *m, uint16_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (m->e.has4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, m->e.addr4, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, m->e.addr6, 16);
	return sizeof(*in6);
}

void probe_stop(struct member *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

/* What we cannot ask for want of descriptors or ports is our fault, and says nothing of it. */
static bool is_ours(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM || err == EADDRNOTAVAIL || err == EADDRINUSE;
}

static void start(struct member *m, const struct entry_port *port)
{
	struct sockaddr_storage ss;
	socklen_t bytes = address_of(m, port->port, &ss);

	m->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (m->fd >= 0 && (connect(m->fd, (struct sockaddr *)&ss, bytes) == 0 || errno == EINPROGRESS))
		return;
	if (!is_ours(errno))
		member_probed(m, false);
	probe_stop(m);
}

void probe_ready(struct member *m)
{
	int err = 0;
	socklen_t n = sizeof(err);

	getsockopt(m->fd, SOL_SOCKET, SO_ERROR, &err, &n);
	probe_stop(m);
	member_probed(m, err == 0);
}

void probe_due(struct member *m, int64_t now_ms, int64_t heartbeat_ms)
{
	const struct entry_port *port = member_probe_port(m);

	if (m->fd >= 0 && now_ms >= m->late_ms) {
		probe_stop(m);
		member_probed(m, false);
	}
	if (m->fd >= 0 || now_ms < m->probe_ms || !port || m->e.state != ENTRY_UP)
		return;
	m->probe_ms = now_ms + heartbeat_ms / 2;
	m->late_ms = m->probe_ms;
	start(m, port);
}
