// SPDX-License-Identifier: Apache-2.0
/*
 * calls.c - which system calls an INS's processes may make, and why: the one place where that is said.
 * Trust: none needed. What is not here kills who calls it.
 *
 * A row is a call, whose it is, and the reason; ONLY has what its arguments are limited to as well, and one of these must fit:
 * its own, or those of the MORE below it. tools/calls.py makes doc/threat-model.md's tables of them. Calls that run for every
 * byte, record or wake-up are not limited: then the kernel allows them by its bitmap, and runs no program.
 *
 * The starter may make all, since the kernel gives every worker its starter's filter. It reads nobody's bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <xen/event_channel.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>

#include "ins/calls.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define W  CALLS_WORKER
#define K  CALLS_KEEPER
#define S  CALLS_STARTER
#define WK (W | K)
#define WD (W | DOOR)
#define DOOR 8 /* where the application is another machine's */

#define ARGS_MAX 3

struct row {
	int call;
	unsigned int whose, count;
	struct scmp_arg_cmp args[ARGS_MAX];
};

/* The kernel's int: the upper half of a register is nobody's. */
#define IS(n, value) { n, SCMP_CMP_MASKED_EQ, 0xffffffffu, (scmp_datum_t)(unsigned int)(value) }
#define WHOLE(n, value) { n, SCMP_CMP_EQ, (scmp_datum_t)(value), 0 }
#define MASKED(n, mask, value) { n, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(mask), (scmp_datum_t)(value) }

#define MORE(whose, name, ...) { SCMP_SYS(name), whose, sizeof((struct scmp_arg_cmp[]){ __VA_ARGS__ }) / sizeof(struct scmp_arg_cmp), { __VA_ARGS__ } }
#define ONLY(whose, name, limit, reason, ...) MORE(whose, name, __VA_ARGS__)
#define CALL(whose, name, reason) { SCMP_SYS(name), whose, 0, { { 0 } } }

#define MADE (SOCK_NONBLOCK | SOCK_CLOEXEC)

