// SPDX-License-Identifier: Apache-2.0
/*
 * sandbox.c - what the resolver gives up before it answers anybody.
 * Trust: after this, a resolver taken over by an answer or by an ask has what any user may read, and the network that the INS has.
 *
 * Lookups load modules (nsswitch.conf names them), read files and talk to daemons, so an allow-list would be a guess; what no
 * lookup does is denied instead (lib/deny.c), and with Landlock files are only read.
 */
#include <errno.h>
#include <sys/socket.h>

#include "lib/deny.h"
#include "lib/landlock.h"
#include "lib/privs.h"
#include "names/names.h"

/* Lookups use UNIX (daemons), INET, INET6 and NETLINK (which addresses are there). */
static int deny_sockets(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0_32(SCMP_CMP_GT, AF_NETLINK));

	for (unsigned int af = AF_INET + 1; af < AF_NETLINK && r == 0; af++)
		if (af != AF_INET6)
			r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
					     SCMP_A0_32(SCMP_CMP_EQ, af));
	return r;
}

/* Signals are the filter's to refuse: our own end ends the relay, which is another domain, and that is one. */
static int confine(void)
{
	static const char *const all[] = { "/", NULL }, *const null[] = { "/dev/null", NULL };

	return landlock_enter(&(struct landlock_room){ .readable = all, .writable = null, .signals = true });
}

int sandbox_enter(void)
{
	int r = privs_drop();

	if (r == 0)
		r = confine();
	return r < 0 ? r : deny_calls(NULL, 0, deny_sockets);
}
