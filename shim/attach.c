// SPDX-License-Identifier: Apache-2.0
/*
 * attach.c - the control connection: find the INS, map the arena, ask and be answered.
 * Trust: the arena's header and every reply are checked before use; a reply that does not fit ends the connection.
 *
 * The INS listens on the abstract UNIX name "mwcomms" of the application's own network namespace: it can be
 * reached after chroot, setuid and closing of every descriptor, and from nowhere else. Attaching is done by the
 * first call that needs it; a process without IP sockets costs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fdpass.h"
#include "link/memfd.h"
#include "shim/lock.h"
#include "shim/shim.h"

struct mw_view shim_view;

static uint32_t lock;
static int ctl_fd = -1, ctl_pid, kick_fd = -1;
static uint32_t seq;

bool attach_owns(int fd)
{
	return fd >= 0 && (fd == ctl_fd || fd == kick_fd);
}

int attach_next(unsigned int from)
{
	int next = -1;

	if (ctl_fd >= 0 && (unsigned int)ctl_fd >= from)
		next = ctl_fd;
	if (kick_fd >= 0 && (unsigned int)kick_fd >= from && (next < 0 || kick_fd < next))
		next = kick_fd;
	return next;
}

/* Our descriptors sit at the top of the table, where no application counts on a number. */
static int move_high(int fd)
{
	struct rlimit lim;
	long high = -1;

	if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim) == 0 && lim.rlim_cur > 16) {
		rlim_t top = lim.rlim_cur < (1u << 20) ? lim.rlim_cur : 1u << 20;

		high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, (int)top - 8);
	}
	if (high < 0)
		return fd;
	syscall(SYS_close, fd);
	return (int)high;
}

int attach_move(int fd)
{
	int *ours = fd == ctl_fd ? &ctl_fd : &kick_fd;
	long n = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, fd + 1);

	if (n < 0)
		n = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
	if (n < 0)
		return -errno;
	*ours = (int)n;
	return 0;
}

static int dial(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = MW_CONNECT_NAME };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(MW_CONNECT_NAME) - 1);
	int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (syscall(SYS_connect, fd, &un, len) < 0) {
		syscall(SYS_close, fd);
		return -ENETDOWN;
	}
	return fd;
}

static int map_arena(int fd)
{
	struct stat st;
	void *base;
	int r;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)MW_PAGE)
		return -ENETDOWN;
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	r = arena_check(&shim_view, base, (uint64_t)st.st_size);
	if (r < 0)
		munmap(base, (size_t)st.st_size);
	return r < 0 ? -ENETDOWN : 0;
}

/* `value`: of an option, q->u.option.have bytes; sent, and the reply's take their place. */
static int exchange(int fd, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r, void *value, int *fds, int *count)
{
	struct mw_reply raw;
	struct iovec out[] = { { q, msg_request_bytes(op) }, { value, value ? q->u.option.have : 0 } };
	struct iovec in[] = { { &raw, sizeof(raw) }, { value, value ? q->u.option.have : 0 } };
	ssize_t n;

	msg_request_seal(q, op, ++seq);
	do
		n = fdpass_sendv(fd, out, 2, &pass_fd, pass_fd >= 0, 0);
	while (n == -EINTR);
	if (n < 0)
		return -ENETDOWN;
	do
		n = fdpass_recvv(fd, in, 2, fds, count, 0);
	while (n == -EINTR);
	if (n <= 0 || msg_reply_check(r, &raw, (size_t)n, q) < 0)
		return -ENETDOWN;
	return r->status;
}

static void keep_fds(int fd, const int fds[2], bool mapped)
{
	if (!mapped) {
		kick_fd = move_high(fds[1]);
		syscall(SYS_close, fds[0]);
	} else {
		syscall(SYS_close, fds[0]);
		syscall(SYS_close, fds[1]);
	}
	ctl_fd = move_high(fd);
	ctl_pid = own_pid();
}

static int connect_and_hello(void)
{
	struct mw_req q = { .u.hello.version = MW_VERSION };
	struct mw_reply r;
	int fds[2], count = 2, rc, fd = dial();
	bool mapped = shim_view.slots != 0;

	if (fd < 0)
		return fd;
	rc = exchange(fd, &q, MW_OP_HELLO, -1, &r, NULL, fds, &count);
	if (rc == 0 && count != 2)
		rc = -ENETDOWN;
	if (rc == 0 && !mapped)
		rc = map_arena(fds[0]);
	if (rc == 0) {
		keep_fds(fd, fds, mapped);
		return 0;
	}
	for (int i = 0; i < count; i++)
		syscall(SYS_close, fds[i]);
	syscall(SYS_close, fd);
	return rc;
}

/* With the lock held. */
static int attach_locked(void)
{
	if (ctl_fd >= 0 && ctl_pid == own_pid())
		return 0;
	return connect_and_hello();
}

/* Signals are held off: a handler that makes a socket would wait for itself. */
static int enter(sigset_t *old)
{
	sigset_t all;

	sigfillset(&all);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, old, _NSIG / 8);
	return lock_take(&lock);
}

static void leave(const sigset_t *old)
{
	lock_drop(&lock);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, _NSIG / 8);
}

int attach(void)
{
	sigset_t old;
	int r, saved = errno;

	if (shim_view.slots)
		return 0;
	r = enter(&old);
	if (r == 0)
		r = attach_locked();
	leave(&old);
	errno = saved;
	return r;
}

int ctl_call(struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r)
{
	return ctl_call_value(q, op, pass_fd, r, NULL);
}

int ctl_call_value(struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r, void *value)
{
	sigset_t old;
	int rc, count = 0, saved = errno;

	rc = enter(&old);
	if (rc == 0)
		rc = attach_locked();
	if (rc == 0)
		rc = exchange(ctl_fd, q, op, pass_fd, r, value, NULL, &count);
	if (rc == -ENETDOWN && ctl_fd >= 0) {
		syscall(SYS_close, ctl_fd);
		ctl_fd = -1;
	}
	leave(&old);
	errno = saved;
	return rc;
}

void shim_kick(void)
{
	uint64_t one = 1;
	int saved = errno;

	syscall(SYS_write, kick_fd, &one, sizeof(one));
	errno = saved;
}

void refused_count(uint32_t kind)
{
	if (attach() == 0)
		__atomic_fetch_add(MW_WORD(&arena_header(&shim_view)->refused[kind]), 1, __ATOMIC_RELAXED);
}

/* The parent's control connection is not ours to use: replies would go to whoever reads first. */
void attach_after_fork(void)
{
	lock = 0;
	if (ctl_fd >= 0)
		syscall(SYS_close, ctl_fd);
	ctl_fd = -1;
}
