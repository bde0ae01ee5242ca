// SPDX-License-Identifier: Apache-2.0
/*
 * pass.c - sockets of ours that leave by SCM_RIGHTS: for a process outside the application, a doorbell means nothing.
 * Trust: arguments are the application's own, and may be wrong addresses; then the kernel says what is wrong.
 *
 * A connection is put on the stream lane first: its descriptor carries the bytes, for anybody. Nothing else can be used
 * outside, and is refused. Whoever is in our network namespace is inside. Where that cannot be known (datagrams, a peer that
 * is gone) connections are converted and all else goes as it is: inside both work. Without /proc, in a chroot, nobody is
 * outside: a connection on another lane is another inode, by which Dovecot knows its own.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/pass.h"
#include "shim/attach.h"
#include "shim/fdtab.h"
#include "shim/fork.h"
#include "shim/plain.h"
#include "shim/sock.h"
#include "shim/stream.h"
#include "shim/user.h"

enum receiver { UNASKED, INSIDE, OUTSIDE, UNKNOWN };

/* A file of /proc/PID/net is another in each network namespace, and may be looked at by everybody. */
static bool network(const char *who, struct stat *st)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/net/dev", who);
	return stat(path, st) == 0;
}

/* Of a UNIX socket: who connected or listened, and has the other end or gave it to somebody. */
static enum receiver ask(int via)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);
	struct stat theirs, own;
	char number[16];

	if (syscall(SYS_getsockopt, via, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return UNKNOWN;
	if (peer.pid == own_pid() || !network("self", &own))
		return INSIDE;
	if (!peer.pid) /* it has no peer, or one of a PID namespace that we do not see */
		return peer.uid == (uid_t)-1 ? UNKNOWN : OUTSIDE;
	snprintf(number, sizeof(number), "%d", peer.pid);
	if (!network(number, &theirs))
		return UNKNOWN;
	return theirs.st_ino == own.st_ino && theirs.st_dev == own.st_dev ? INSIDE : OUTSIDE;
}

static int prepare_one(int via, int fd, enum receiver *to)
{
	struct sock k;
	int r;

	if (!sock_get(fd, &k) || (SLOT_INS(&k, lane) == MW_LANE_STREAM && SLOT_INS(&k, state) == MW_ST_ESTABLISHED))
		return 0;
	if (*to == UNASKED)
		*to = ask(via);
	if (*to == INSIDE)
		return 0;
	if (IS_DGRAM(&k) || SLOT_INS(&k, state) != MW_ST_ESTABLISHED)
		return *to == OUTSIDE ? -EOPNOTSUPP : 0;
	r = stream_convert(fd);
	return *to == OUTSIDE ? r : 0;
}

int pass_prepare(int via, const struct msghdr *theirs)
{
	enum receiver to = UNASKED;
	struct msghdr m;
	struct cmsghdr h;
	int fd, r = 0, saved = errno;

	if (plain_on || !shim_attached || user_get(&m, theirs, sizeof(m)) < 0)
		return 0;
	for (size_t at = 0; r == 0 && m.msg_controllen - at >= sizeof(h); at += CMSG_ALIGN(h.cmsg_len)) {
		const char *p = (const char *)m.msg_control + at;

		if (user_get(&h, p, sizeof(h)) < 0 || h.cmsg_len < sizeof(h) || h.cmsg_len > m.msg_controllen - at)
			break;
		for (size_t i = CMSG_LEN(0); h.cmsg_level == SOL_SOCKET && h.cmsg_type == SCM_RIGHTS && r == 0 &&
					     h.cmsg_len - i >= sizeof(fd); i += sizeof(fd))
			r = user_get(&fd, p + i, sizeof(fd)) < 0 ? 0 : prepare_one(via, fd, &to);
		if (CMSG_ALIGN(h.cmsg_len) > m.msg_controllen - at)
			break;
	}
	errno = saved;
	return r;
}
