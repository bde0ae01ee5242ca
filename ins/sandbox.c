// SPDX-License-Identifier: Apache-2.0
/*
 * sandbox.c - what an INS gives up before it serves anybody.
 * Trust: after this, a compromised INS has its sockets, its shared memory and the broker's ear.
 *
 * Stages, in order. Each must leave the next one possible:
 *   1. no file system: own mount namespace, root moved to an empty read-only tmpfs
 *   2. no privileges (lib/privs.h)
 *   3. Landlock, where the kernel has it: nobody outside is signalled, no abstract UNIX name reached (lib/landlock.h)
 *   4. seccomp: the system calls of all three processes (calls.c); anything else kills the process
 *   5. in the keeper and in each worker: its own system calls, and no other
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

#include "ins/calls.h"
#include "ins/sandbox.h"
#include "lib/landlock.h"
#include "lib/privs.h"

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

/* The owner that a socket has for SIGURG is always a worker: nobody outside needs to be signalled. */
static int confine(void)
{
	return landlock_enter(&(struct landlock_room){ .signals = false });
}

#define PROGRAM_MAX 1024 /* instructions */

struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short length;
};

static struct program of_worker, of_keeper; /* made before all, because who needs them may not make them */

static int prepare(struct program *p, enum calls_of whose)
{
	scmp_filter_ctx f = calls_filter(whose, ins.door);
	int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t n = -1;

	if (f && fd >= 0 && seccomp_export_bpf(f, fd) == 0)
		n = pread(fd, p->code, sizeof(p->code), 0);
	if (fd >= 0)
		close(fd);
	seccomp_release(f);
	p->length = (unsigned short)(n > 0 ? (size_t)n / sizeof(p->code[0]) : 0);
	return n > 0 && (size_t)n < sizeof(p->code) ? 0 : -ENOMEM;
}

static int filter_calls(void)
{
	int r = prepare(&of_worker, CALLS_WORKER);
	scmp_filter_ctx f;

	if (r == 0)
		r = prepare(&of_keeper, CALLS_KEEPER);
	f = r == 0 ? calls_filter(CALLS_STARTER, ins.door) : NULL;
	if (r == 0)
		r = f ? seccomp_load(f) : -ENOMEM;
	seccomp_release(f);
	return r;
}

static int install(struct program *p)
{
	struct sock_fprog it = { .len = p->length, .filter = p->code };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &it) < 0 ? -errno : 0;
}

int sandbox_worker(void)
{
	return install(&of_worker);
}

int sandbox_keeper(void)
{
	return install(&of_keeper);
}

int sandbox_enter(const char **what)
{
	static const struct {
		int (*enter)(void);
		const char *what;
	} stages[] = {
		{ hide_files, "leave the file system (mount namespace)" },
		{ privs_drop, "become nobody, without capabilities" },
		{ confine, "confine itself (Landlock)" },
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