static const struct row rows[] = {
	ONLY(W, accept4, "non-blocking, closed by exec", "connections of listeners, and processes of the application", IS(3, MADE)),
	CALL(W, bind, "the application's bind(), or the same port again after a failed connect()"),
	CALL(WK, clock_gettime, "each loop's time; no system call where the vDSO has the clock, which under Xen may be missing"),
	CALL(WK, close, "whatever ends"),
	CALL(W, connect, "the application's connect()"),
	CALL(W, epoll_ctl, "a socket comes, goes, or pauses"),
	CALL(W, epoll_wait, "the loop sleeps here"),
	CALL(WK, exit_group, "the broker has ended us, or is gone; an upgrade"),
	CALL(W, getpeername, "whom a connection is with, for the application and the flow record"),
	CALL(W, getrandom, "a doorbell's nonce; the secrets of the tables that are hashed"),
	CALL(W, getsockname, "the port that the stack has chosen"),
	CALL(W, getsockopt, "SO_ERROR, TCP_INFO (what was moved, flow records), the application's getsockopt()"),
	ONLY(W, ioctl, "queues; SIOC*, those with which the kernel asks and names sockets and interfaces; no FIOASYNC, no ethtool, no device",
	     "how much is unread and unsent, the urgent mark, SIGURG's owner, the application's queries of interfaces", IS(1, FIONREAD)),
	MORE(W, ioctl, IS(1, SIOCOUTQ)), MORE(W, ioctl, IS(1, FIONBIO)), MORE(W, ioctl, IS(1, SIOCOUTQNSD)),
	MORE(W, ioctl, MASKED(1, 0xffffffc0u, 0x8900)),  /* owner, mark, stamps, interfaces: 0x8900 to 0x893f */
	MORE(W, ioctl, IS(1, SIOCGIFTXQLEN)), MORE(W, ioctl, IS(1, SIOCSIFTXQLEN)), MORE(W, ioctl, IS(1, SIOCDARP)),
	MORE(W, ioctl, IS(1, SIOCGARP)), MORE(W, ioctl, IS(1, SIOCSARP)), MORE(W, ioctl, IS(1, SIOCGIFMAP)),
	MORE(W, ioctl, IS(1, SIOCSIFMAP)), MORE(W, ioctl, IS(1, SIOCGSTAMP_NEW)), MORE(W, ioctl, IS(1, SIOCGSTAMPNS_NEW)),
	MORE(WD, ioctl, IS(1, IOCTL_EVTCHN_NOTIFY)), MORE(WD, ioctl, IS(1, IOCTL_GNTDEV_MAP_GRANT_REF)),
	MORE(WD, ioctl, IS(1, IOCTL_GNTDEV_UNMAP_GRANT_REF)),
	CALL(W, listen, "the application's listen(), and its backlog changed"),
	ONLY(W, madvise, "MADV_REMOVE", "memory of rings that nobody uses goes back", IS(2, MADV_REMOVE)),
	ONLY(WD, mmap, "never to be executed", "with a door: rings of the other machine come and go", MASKED(2, ~(PROT_READ | PROT_WRITE), 0)),
	ONLY(W, pipe2, "non-blocking, closed by exec", "a stray process is told that its doorbell is gone", IS(1, O_NONBLOCK | O_CLOEXEC)),
	CALL(WK, read, "event counters and the watchdog's; an event channel"),
	CALL(WK, recvfrom, "TCP to a ring of one piece; doorbells"),
	CALL(W, recvmsg, "TCP to a ring's end and beginning; a descriptor for SIGURG"),
	CALL(W, recvmmsg, "whatever must say in the same call that it took place: requests, datagrams, doorbells"),
	CALL(W, rt_sigreturn, "back from SIGURG"),
	CALL(W, sendmmsg, "as recvmmsg: answers, datagrams, accepted connections"),
	CALL(WK, sendmsg, "a ring's end and beginning to TCP; records to the broker"),
	CALL(WK, sendto, "a ring of one piece to TCP; seeds and urgent bytes"),
	CALL(W, setsockopt, "the application's setsockopt(); cork, linger, urgent bytes, the doorbell's buffer"),
	CALL(W, shutdown, "FIN; the doorbell's end; a listener that listens no more"),
	ONLY(W, socket, "TCP, UDP and UDP-Lite over IPv4 and IPv6: none that is raw, of packets, netlink or UNIX", "the application's socket()",
	     IS(0, AF_INET), IS(1, SOCK_STREAM | MADE), IS(2, IPPROTO_TCP)),
	MORE(W, socket, IS(0, AF_INET6), IS(1, SOCK_STREAM | MADE), IS(2, IPPROTO_TCP)),
	MORE(W, socket, IS(0, AF_INET), IS(1, SOCK_DGRAM | MADE), IS(2, IPPROTO_UDP)),
	MORE(W, socket, IS(0, AF_INET6), IS(1, SOCK_DGRAM | MADE), IS(2, IPPROTO_UDP)),
	MORE(W, socket, IS(0, AF_INET), IS(1, SOCK_DGRAM | MADE), IS(2, IPPROTO_UDPLITE)),
	MORE(W, socket, IS(0, AF_INET6), IS(1, SOCK_DGRAM | MADE), IS(2, IPPROTO_UDPLITE)),
	ONLY(W, socketpair, "UNIX, of records or a stream: none that could be connected to another name", "doorbells",
	     IS(0, AF_UNIX), IS(1, SOCK_SEQPACKET | SOCK_CLOEXEC)),
	MORE(W, socketpair, IS(0, AF_UNIX), IS(1, SOCK_STREAM | SOCK_CLOEXEC)),
	CALL(WK, write, "wakes telemetry and the keeper; an event channel"),

	ONLY(K, fcntl, "F_GETFD", "upgrade: which descriptors are there to give", IS(1, F_GETFD)),
	ONLY(K, kill, "SIGKILL, to one process", "a worker that hangs; the starter, at the end", MASKED(0, ~0x7fffffffull, 0), IS(1, SIGKILL)),
	CALL(K, poll, "the worker's end, its heartbeat, and nothing to do"),
	CALL(K, restart_syscall, "poll() goes on after a stop"),
	CALL(K, wait4, "how the worker ended"),

	ONLY(S, clone, "CLONE_FILES, CLONE_PARENT: a process, in no new namespace", "the next worker; the starter itself",
	     WHOLE(0, CLONE_FILES | CLONE_PARENT | SIGCHLD)),
	MORE(S, clone, WHOLE(0, CLONE_FILES | SIGCHLD)),
	ONLY(S, dup3, "closed by exec", "upgrade: each descriptor to the number that it had", IS(2, O_CLOEXEC)),
	MORE(S, fcntl, IS(1, F_DUPFD_CLOEXEC)), /* upgrade: room for them */
	CALL(S, getpid, "whom SIGURG is for"),
	CALL(S, getppid, "has the keeper died before we could be told?"),
	ONLY(S, prctl, "PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_DUMPABLE (--core), PR_SET_SECCOMP", "a worker's beginning; the filters of worker and keeper",
	     IS(0, PR_SET_PDEATHSIG)),
	MORE(S, prctl, IS(0, PR_SET_NAME)), MORE(S, prctl, IS(0, PR_SET_DUMPABLE)), MORE(S, prctl, IS(0, PR_SET_SECCOMP)),
	ONLY(S, rt_sigaction, "SIGURG", "urgent data is announced by it", IS(0, SIGURG)),
};

/* What a sanitizer's runtime does; not in any build that is installed. */
static const int sanitizer_calls[] = {
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(brk), SCMP_SYS(sigaltstack), SCMP_SYS(gettid),
	SCMP_SYS(getpid), SCMP_SYS(futex), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(openat),
	SCMP_SYS(readlink), SCMP_SYS(prctl), SCMP_SYS(clone), SCMP_SYS(sched_yield), SCMP_SYS(tgkill), SCMP_SYS(mremap),
	SCMP_SYS(newfstatat), SCMP_SYS(fstat), SCMP_SYS(getrlimit), SCMP_SYS(prlimit64), SCMP_SYS(sched_getaffinity),
	SCMP_SYS(madvise), SCMP_SYS(getppid), SCMP_SYS(exit), SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
};

/* -EEXIST: it is a row above. */
static int allow_sanitizer(scmp_filter_ctx f)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(sanitizer_calls) / sizeof(sanitizer_calls[0]) && (r == 0 || r == -EEXIST); i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, sanitizer_calls[i], 0);
	return r == -EEXIST ? 0 : r;
}

static int allow(scmp_filter_ctx f, enum calls_of whose, bool door)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && r == 0; i++) {
		const struct row *row = &rows[i];

		if ((whose == CALLS_STARTER || row->whose & whose) && (door || !(row->whose & DOOR)))
			r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, row->call, row->count, row->args);
	}
	return r;
}

scmp_filter_ctx calls_filter(enum calls_of whose, bool door)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!f)
		return NULL;
	r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = allow(f, whose, door);
	if (r == 0 && SANITIZED)
		r = allow_sanitizer(f);
	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		return f;
	seccomp_release(f);
	return NULL;
}
