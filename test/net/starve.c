// SPDX-License-Identifier: Apache-2.0
/*
 * starve.c - preloaded, has one call of a program fail as if the machine had run out of something, or was interrupted or cut short.
 *
 * Only calls that the program's own code makes count (by their return address: what libraries make of their failures is not ours), or the
 * shim's. Such an address, within its object, is a site. $MW_STARVE names a file of struct order, mapped by each process as it starts, so
 * that nothing need be opened in a sandbox, and that what several processes of one program do is counted together. The test reads there
 * which sites there are, and how often each was reached.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define SITES_MAX 1024
#define NAME_BYTES 24

enum kind { FAIL, INTERRUPT, SHORTEN };

struct site {
	_Atomic uint32_t offset, reached;
	char function[NAME_BYTES];
};

/* As test/net/lib/starve.py packs it. */
struct order {
	char program[NAME_BYTES]; /* as the kernel shows it; or libmwshim.so, in whichever process */
	uint32_t kind;
	uint32_t offset;          /* of the site; 0: none fails */
	uint32_t nth, always;     /* when the site is reached for the nth time, and each time from then on */
	_Atomic uint32_t done, site_count;
	struct site sites[SITES_MAX];
};

#define FDS_MAX 1024

/* What descriptors are, noted when they come: a sandbox need not allow to ask. */
enum what { UNKNOWN, REGULAR, PIPE, STREAM, TCP };

static struct order *order;
static uintptr_t from, to, base;
static _Atomic uint8_t what_is[FDS_MAX];

static int note(int fd, enum what what)
{
	if (fd >= 0 && fd < FDS_MAX)
		what_is[fd] = (uint8_t)what;
	return fd;
}

static int note_file(int fd)
{
	struct stat st;
	int type = 0, family = 0;
	socklen_t len = sizeof(type);

	if (fd < 0 || fstat(fd, &st) < 0)
		return fd;
	if (S_ISSOCK(st.st_mode) && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM)
		return note(fd, getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0 || family == AF_UNIX ? STREAM : TCP);
	return note(fd, S_ISREG(st.st_mode) ? REGULAR : S_ISFIFO(st.st_mode) ? PIPE : UNKNOWN);
}

static enum what what(int fd)
{
	return fd < 0 || fd >= FDS_MAX ? UNKNOWN : what_is[fd];
}

