// SPDX-License-Identifier: Apache-2.0
/*
 * target.c - a target's memory and descriptors.
 * Trust: everything read here is the target's word, copied once.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/attach.h"
#include "shim/doorbell.h"
#include "shim/fdtab.h"
#include "shim/roster.h"
#include "trap/trap.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif
#define MAP_BITS 17u /* twice as many entries as an arena has slots */

static int move(int pid, void *own, uint64_t theirs, size_t n, bool in)
{
	struct iovec here = { own, n }, there = { (void *)(uintptr_t)theirs, n };
	ssize_t r;

	if (!n)
		return 0;
	r = in ? process_vm_readv(pid, &here, 1, &there, 1, 0) : process_vm_writev(pid, &here, 1, &there, 1, 0);
	return r == (ssize_t)n ? 0 : r >= 0 ? -EFAULT : -errno;
}

int target_read(int pid, void *to, uint64_t from, size_t n)
{
	return move(pid, to, from, n, true);
}

int target_write(int pid, uint64_t to, const void *from, size_t n)
{
	return move(pid, (void *)(uintptr_t)from, to, n, false);
}

/* A line of its status, behind the name; NULL when there is none. */
static const char *status(int pid, const char *line, char *text, size_t room)
{
	char path[32], *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, room - 1);
	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = 0;
	at = strstr(text, line);
	return at ? at + strlen(line) : NULL;
}

int target_process(int pid)
{
	char text[512];
	const char *tgid = status(pid, "\nTgid:", text, sizeof(text));

	return tgid ? atoi(tgid) : pid;
}

/* In another user namespace than ours its privileges are none here. */
static bool same_user_namespace(int pid)
{
	char path[32];
	struct stat ours, theirs;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	return stat("/proc/self/ns/user", &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino;
}

bool target_privileges(int pid)
{
	static const cap_value_t wanted[] = { CAP_NET_ADMIN, CAP_NET_RAW };
	char text[4096];
	const char *line = status(pid, "\nCapEff:", text, sizeof(text));
	unsigned long long theirs = line && same_user_namespace(pid) ? strtoull(line, NULL, 16) : 0;
	bool any = false, worn = false;
	cap_t caps = cap_get_proc();

	for (int i = 0; caps && i < 2; i++) {
		cap_flag_value_t on = theirs >> wanted[i] & 1 ? CAP_SET : CAP_CLEAR, may = CAP_CLEAR;

		cap_get_flag(caps, wanted[i], CAP_PERMITTED, &may);
		on = may == CAP_SET ? on : CAP_CLEAR;
		cap_set_flag(caps, CAP_EFFECTIVE, 1, &wanted[i], on);
		any |= on == CAP_SET;
	}
	worn = caps && cap_set_proc(caps) == 0;
	cap_free(caps);
	return any && worn;
}

/* A thread may have a descriptor table of its own, so the thread is asked where the kernel can. */
int target_fd(int pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, PIDFD_THREAD), copy;

	if (pidfd < 0)
		pidfd = (int)syscall(SYS_pidfd_open, target_process(pid), 0);
	if (pidfd < 0)
		return -errno;
	copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	copy = copy < 0 ? -errno : copy;
	close(pidfd);
	return copy;
}

/* The flags are octal there, and O_CLOEXEC is among them. */
bool target_cloexec(int pid, int fd)
{
	char path[64], text[256];
	const char *flags;
	int file;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	file = open(path, O_RDONLY | O_CLOEXEC);
	n = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
	if (file >= 0)
		close(file);
	text[n > 0 ? n : 0] = 0;
	flags = strstr(text, "flags:");
	return flags && strtoul(flags + 6, NULL, 8) & O_CLOEXEC;
}

void target_signal(int pid, int signal)
{
	syscall(SYS_tgkill, target_process(pid), pid, signal);
}

/* --- cookie to slot --- */

static struct {
	uint64_t cookie;
	uint32_t place;
} map[1u << MAP_BITS];

static bool place_has(uint32_t place, uint64_t cookie)
{
	struct sock k;

	if (attach_to(place >> 16) < 0 || (place & 0xffff) >= shim_views[place >> 16].slots)
		return false;
	sock_at(&k, place);
	return SLOT_INS(&k, cookie) == cookie && roster_serves(k.ins);
}

bool target_sock(int fd, struct sock *k)
{
	uint64_t cookie;
	uint32_t at;

	if (doorbell_cookie(fd, &cookie) < 0 || attach() < 0)
		return false;
	at = (uint32_t)(cookie * 0x9e3779b97f4a7c15ULL >> (64 - MAP_BITS)); /* one place each: the newest wins */
	if (map[at].cookie != cookie || !place_has(map[at].place, cookie)) {
		if (!fdtab_find(cookie, &map[at].place))
			return false;
		map[at].cookie = cookie;
	}
	sock_at(k, map[at].place);
	k->fd = fd;
	return true;
}
