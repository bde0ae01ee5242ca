// SPDX-License-Identifier: Apache-2.0
/*
 * deny.c - see deny.h. tools/calls.py makes doc/threat-model.md's list of what stands here.
 * Trust: as in the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/deny.h"

#define LOW 0xffffffffu

static const int always[] = {
	/* other programs */
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork),
	/* other processes */
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise), SCMP_SYS(kcmp), SCMP_SYS(pidfd_getfd),
	/* signals; tgkill: to itself alone */
	SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo), SCMP_SYS(pidfd_send_signal),
	/* namespaces and mounts */
	SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(open_tree),
	SCMP_SYS(move_mount), SCMP_SYS(fsopen), SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(mount_setattr),
	/* the kernel's wide interfaces */
	SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
	SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(memfd_secret), SCMP_SYS(personality), SCMP_SYS(modify_ldt),
	/* files by another way, and their owners and kinds */
	SCMP_SYS(open_by_handle_at), SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(link),
	SCMP_SYS(linkat),
	/* being connected to */
	SCMP_SYS(listen),
};

/* Whom a descriptor's events signal, who would be signalled for us. */
static const unsigned int owners[] = { F_SETOWN, 15 /* F_SETOWN_EX */, 10 /* F_SETSIG */ };
static const unsigned int owner_ioctls[] = { FIOASYNC, FIOSETOWN, SIOCSPGRP };

static int deny_owners(scmp_filter_ctx f)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, LOW, owners[i]));
	for (size_t i = 0; i < sizeof(owner_ioctls) / sizeof(owner_ioctls[0]) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, LOW, owner_ioctls[i]));
	return r;
}

/* Threads, but no processes, which could be in namespaces of their own; clone3() hides its flags, and libc does without. */
static int deny_processes(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	return r ? r : seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
}

/* A number's upper half is the kernel's to ignore: one that has any is nobody's honest call. */
static int deny_others(scmp_filter_ctx f)
{
	return seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid()));
}

/* Sockets of TCP, UDP, or whatever a type is by itself; SCTP, ping, multipath and the like are the kernel's less trodden paths. */
static int deny_protocols(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPROTONOSUPPORT), SCMP_SYS(socket), 1, SCMP_A2(SCMP_CMP_GT, IPPROTO_UDP));

	for (unsigned int i = 0; i < IPPROTO_UDP && r == 0; i++)
		if (i != IPPROTO_IP && i != IPPROTO_TCP)
			r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPROTONOSUPPORT), SCMP_SYS(socket), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, LOW, i));
	return r;
}

static int deny_list(scmp_filter_ctx f, const int *calls, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
	return r;
}

int deny_calls(const int *calls, size_t count, int (*more)(scmp_filter_ctx f))
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int r = f ? seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) : -ENOMEM;

	if (r == 0)
		r = deny_list(f, always, sizeof(always) / sizeof(always[0]));
	if (r == 0)
		r = deny_list(f, calls, count);
	if (r == 0)
		r = deny_owners(f);
	if (r == 0)
		r = deny_processes(f);
	if (r == 0)
		r = deny_others(f);
	if (r == 0)
		r = deny_protocols(f);
	if (r == 0)
		r = more(f);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r;
}