/* The executable is told first, with an empty name. */
static int find_object(struct dl_phdr_info *i, size_t bytes, void *first)
{
	const char *name = strrchr(i->dlpi_name, '/');
	bool ours = *(bool *)first ? !strcmp(order->program, program_invocation_short_name) : name && !strcmp(name + 1, order->program);

	(void)bytes;
	*(bool *)first = false;
	if (!ours)
		return 0;
	base = i->dlpi_addr;
	for (int n = 0; n < i->dlpi_phnum; n++)
		if (i->dlpi_phdr[n].p_type == PT_LOAD && i->dlpi_phdr[n].p_flags & PF_X) {
			from = base + i->dlpi_phdr[n].p_vaddr;
			to = from + i->dlpi_phdr[n].p_memsz;
		}
	return 1;
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("MW_STARVE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	bool first = true;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return;
	for (int i = 0; i < 64; i++) /* what it was given */
		note_file(i);
	order = p;
	dl_iterate_phdr(find_object, &first);
}

static struct site *find_site(uint32_t offset, const char *function)
{
	uint32_t was;

	for (uint32_t i = 0; i < SITES_MAX; i++) {
		struct site *s = &order->sites[i];

		was = 0;
		if (atomic_compare_exchange_strong(&s->offset, &was, offset)) {
			strncpy(s->function, function, NAME_BYTES - 1);
			atomic_fetch_add(&order->site_count, 1);
			return s;
		}
		if (was == offset)
			return s;
	}
	return NULL;
}

/* Whether this call is the one. */
static bool hit(enum kind kind, const char *function, void *returns_to)
{
	uintptr_t at = (uintptr_t)returns_to;
	struct site *s;
	uint32_t n;

	if (!from || at < from || at >= to || order->kind != kind)
		return false;
	s = find_site((uint32_t)(at - base), function);
	if (!s)
		return false;
	n = atomic_fetch_add(&s->reached, 1) + 1;
	if ((uint32_t)(at - base) != order->offset || n < order->nth || (n > order->nth && !order->always))
		return false;
	atomic_fetch_add(&order->done, 1);
	return true;
}

#define HERE __builtin_return_address(0)
#define NEXT(name) \
	static __typeof__(&name) next; \
	if (!next) \
		next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAIL_AS(name, value, number) \
	if (hit(FAIL, #name, HERE)) \
		return errno = (number), (value)
#define INTERRUPTED(name) \
	if (hit(INTERRUPT, #name, HERE)) \
		return errno = EINTR, -1
#define SHORTENED(name, fd, n) \
	if ((n) > 1 && what(fd) != UNKNOWN && hit(SHORTEN, #name, HERE)) \
		(n) /= 2

/* A function that only fails. */
#define FAILS(type, name, params, args, value, number) \
	EXPORT type name params \
	{ \
		NEXT(name); \
		FAIL_AS(name, value, number); \
		return next args; \
	}

/* One that waits; it also fails where `can`, with the number (what the kernel says nowhere, nobody need be able to take). */
#define WAITS_THEN(type, name, params, args, waits, can, number, then) \
	EXPORT type name params \
	{ \
		NEXT(name); \
		if (can) \
			FAIL_AS(name, -1, number); \
		if (waits) \
			INTERRUPTED(name); \
		then; \
		return next args; \
	}
#define WAITS(type, name, params, args, waits, can, number) WAITS_THEN(type, name, params, args, waits, can, number, )

/* One that moves n bytes. All TCP sockets of ours are non-blocking. */
#define MOVES(name, params, args, waits, can, number) WAITS_THEN(ssize_t, name, params, args, waits, can, number, SHORTENED(name, fd, n))

/* dlsym itself allocates: for memory, what glibc also exports under another name. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);

EXPORT void *malloc(size_t n)
{
	FAIL_AS(malloc, NULL, ENOMEM);
	return __libc_malloc(n);
}

EXPORT void *calloc(size_t count, size_t n)
{
	FAIL_AS(calloc, NULL, ENOMEM);
	return __libc_calloc(count, n);
}

EXPORT void *realloc(void *p, size_t n)
{
	FAIL_AS(realloc, NULL, ENOMEM);
	return __libc_realloc(p, n);
}

FAILS(char *, strdup, (const char *text), (text), NULL, ENOMEM)
FAILS(FILE *, open_memstream, (char **at, size_t *n), (at, n), NULL, ENOMEM)
FAILS(FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
FAILS(FILE *, fopen64, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
FAILS(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL, ENOMEM)
FAILS(DIR *, opendir, (const char *path), (path), NULL, EMFILE)
FAILS(void *, mmap, (void *p, size_t n, int prot, int flags, int fd, off_t at), (p, n, prot, flags, fd, at), MAP_FAILED, ENOMEM)
FAILS(void *, mmap64, (void *p, size_t n, int prot, int flags, int fd, off64_t at), (p, n, prot, flags, fd, at), MAP_FAILED, ENOMEM)
FAILS(int, memfd_create, (const char *name, unsigned int flags), (name, flags), -1, EMFILE)
FAILS(int, ftruncate, (int fd, off_t n), (fd, n), -1, ENOSPC)
FAILS(int, ftruncate64, (int fd, off64_t n), (fd, n), -1, ENOSPC)
FAILS(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, ENOSPC)
FAILS(int, rename, (const char *old, const char *new), (old, new), -1, ENOSPC)
FAILS(int, socketpair, (int family, int type, int protocol, int pair[2]), (family, type, protocol, pair), -1, EMFILE)
FAILS(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), -1, ENOMEM)
FAILS(int, listen, (int fd, int backlog), (fd, backlog), -1, EADDRINUSE)
FAILS(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t n), (fd, level, option, value, n), -1, ENOMEM)
FAILS(int, epoll_create1, (int flags), (flags), -1, EMFILE)
FAILS(int, epoll_ctl, (int fd, int op, int other, struct epoll_event *e), (fd, op, other, e), -1, ENOSPC)
FAILS(int, eventfd, (unsigned int value, int flags), (value, flags), -1, EMFILE)
FAILS(int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags), -1, EMFILE)
FAILS(int, pidfd_open, (pid_t pid, unsigned int flags), (pid, flags), -1, EMFILE)
FAILS(int, inotify_init1, (int flags), (flags), -1, EMFILE)
FAILS(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask), -1, ENOSPC)
FAILS(int, unshare, (int flags), (flags), -1, ENOSPC)
FAILS(int, setns, (int fd, int type), (fd, type), -1, ENOMEM)
FAILS(int, execv, (const char *path, char *const argv[]), (path, argv), -1, ENOMEM)
FAILS(pid_t, fork, (void), (), -1, EAGAIN)

WAITS(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), true, true, what(fd) == TCP ? EADDRNOTAVAIL : EAGAIN)
WAITS(int, poll, (struct pollfd *p, nfds_t n, int ms), (p, n, ms), ms, true, ENOMEM)
WAITS(int, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms), ms, false, 0)
WAITS(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options), !(options & WNOHANG), false, 0)
WAITS(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), !(flags & MSG_DONTWAIT), true, ENOMEM)
WAITS(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), !(flags & MSG_DONTWAIT), true, ENOBUFS)
WAITS(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), true, what(fd) == REGULAR, ENOSPC)

MOVES(read, (int fd, void *p, size_t n), (fd, p, n), what(fd) != REGULAR, what(fd) == REGULAR, EIO)
MOVES(recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags), !(flags & MSG_DONTWAIT) && what(fd) != TCP, !(flags & MSG_DONTWAIT) && what(fd) != TCP, ECONNRESET)
MOVES(write, (int fd, const void *p, size_t n), (fd, p, n), what(fd) == STREAM || what(fd) == PIPE, what(fd) == REGULAR, ENOSPC)
MOVES(send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags), !(flags & MSG_DONTWAIT), what(fd) != TCP, ENOBUFS)
MOVES(sendto, (int fd, const void *p, size_t n, int flags, const struct sockaddr *a, socklen_t bytes), (fd, p, n, flags, a, bytes), !(flags & MSG_DONTWAIT), true,
      ENOBUFS)

EXPORT int socket(int family, int type, int protocol)
{
	NEXT(socket);
	FAIL_AS(socket, -1, EMFILE);
	return note(next(family, type, protocol), (type & 15) != SOCK_STREAM ? UNKNOWN : family == AF_UNIX ? STREAM : TCP);
}

EXPORT int accept4(int fd, struct sockaddr *a, socklen_t *n, int flags)
{
	NEXT(accept4);
	FAIL_AS(accept4, -1, EMFILE);
	INTERRUPTED(accept4);
	return note(next(fd, a, n, flags), what(fd) == STREAM ? STREAM : TCP); /* a listener of TCP may have come from another process */
}

EXPORT int pipe2(int fds[2], int flags)
{
	int r;

	NEXT(pipe2);
	FAIL_AS(pipe2, -1, EMFILE);
	r = next(fds, flags);
	if (r == 0)
		note(fds[0], PIPE), note(fds[1], PIPE);
	return r;
}

EXPORT int close(int fd)
{
	NEXT(close);
	note(fd, UNKNOWN);
	return next(fd);
}

#define OPENS(name) \
	EXPORT int name(const char *path, int flags, ...) \
	{ \
		va_list list; \
		mode_t mode; \
		NEXT(name); \
		FAIL_AS(name, -1, EMFILE); \
		INTERRUPTED(name); \
		va_start(list, flags); \
		mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0; \
		va_end(list); \
		return note_file(next(path, flags, mode)); \
	}

OPENS(open)
OPENS(open64)
