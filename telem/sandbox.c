// SPDX-License-Identifier: Apache-2.0
/*
 * sandbox.c - what telemetry gives up before it serves anybody.
 * Trust: after this it has its descriptors, and the INS's ear for verbs; of new sockets those that reach IPFIX collectors.
 */
#include <errno.h>
#include <sys/socket.h>

#include "lib/deny.h"
#include "lib/privs.h"
#include "telem/telem.h"

static const int denied[] = {
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd), SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
	SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(keyctl),
	SCMP_SYS(open), SCMP_SYS(creat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat2),
	SCMP_SYS(open_by_handle_at), SCMP_SYS(listen), SCMP_SYS(bind),
};

/* IPFIX collectors are reached by IP; all else is given. */
static int deny_families(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GE, AF_MAX));

	for (int family = 0; family < AF_MAX && r == 0; family++)
		if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
			r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
					     SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff, (scmp_datum_t)family));
	return r;
}

int sandbox_enter(void)
{
	int r = privs_drop();

	return r < 0 ? r : deny_calls(denied, sizeof(denied) / sizeof(denied[0]), deny_families);
}
