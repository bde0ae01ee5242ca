// SPDX-License-Identifier: Apache-2.0
/*
 * attach.c - the control connections: find an INS, map its arena, ask and be answered.
 * Trust: an arena's header and every reply are checked before use; a reply that does not fit ends the connection.
 *
 * INS number 0 listens on the abstract UNIX name "mwcomms" of the application's own network namespace, number N on "mwcomms-N":
 * they can be reached after chroot, setuid and closing of every descriptor, and from nowhere else. Attaching is done by the
 * first call that needs it; a process without IP sockets costs nothing. A process that has attached and then left for
 * another network namespace makes that network's sockets: the kernel's. A child that starts there keeps what it inherits.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/attach.h"
#include "chan/msg.h"
#include "lib/fdpass.h"
#include "link/device.h"
#include "link/memfd.h"
#include "shim/fdtab.h"
#include "shim/fork.h"
#include "shim/lock.h"
#include "shim/plain.h"
#include "shim/roster.h"
#include "shim/sock.h"
#include "shim/space.h"

struct mw_view shim_views[MW_INS_MAX];
bool shim_attached;

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define KICK_MARK  33      /* a signal that no program uses: the kick descriptor's F_GETSIG */
#define HIGH_MOST  4096    /* our descriptors make the table no larger than this; it is copied in each fork */
#define SPARE      8       /* how far a limit is lifted for descriptors of our own, and 2 more for each further INS */

/* What we have of each INS. Those at or above `link_count` are not set up. */
static struct link {
	int ctl, ctl_pid, kick;
	bool emptied;	     /* its INS has ended, and its arena is not held any more */
	uint32_t kicking;    /* threads that may be about to write to `kick` */
	uint64_t ctl_cookie; /* SO_COOKIE of the control connection */
} links[MW_INS_MAX];
static uint32_t link_count;

static uint32_t lock;
static uint64_t home;             /* SO_NETNS_COOKIE of the control connections */
static uint32_t seq;
static struct spares *spare;      /* the next connections' sockets, made elsewhere */

/* 0 when it is no socket, or the kernel has none. */
static uint64_t socket_cookie(int fd, int which)
{
	uint64_t cookie = 0;
	socklen_t n = sizeof(cookie);

	return syscall(SYS_getsockopt, fd, SOL_SOCKET, which, &cookie, &n) == 0 ? cookie : 0;
}

/* The application may have closed or overwritten it by a system call of its own: never take another's for ours. */
static bool is_ctl(const struct link *l)
{
	return l->ctl >= 0 && socket_cookie(l->ctl, SO_COOKIE) == l->ctl_cookie;
}

static bool is_kick(const struct link *l)
{
	return l->kick >= 0 && syscall(SYS_fcntl, l->kick, F_GETSIG, 0) == KICK_MARK;
}

/* Where that number of ours is kept, or NULL. */
static int *place_of(int fd)
{
	int saved = errno, *at = NULL;

	for (uint32_t i = 0; fd >= 0 && i < link_count && !at; i++) {
		if (fd == links[i].ctl && is_ctl(&links[i]))
			at = &links[i].ctl;
		else if (fd == links[i].kick && is_kick(&links[i]))
			at = &links[i].kick;
	}
	errno = saved;
	return at;
}

bool attach_owns(int fd)
{
	return place_of(fd) != NULL;
}

int attach_next(unsigned int from)
{
	int next = -1;

	for (uint32_t i = 0; i < link_count; i++) {
		const int ours[] = { links[i].ctl, links[i].kick };

		for (int j = 0; j < 2; j++)
			if ((unsigned int)ours[j] >= from && (next < 0 || ours[j] < next) && attach_owns(ours[j]))
				next = ours[j];
	}
	return next;
}

static struct link *link_of(uint32_t ins)
{
	for (; link_count <= ins; link_count++)
		links[link_count] = (struct link){ .ctl = -1, .kick = -1 };
	return &links[ins];
}

/* Makes room above the application's limit, if that can be: what is ours shall not count. */
static bool limit_lift(struct rlimit *old)
{
	struct rlimit up;

	if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, old) < 0)
		return false;
	up = *old;
	up.rlim_cur += SPARE + 2 * link_count;
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
		  : lim->rlim_cur <= HIGH_MOST		 ? (int)lim->rlim_cur - SPARE - 2 * (int)link_count
							 : HIGH_MOST - SPARE;
	long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, least > 0 ? least : 0);

	if (high < 0)
		return fd;
	syscall(SYS_close, fd);
	return (int)high;
}

int attach_move(int fd)
{
	int *ours = place_of(fd);
	long n = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, fd + 1);

	if (n < 0)
		n = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
	if (n < 0)
		return -errno;
	if (ours)
		*ours = (int)n;
	return 0;
}

