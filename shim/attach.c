// SPDX-License-Identifier: Apache-2.0
/*
 * attach.c - the control connection: find the INS, map the arena, ask and be answered.
 * Trust: the arena's header and every reply are checked before use; a reply that does not fit ends the connection.
 *
 * The INS listens on the abstract UNIX name "mwcomms" of the application's own network namespace: it can be
 * reached after chroot, setuid and closing of every descriptor, and from nowhere else. Attaching is done by the
 * first call that needs it; a process without IP sockets costs nothing. A process that has attached and then left for
 * another network namespace makes that network's sockets: the kernel's. A child that starts there keeps what it inherits.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
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

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define KICK_MARK  33      /* a signal that no program uses: the kick descriptor's F_GETSIG */
#define HIGH_MOST  4096    /* our descriptors make the table no larger than this; it is copied in each fork */
#define SPARE      8       /* how far a limit is lifted for descriptors of our own */

static uint32_t lock;
static int ctl_fd = -1, ctl_pid, kick_fd = -1;
static uint64_t ctl_cookie, home; /* SO_COOKIE and SO_NETNS_COOKIE of the control connection */
static uint32_t seq;
static int spare = -1;            /* the next connection's socket, made elsewhere */

/* 0 when it is no socket, or the kernel has none. */
static uint64_t socket_cookie(int fd, int which)
{
	uint64_t cookie = 0;
	socklen_t n = sizeof(cookie);

	return syscall(SYS_getsockopt, fd, SOL_SOCKET, which, &cookie, &n) == 0 ? cookie : 0;
}

/* The application may have closed or overwritten it by a system call of its own: never take another's for ours. */
static bool is_ctl(int fd)
{
	return fd >= 0 && fd == ctl_fd && socket_cookie(fd, SO_COOKIE) == ctl_cookie;
}

static bool is_kick(int fd)
{
	return fd >= 0 && fd == kick_fd && syscall(SYS_fcntl, fd, F_GETSIG, 0) == KICK_MARK;
}

static bool owns(int fd)
{
	int saved = errno;
	bool yes = is_ctl(fd) || is_kick(fd);

	errno = saved;
	return yes;
}

bool attach_owns(int fd)
{
	return fd >= 0 && (fd == ctl_fd || fd == kick_fd) && owns(fd);
}

int attach_next(unsigned int from)
{
	int next = -1;

	if ((unsigned int)ctl_fd >= from && attach_owns(ctl_fd))
		next = ctl_fd;
	if ((unsigned int)kick_fd >= from && (next < 0 || kick_fd < next) && attach_owns(kick_fd))
		next = kick_fd;
	return next;
}

/* Makes room above the application's limit, if that can be: what is ours shall not count. */
static bool limit_lift(struct rlimit *old)
{
	struct rlimit up;

	if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, old) < 0)
		return false;
	up = *old;
	up.rlim_cur += SPARE;
	if (up.rlim_cur > up.rlim_max)
		up.rlim_max = up.rlim_cur; /* root may */
	return syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &up, NULL) == 0;
}

static void limit_restore(const struct rlimit *old)
{
	syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, old, NULL);
}

/* Above all that the application may have, or at the top of that: where it counts on no number. */
static int move_high(int fd, const struct rlimit *lim, bool lifted)
{
	int least = lim->rlim_cur <= HIGH_MOST && lifted ? (int)lim->rlim_cur
		  : lim->rlim_cur <= HIGH_MOST		 ? (int)lim->rlim_cur - SPARE
							 : HIGH_MOST - SPARE;
	long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, least > 0 ? least : 0);

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

int attach_socket(void)
{
	return (int)syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

static int dial(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = MW_CONNECT_NAME };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(MW_CONNECT_NAME) - 1);
	int fd = spare >= 0 ? spare : attach_socket();

	spare = -1;
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
	base = space_map(fd, (size_t)st.st_size);
	if (base == MAP_FAILED)
		return -errno;
	r = arena_check(&shim_view, base, (uint64_t)st.st_size);
	if (r < 0)
		space_unmap(base);
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

/* The kick descriptor is the same for all processes, so its mark is too. */
static void keep_kick(int fd, const struct rlimit *lim, bool lifted)
{
	if (owns(kick_fd)) {
		syscall(SYS_close, fd);
		return;
	}
	syscall(SYS_fcntl, fd, F_SETSIG, KICK_MARK);
	kick_fd = move_high(fd, lim, lifted);
}

