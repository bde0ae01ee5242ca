// SPDX-License-Identifier: Apache-2.0
/*
 * sandbox.c - what telemetry gives up before it serves anybody.
 * Trust: after this it has its descriptors, and the INS's ear for verbs; of new sockets those that reach IPFIX collectors.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "lib/deny.h"
#include "lib/landlock.h"
#include "lib/privs.h"
#include "telem/telem.h"

static const int denied[] = {
	/* files but for reading, sockets but for connecting */
	SCMP_SYS(open), SCMP_SYS(creat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2),
	SCMP_SYS(bind),
};

/* IPFIX collectors are reached by IP; all else is given. */
static int deny_families(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GE, AF_MAX));

	for (int family = 0; family < AF_MAX && r == 0; family++)
		if (family != AF_INET && family != AF_INET6)
			r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
					     SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff, (scmp_datum_t)family));
	return r;
}

/* Nothing is loaded any more. */
static int deny_more(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));

	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
	return r < 0 ? r : deny_families(f);
}

/* What is opened: processes' names. */
static int confine(void)
{
	static const char *const readable[] = { "/proc", NULL };

	return landlock_enter(&(struct landlock_room){ .readable = readable });
}

int sandbox_enter(void)
{
	int r = privs_drop();

	if (r == 0)
		r = confine();
	return r < 0 ? r : deny_calls(denied, sizeof(denied) / sizeof(denied[0]), deny_more);
}