static int control_socket(void)
{
	return (int)syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

void attach_spares(struct spares *s)
{
	s->count = 0;
	for (uint32_t i = 0; i < link_count && s->count < SPARES_MAX; i++) {
		if (!shim_views[i].slots || !roster_serves(i))
			continue;
		s->fd[s->count] = control_socket();
		s->count += s->fd[s->count] >= 0;
	}
}

void attach_spares_close(struct spares *s)
{
	while (s->count)
		syscall(SYS_close, s->fd[--s->count]);
}

static int dial(uint32_t ins)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = MW_CONNECT_NAME };
	int digits = ins ? snprintf(un.sun_path + sizeof(MW_CONNECT_NAME) - 1, 16, "-%u", ins) : 0;
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(MW_CONNECT_NAME) - 1 + (size_t)digits);
	int fd = spare && spare->count ? spare->fd[--spare->count] : control_socket();

	if (fd < 0)
		return -errno;
	if (syscall(SYS_connect, fd, &un, len) < 0) {
		syscall(SYS_close, fd);
		return -ENETDOWN;
	}
	return fd;
}

static int map_arena(uint32_t ins, int fd)
{
	struct stat st;
	void *base;
	int r;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)MW_PAGE)
		return -ENETDOWN;
	base = space_map(fd, (size_t)st.st_size, true);
	if (base == MAP_FAILED)
		return -errno;
	r = arena_check(&shim_views[ins], base, (uint64_t)st.st_size);
	if (r < 0)
		space_unmap(base, (size_t)st.st_size);
	shim_attached |= r == 0;
	return r < 0 ? -ENETDOWN : 0;
}

/* `value`: of an option, q->u.option.have bytes; sent, and the reply's take their place. *count: room in fds, then how many came. */
static int exchange(int fd, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r, void *value, int *fds, int *count)
{
	struct mw_reply raw;
	struct iovec out[] = { { q, msg_request_bytes(op) }, { value, value ? q->u.option.have : 0 } };
	struct iovec in[] = { { &raw, sizeof(raw) }, { value, value ? q->u.option.have : 0 } };
	int room = *count;
	ssize_t n;

	*count = 0;
	msg_request_seal(q, op, ++seq);
	do
		n = fdpass_sendv(fd, out, 2, &pass_fd, pass_fd >= 0, 0);
	while (n == -EINTR);
	if (n < 0)
		return -ENETDOWN;
	do {
		*count = room;
		n = fdpass_recvv(fd, in, 2, fds, count, 0);
	} while (n == -EINTR);
	if (n <= 0 || msg_reply_check(r, &raw, (size_t)n, q) < 0)
		return -ENETDOWN;
	return r->status;
}

/* The kick descriptor is the same for all processes, so its mark is too. */
static void keep_kick(struct link *l, int fd, const struct rlimit *lim, bool lifted)
{
	if (is_kick(l)) {
		syscall(SYS_close, fd);
		return;
	}
	syscall(SYS_fcntl, fd, F_SETSIG, KICK_MARK);
	l->kick = move_high(fd, lim, lifted);
}

static void keep_ctl(struct link *l, int fd, const struct rlimit *lim, bool lifted)
{
	if (is_ctl(l))
		syscall(SYS_close, l->ctl);
	l->ctl = move_high(fd, lim, lifted);
	l->ctl_cookie = socket_cookie(l->ctl, SO_COOKIE);
	home = socket_cookie(l->ctl, SO_NETNS_COOKIE);
	l->ctl_pid = own_pid();
}

/* fds: the arena, the kick descriptor, the roster. */
static int hello(uint32_t ins, int fds[3], int *count)
{
	struct mw_req q = { .u.hello.version = MW_VERSION };
	struct mw_reply r;
	int rc, fd = dial(ins);

	*count = 3;
	if (fd < 0)
		return fd;
	rc = exchange(fd, &q, MW_OP_HELLO, -1, &r, NULL, fds, count);
	if ((rc == 0 && *count < 2) || rc == -EPROTONOSUPPORT) /* of another version */
		rc = -ENETDOWN;
	if (rc == 0 && !shim_views[ins].slots)
		rc = map_arena(ins, fds[0]);
	if (rc == 0)
		return fd;
	for (int i = 0; i < *count; i++)
		syscall(SYS_close, fds[i]);
	syscall(SYS_close, fd);
	return rc;
}

static int connect_and_hello(uint32_t ins)
{
	struct link *l = link_of(ins);
	struct rlimit lim = { 0, 0 };
	bool lifted = limit_lift(&lim);
	int fds[3], count, fd = hello(ins, fds, &count);

	if (fd >= 0) {
		syscall(SYS_close, fds[0]);
		if (count == 3) {
			roster_map(fds[2]);
			syscall(SYS_close, fds[2]);
		}
		keep_kick(l, fds[1], &lim, lifted);
		keep_ctl(l, fd, &lim, lifted);
	}
	if (lifted)
		limit_restore(&lim);
	return fd < 0 ? fd : 0;
}

/* A kick descriptor that some thread is about to write to stays until the next time: the number might be a file's by then. */
static void drop_descriptors(struct link *l)
{
	int kick = l->kick;

	if (is_ctl(l))
		syscall(SYS_close, l->ctl);
	l->ctl = -1;
	if (!is_kick(l))
		return;
	__atomic_store_n(&l->kick, -1, __ATOMIC_SEQ_CST); /* who counts itself in from now on finds no number */
	if (__atomic_load_n(&l->kicking, __ATOMIC_SEQ_CST))
		l->kick = kick;
	else
		syscall(SYS_close, kick);
}

