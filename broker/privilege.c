// SPDX-License-Identifier: Apache-2.0
/*
 * privilege.c - options that need a privilege, set on the INS's socket for a process that has it.
 * Trust: the INS names option, value, socket and asker. Option and socket are checked; the asker is a control connection
 * whose other end's process the kernel names. An INS that lies can pass the connection of another process of its own
 * application, and so have, on its own sockets, what that process may have: no more than the list below.
 *
 * A process without the privilege gets EPERM, as natively. With it, it has the whole network of its namespace natively; here
 * it has these options and no other, on sockets of the INS's network; those of the host's, which the INS was given, reach what
 * confine.c lets them reach. Left out: TCP_REPAIR (forges connections that the
 * INS then could not follow) and IPsec policies (the INS's network has no IPsec to configure).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/netns.h"
#include "broker/record.h"
#include "broker/tree.h"
#include "lib/fdpass.h"

#define ADMIN (1ull << CAP_NET_ADMIN)
#define RAW   (1ull << CAP_NET_RAW)

/* Any one of `needs`, as the kernel asks it. `anywhere`: also of a socket of the host's, which reaches nothing more by it. */
static const struct option {
	int level, name;
	uint64_t needs;
	bool anywhere;
} list[] = {
	{ SOL_SOCKET, SO_DEBUG, ADMIN, true },          /* records in the kernel's own trace; inert */
	{ SOL_SOCKET, SO_MARK, ADMIN | RAW, false },    /* policy routing, of which the INS's network has none but the user's */
	{ SOL_SOCKET, SO_RCVMARK, ADMIN | RAW, true },  /* tells the socket what mark a packet has */
	{ SOL_SOCKET, SO_PRIORITY, ADMIN | RAW, true }, /* above 6: the queue on the INS's own interface; loopback has none */
	{ SOL_SOCKET, SO_SNDBUFFORCE, ADMIN, true },    /* kernel memory of this socket, beyond wmem_max */
	{ SOL_SOCKET, SO_RCVBUFFORCE, ADMIN, true },    /* the same, rmem_max */
	{ SOL_SOCKET, SO_BINDTODEVICE, RAW, false },    /* changes a binding; the first one needs nothing */
	{ SOL_SOCKET, SO_BINDTOIFINDEX, RAW, false },
	{ SOL_SOCKET, SO_BUSY_POLL, ADMIN, true },      /* this socket's reads spin for the device */
	{ SOL_SOCKET, SO_PREFER_BUSY_POLL, ADMIN, true },
	{ SOL_SOCKET, SO_BUSY_POLL_BUDGET, ADMIN, true },
	{ SOL_SOCKET, SO_TXTIME, ADMIN, true },         /* when this socket's packets leave */
	{ IPPROTO_TCP, TCP_CONGESTION, ADMIN, true },   /* an algorithm that the host keeps for administrators */
	{ IPPROTO_IP, IP_TRANSPARENT, ADMIN | RAW, false }, /* foreign source addresses: the host drops them (broker/nft.c) */
	{ IPPROTO_IPV6, IPV6_TRANSPARENT, ADMIN | RAW, false },
	{ IPPROTO_IPV6, IPV6_JOIN_ANYCAST, ADMIN, false }, /* an address of the INS's own network */
	{ IPPROTO_IPV6, IPV6_HOPOPTS, RAW, false },     /* extension headers of this socket's packets */
	{ IPPROTO_IPV6, IPV6_DSTOPTS, RAW, false },
	{ IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, RAW, false },
};

static const struct option *find(int level, int name)
{
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (list[i].level == level && list[i].name == name)
			return &list[i];
	return NULL;
}

static uint64_t effective(pid_t pid)
{
	char path[64], line[256];
	unsigned long long caps = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	if (f)
		fclose(f);
	return caps;
}

/*
 * What the process at the other end of a control connection may do now. It is a process of this application (no other can
 * reach that name), whose capabilities count only if they are in our own user namespace. It waits for the answer, so that its
 * number is its own; if it died meanwhile, and the number is another process's, that one must be the application's too.
 */
static uint64_t privileges(int conn, ino_t netns)
{
	struct ucred who = { 0 };
	socklen_t n = sizeof(who);

	if (conn < 0 || getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 || who.pid <= 0)
		return 0;
	if (!tree_in_namespace(who.pid, "user", 0) || !tree_in_namespace(who.pid, "net", netns))
		return 0;
	return effective(who.pid);
}

void privilege_handle(const struct one_ins *ins, ino_t netns, const struct broker_msg *m, const uint8_t *value, uint32_t have, const int fds[2])
{
	struct broker_msg a = *m; /* with the status that the INS got, unless we do better */
	uint32_t most = have ? have : BM_VALUE_MAX; /* without a value its pointer was NULL, or its length 0 */
	uint32_t n = (uint32_t)m->bytes < most ? (uint32_t)m->bytes : most;
	const struct option *o = find(m->level, m->name);

	if (o && m->bytes >= 0 && netns_has_socket(o->anywhere ? -1 : ins->netns, fds[0]) && o->needs & privileges(fds[1], netns))
		a.status = setsockopt(fds[0], m->level, m->name, have ? value : NULL, n) < 0 ? -errno : 0;
	record_answer(ins, &a, NULL, 0);
}
