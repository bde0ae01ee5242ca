// SPDX-License-Identifier: Apache-2.0
/*
 * uring.c - io_uring could do socket calls past us, so it does not exist for protected programs, which fall back.
 * Trust: none.
 *
 * Who calls it through syscall() is answered there (syscall.c). liburing makes the system calls itself: a program that
 * has loaded it gets a filter for these three. Others have none, since a filter costs each system call some time.
 */
#include <errno.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "link/device.h"
#include "shim/libc.h"

static int is_liburing(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *slash = strrchr(info->dlpi_name, '/');

	(void)size;
	(void)arg;
	return slash && !strncmp(slash + 1, "liburing.so", 11);
}

static long load(struct sock_fprog *filter)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter);
}

__attribute__((constructor)) static void refuse_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_io_uring_setup, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_io_uring_register, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

	if (!device_used() && dl_iterate_phdr(is_liburing, NULL) && load(&filter) < 0 && errno == EACCES &&
	    syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		load(&filter);
}
