// SPDX-License-Identifier: Apache-2.0
/*
 * sandbox.c - what an INS gives up before it serves anybody.
 * Trust: after this, a compromised INS has its sockets, its shared memory and the broker's ear.
 *
 * Stages, in order. Each must leave the next one possible:
 *   1. no file system: own mount namespace, root moved to an empty read-only tmpfs
 *   2. no privileges (lib/privs.h)
 *   3. seccomp: the system calls of the loop, and of who starts it; anything else kills the process
 *   4. in the worker: the system calls of the loop, and no other
 * `memory` is allowed only for builds with a sanitizer, whose runtime needs it.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ins/ins.h"
#include "lib/privs.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* Where the root is no mount point (a plain chroot, an initramfs): a directory that is empty, and deleted. */
static int enter_deleted(void)
{
	char path[] = "/tmp/mw-XXXXXX";

	if (!mkdtemp(path) || chdir(path) < 0 || rmdir(path) < 0 || chroot(".") < 0)
		return -errno;
	return 0;
}

/* Where the root has no parent (an initramfs): what is moved on top of it is the root from then on. */
static int enter_moved(void)
{
	return mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0 ? -errno : 0;
}

static int enter_tmpfs(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return errno == EINVAL ? enter_deleted() : -errno;
	if (mount("none", "/tmp", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=555") < 0 ||
	    chdir("/tmp") < 0)
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return errno == EINVAL ? enter_moved() : -errno;
	return umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ? -errno : 0;
}

static int hide_files(void)
{
	int flags = geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS;

	return unshare(flags | CLONE_NEWIPC | CLONE_NEWUTS) < 0 ? -errno : enter_tmpfs();
}

static const int calls[] = {
	SCMP_SYS(accept4), SCMP_SYS(bind), SCMP_SYS(clock_gettime), SCMP_SYS(close), SCMP_SYS(connect),
	SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(exit), SCMP_SYS(exit_group),
	SCMP_SYS(getpeername), SCMP_SYS(getrandom), SCMP_SYS(getsockname), SCMP_SYS(getsockopt), SCMP_SYS(ioctl),
	SCMP_SYS(listen), SCMP_SYS(madvise), SCMP_SYS(pipe2), SCMP_SYS(read), SCMP_SYS(readv),
	SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg), SCMP_SYS(sendmsg), SCMP_SYS(sendto), SCMP_SYS(setsockopt), SCMP_SYS(shutdown),
	SCMP_SYS(write),
};

static const int keeper_calls[] = {
	SCMP_SYS(clone), SCMP_SYS(dup3), SCMP_SYS(fcntl), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(kill), SCMP_SYS(poll), SCMP_SYS(prctl), SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(wait4),
};

/* Rings come and go: the other machine's pages are mapped, never to be executed. */
static int allow_maps(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	return r == 0 ? seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(munmap), 0) : r;
}

static const int sanitizer_calls[] = {
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(brk), SCMP_SYS(sigaltstack), SCMP_SYS(gettid),
	SCMP_SYS(getpid), SCMP_SYS(futex), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(openat),
	SCMP_SYS(readlink), SCMP_SYS(prctl), SCMP_SYS(clone), SCMP_SYS(sched_yield), SCMP_SYS(tgkill), SCMP_SYS(mremap),
	SCMP_SYS(newfstatat), SCMP_SYS(fstat), SCMP_SYS(getrlimit), SCMP_SYS(prlimit64), SCMP_SYS(sched_getaffinity),
};

static int allow(scmp_filter_ctx f, const int *list, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, list[i], 0);
	return r;
}

/* socket() for TCP, socketpair() for doorbells; no other family. */
static int allow_sockets(scmp_filter_ctx f)
{
	struct scmp_arg_cmp family = { .arg = 0, .op = SCMP_CMP_EQ };
	int r = 0;

	for (int af = 0; af <= AF_INET6 && r == 0; af++) {
		family.datum_a = (scmp_datum_t)af;
		if (af == AF_INET || af == AF_INET6)
			r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, family);
		else if (af == AF_UNIX)
			r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, family);
	}
	return r;
}

/* The keeper's, or the worker's, which is made here because that one may not make it. */
static scmp_filter_ctx make_filter(bool keeper)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!f)
		return NULL;
	r = allow(f, calls, sizeof(calls) / sizeof(calls[0]));
	if (r == 0)
		r = allow_sockets(f);
	if (r == 0 && keeper)
		r = allow(f, keeper_calls, sizeof(keeper_calls) / sizeof(keeper_calls[0]));
	if (r == 0 && ins.door && !SANITIZED)
		r = allow_maps(f);
	if (r == 0 && SANITIZED)
		r = allow(f, sanitizer_calls, sizeof(sanitizer_calls) / sizeof(sanitizer_calls[0]));
	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		return f;
	seccomp_release(f);
	return NULL;
}

#define PROGRAM_MAX 1024 /* instructions */

static struct sock_filter program[PROGRAM_MAX];
static unsigned short instructions;

static int prepare_worker(void)
{
	scmp_filter_ctx f = make_filter(false);
	int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t n = -1;

	if (f && fd >= 0 && seccomp_export_bpf(f, fd) == 0)
		n = pread(fd, program, sizeof(program), 0);
	if (fd >= 0)
		close(fd);
	seccomp_release(f);
	instructions = (unsigned short)(n > 0 ? (size_t)n / sizeof(program[0]) : 0);
	return n > 0 && (size_t)n < sizeof(program) ? 0 : -ENOMEM;
}

static int filter_calls(void)
{
	int r = prepare_worker();
	scmp_filter_ctx f = r == 0 ? make_filter(true) : NULL;

	if (r == 0)
		r = f ? seccomp_load(f) : -ENOMEM;
	seccomp_release(f);
	return r;
}

int sandbox_worker(void)
{
	struct sock_fprog p = { .len = instructions, .filter = program };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) < 0 ? -errno : 0;
}

int sandbox_enter(const char **what)
{
	static const struct {
		int (*enter)(void);
		const char *what;
	} stages[] = {
		{ hide_files, "leave the file system (mount namespace)" },
		{ privs_drop, "become nobody, without capabilities" },
		{ filter_calls, "install the seccomp filter" },
	};

	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
		int r = stages[i].enter();

		*what = stages[i].what;
		if (r < 0)
			return r;
	}
	return 0;
}
