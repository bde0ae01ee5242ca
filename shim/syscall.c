// SPDX-License-Identifier: Apache-2.0
/*
 * syscall.c - libc's syscall(), by which some libraries (libuv) make calls that libc has a function for.
 * Trust: none.
 *
 * Inside the shim `syscall` is raw_syscall (meson.build), also as a field of struct libc: to the kernel and nowhere else.
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "link/device.h"
#include "shim/attach.h"
#include "shim/interpose.h"
#include "shim/libc.h"

#undef syscall

/* As libc's: all six are taken from where they would be, whether the caller passed them or not. */
#define ALL_SIX __attribute__((no_sanitize("address")))
#define ARGUMENTS(a, last) \
	do { \
		va_list ap_; \
		va_start(ap_, last); \
		for (int i_ = 0; i_ < 6; i_++) \
			(a)[i_] = va_arg(ap_, long); \
		va_end(ap_); \
	} while (0)

ALL_SIX long raw_syscall(long number, ...)
{
	long a[6];

	ARGUMENTS(a, number);
	return libc()->raw_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* A child that starts in another network namespace, with sockets of ours: it could not find the INS. */
static long clone_away(const long a[6])
{
	struct spares s;
	long pid;
	int saved;

	attach_spares(&s);
	pid = libc()->raw_syscall(SYS_clone, a[0], a[1], a[2], a[3], a[4], a[5]);

	saved = errno;
	if (pid == 0)
		attach_left(&s);
	else
		attach_spares_close(&s);
	errno = saved;
	return pid;
}

EXPORT long syscall(long number, ...);
EXPORT ALL_SIX long syscall(long number, ...)
{
	long a[6];

	ARGUMENTS(a, number);
	switch (number) {
	case SYS_io_uring_setup:
	case SYS_io_uring_enter:
	case SYS_io_uring_register: /* could do socket calls past us; programs fall back */
		if (device_used()) /* but the device's sockets are the kernel's */
			break;
		errno = ENOSYS;
		return -1;
	case SYS_socket:
		return socket((int)a[0], (int)a[1], (int)a[2]);
	case SYS_bind:
		return bind((int)a[0], (void *)a[1], (socklen_t)a[2]);
	case SYS_connect:
		return connect((int)a[0], (void *)a[1], (socklen_t)a[2]);
	case SYS_accept4:
		return accept4((int)a[0], (void *)a[1], (void *)a[2], (int)a[3]);
	case SYS_recvmsg:
		return recvmsg((int)a[0], (void *)a[1], (int)a[2]);
	case SYS_sendmsg:
		return sendmsg((int)a[0], (void *)a[1], (int)a[2]);
	case SYS_recvmmsg:
		return recvmmsg((int)a[0], (void *)a[1], (unsigned int)a[2], (int)a[3], (void *)a[4]);
	case SYS_sendmmsg:
		return sendmmsg((int)a[0], (void *)a[1], (unsigned int)a[2], (int)a[3]);
	case SYS_clone:
		if (a[0] & CLONE_NEWNET && !(a[0] & CLONE_VM) && shim_attached)
			return clone_away(a);
		break;
	case SYS_prlimit64:
		return prlimit((pid_t)a[0], (__rlimit_resource_t)a[1], (void *)a[2], (void *)a[3]);
	case SYS_setrlimit:
		return setrlimit((__rlimit_resource_t)a[0], (void *)a[1]);
	case SYS_getrlimit:
		return getrlimit((__rlimit_resource_t)a[0], (void *)a[1]);
	default:
		break;
	}
	return libc()->raw_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