/*
 * What is left of INSs that have ended, with the lock held. An arena stays as long as a socket may have something unread
 * there; a thread that is just leaving a socket finds zeros.
 */
static void drop_ended(void)
{
	if (!roster_known() || !in_own_process())
		return;
	for (uint32_t i = 0; i < link_count; i++) {
		struct link *l = &links[i];

		if (roster_serves(i))
			continue;
		drop_descriptors(l);
		if (!shim_views[i].slots || l->emptied || fdtab_has(i))
			continue;
		l->emptied = space_empty((void *)shim_views[i].base, shim_views[i].bytes);
	}
}

bool attach_ended(const void *at)
{
	for (uint32_t i = 0; i < MW_INS_MAX; i++)
		if (shim_views[i].slots && (uintptr_t)at - (uintptr_t)shim_views[i].base < shim_views[i].bytes)
			return !roster_serves(i);
	return false;
}

/* With the lock held. */
static int attach_locked(uint32_t ins)
{
	struct link *l = link_of(ins);

	if (l->ctl_pid == own_pid() && is_ctl(l))
		return 0;
	drop_ended();
	return connect_and_hello(ins);
}

/* Before there is a roster only trying tells which there are; mostly it is the first. */
static int attach_any(void)
{
	int r = attach_locked(roster_home());

	for (uint32_t i = 1; r == -ENETDOWN && i < (roster_known() ? roster_high() : MW_INS_MAX); i++)
		if (!roster_known() || roster_serves(i))
			r = attach_locked(i);
	return r;
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

	if (shim_attached)
		return 0;
	if (device_used()) /* whoever listens under that name here is nobody that we know */
		return -ENETDOWN;
	enter(&old);
	r = attach_any();
	leave(&old);
	errno = saved;
	return r;
}

int attach_to(uint32_t ins)
{
	sigset_t old;
	int r, saved = errno;

	if (__builtin_expect(shim_views[ins].slots != 0, 1))
		return 0;
	enter(&old);
	r = attach_locked(ins);
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
void attach_left(struct spares *s)
{
	sigset_t old;

	own_pid(); /* notices that we are a child */
	enter(&old);
	spare = s;
	for (uint32_t i = 0; i < link_count && s->count; i++)
		if (shim_views[i].slots && roster_serves(i))
			attach_locked(i);
	spare = NULL;
	leave(&old);
	attach_spares_close(s);
}

static int call(uint32_t ins, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r, void *value)
{
	struct link *l;
	sigset_t old;
	int rc, count = 0, saved = errno;

	enter(&old);
	rc = attach_locked(ins);
	l = link_of(ins);
	if (rc == 0)
		rc = exchange(l->ctl, q, op, pass_fd, r, value, NULL, &count);
	if (rc == -ENETDOWN && is_ctl(l)) {
		syscall(SYS_close, l->ctl);
		l->ctl = -1;
	}
	leave(&old);
	errno = saved;
	return rc;
}

int ctl_call_to(uint32_t ins, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r)
{
	return call(ins, q, op, pass_fd, r, NULL);
}

int ctl_call(const struct sock *k, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r)
{
	return call(k->ins, q, op, pass_fd, r, NULL);
}

int ctl_call_value(const struct sock *k, struct mw_req *q, uint32_t op, int pass_fd, struct mw_reply *r, void *value)
{
	return call(k->ins, q, op, pass_fd, r, value);
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

void shim_kick(uint32_t ins)
{
	struct link *l = &links[ins];
	uint64_t one = 1;
	int fd, saved = errno;
	sigset_t old;

	if (!plain_on && !is_kick(l)) {
		enter(&old);
		if (!is_kick(l))
			connect_and_hello(ins);
		leave(&old);
	}
	__atomic_fetch_add(&l->kicking, 1, __ATOMIC_SEQ_CST);
	fd = __atomic_load_n(&l->kick, __ATOMIC_SEQ_CST);
	if (fd >= 0)
		syscall(SYS_write, fd, &one, sizeof(one));
	__atomic_fetch_sub(&l->kicking, 1, __ATOMIC_SEQ_CST);
	errno = saved;
}

void refused_count(uint32_t kind)
{
	uint32_t ins = roster_home();

	if (attach() == 0 && attach_to(ins) == 0)
		__atomic_fetch_add(MW_WORD(&arena_header(&shim_views[ins])->refused[kind]), 1, __ATOMIC_RELAXED);
}

/* The parent's control connections are not ours to use: replies would go to whoever reads first. */
void attach_after_fork(void)
{
	lock = 0;
	for (uint32_t i = 0; i < link_count; i++) {
		links[i].kicking = 0;
		if (links[i].ctl >= 0 && is_ctl(&links[i]))
			syscall(SYS_close, links[i].ctl);
		links[i].ctl = -1;
	}
}