static void keep_ctl(int fd, const struct rlimit *lim, bool lifted)
{
	if (owns(ctl_fd))
		syscall(SYS_close, ctl_fd);
	ctl_fd = move_high(fd, lim, lifted);
	ctl_cookie = socket_cookie(ctl_fd, SO_COOKIE);
	home = socket_cookie(ctl_fd, SO_NETNS_COOKIE);
	ctl_pid = own_pid();
}

static int hello(int fds[2])
{
	struct mw_req q = { .u.hello.version = MW_VERSION };
	struct mw_reply r;
	int count = 2, rc, fd = dial();

	if (fd < 0)
		return fd;
	rc = exchange(fd, &q, MW_OP_HELLO, -1, &r, NULL, fds, &count);
	if (rc == 0 && count != 2)
		rc = -ENETDOWN;
	if (rc == 0 && !shim_view.slots)
		rc = map_arena(fds[0]);
	if (rc == 0)
		return fd;
	for (int i = 0; i < count; i++)
		syscall(SYS_close, fds[i]);
	syscall(SYS_close, fd);
	return rc;
}

static int connect_and_hello(void)
{
	struct rlimit lim = { 0, 0 };
	bool lifted = limit_lift(&lim);
	int fds[2], fd = hello(fds);

	if (fd >= 0) {
		syscall(SYS_close, fds[0]);
		keep_kick(fds[1], &lim, lifted);
		keep_ctl(fd, &lim, lifted);
	}
	if (lifted)
		limit_restore(&lim);
	return fd < 0 ? fd : 0;
}

/* With the lock held. */
static int attach_locked(void)
{
	if (ctl_pid == own_pid() && is_ctl(ctl_fd))
		return 0;
	return connect_and_hello();
}

/* Signals are held off: a handler that makes a socket would read the answer to another request. */
static void enter(sigset_t *old)
{
	sigset_t all;

	memset(&all, 0xff, sizeof(all)); /* the two that libc keeps for itself too: one cancels threads */
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, old, _NSIG / 8);
	lock_take(&lock);
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
	enter(&old);
	r = attach_locked();
	leave(&old);
	errno = saved;
	return r;
}

int attach_reserve(void)
{
	sigset_t old;
	int r;

	enter(&old);
	r = space_reserve();
	leave(&old);
	return r;
}

/* A socket finds names in the network where it was made; who it is, it says when it connects. */
void attach_left(int fd)
{
	sigset_t old;

	own_pid(); /* notices that we are a child */
	enter(&old);
	spare = fd;
	attach_locked();
	leave(&old);
}

int ctl_call(struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r)
{
	return ctl_call_value(q, op, pass_fd, r, NULL);
}

int ctl_call_value(struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r, void *value)
{
	sigset_t old;
	int rc, count = 0, saved = errno;

	enter(&old);
	rc = attach_locked();
	if (rc == 0)
		rc = exchange(ctl_fd, q, op, pass_fd, r, value, NULL, &count);
	if (rc == -ENETDOWN && is_ctl(ctl_fd)) {
		syscall(SYS_close, ctl_fd);
		ctl_fd = -1;
	}
	leave(&old);
	errno = saved;
	return rc;
}

bool attach_elsewhere(int fd)
{
	return home && socket_cookie(fd, SO_NETNS_COOKIE) != home;
}

int attach_pair(int type_flags, int pair[2])
{
	struct rlimit lim;
	sigset_t old;
	int r;

	if (syscall(SYS_socketpair, AF_UNIX, type_flags, 0, pair) == 0)
		return 0;
	if (errno != EMFILE)
		return -errno;
	enter(&old);
	r = -EMFILE;
	if (limit_lift(&lim)) { /* one of them will be closed at once: there may be room for the other */
		if (syscall(SYS_socketpair, AF_UNIX, type_flags, 0, pair) == 0)
			r = 0;
		limit_restore(&lim);
	}
	leave(&old);
	if (r == 0 && (rlim_t)pair[0] >= lim.rlim_cur) {
		syscall(SYS_close, pair[0]);
		syscall(SYS_close, pair[1]);
		r = -EMFILE;
	}
	return r;
}

void shim_kick(void)
{
	uint64_t one = 1;
	int saved = errno;
	sigset_t old;

	if (!plain_on && !is_kick(kick_fd)) {
		enter(&old);
		if (!is_kick(kick_fd))
			connect_and_hello();
		leave(&old);
	}
	if (kick_fd >= 0)
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
	if (attach_owns(ctl_fd))
		syscall(SYS_close, ctl_fd);
	ctl_fd = -1;
}
