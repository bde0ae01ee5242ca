// SPDX-License-Identifier: Apache-2.0
/*
 * sandbox.c - what the resolver gives up before it answers anybody.
 * Trust: after this, a resolver taken over by an answer or by an ask has what any user may read, and the network that the INS has.
 *
 * Lookups load modules (nsswitch.conf names them), read files and talk to daemons, so an allow-list would be a guess; what no
 * lookup does is denied instead: executing, namespaces and mounts, other processes, the kernel's wide interfaces.
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/deny.h"
#include "lib/privs.h"
#include "names/names.h"

static const int denied[] = {
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork),
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(kcmp), SCMP_SYS(pidfd_getfd),
	SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo), SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
	SCMP_SYS(open_tree), SCMP_SYS(move_mount), SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(mount_setattr),
	SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(keyctl),
	SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(kexec_load),
	SCMP_SYS(open_by_handle_at), SCMP_SYS(memfd_secret), SCMP_SYS(personality), SCMP_SYS(listen), SCMP_SYS(chmod),
	SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(link), SCMP_SYS(linkat),
};

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

/* Signals: to ourselves alone (abort). The INS is the same user. */
static int deny_others(scmp_filter_ctx f)
{
	return seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(tgkill), 1,
				SCMP_A0_32(SCMP_CMP_NE, (unsigned int)getpid()));
}

static int deny_more(scmp_filter_ctx f)
{
	int r = deny_sockets(f);

	return r < 0 ? r : deny_others(f);
}

int sandbox_enter(void)
{
	int r = privs_drop();

	return r < 0 ? r : deny_calls(denied, sizeof(denied) / sizeof(denied[0]), deny_more);
}
