// SPDX-License-Identifier: Apache-2.0
/*
 * again.c - connect() again after one that failed: a new doorbell in the place of the one that showed it.
 * Trust: a slot number in a reply is bounded; of /proc's lines only numbers are taken, which the kernel checks.
 *
 * The first connect() after a failure tells of it and leaves the socket as it was before (ins/again.c). Its descriptors in this
 * process are the new doorbell's then, with their flags, and are watched by the same epoll sets for the same events. Those of other
 * processes are not: there the socket has failed for good.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/again.h"
#include "chan/msg.h"
#include "shim/attach.h"
#include "shim/doorbell.h"
#include "shim/fdtab.h"
#include "shim/fork.h"
#include "shim/option.h"
#include "shim/plain.h"
#include "shim/sock.h"

#define WATCHES_MAX 64 /* sets times descriptors: more than any program has for one socket */

/* One line of an epoll set, see proc_pid_fdinfo(5). */
struct watch {
	int set, fd;
	struct epoll_event e;
};

struct watches {
	struct watch w[WATCHES_MAX];
	int count;
	ino_t doorbell;
};

bool again_due(struct sock *k, int r)
{
	return r != -EINPROGRESS && r != -EALREADY && r != -EFAULT && r != -EINVAL && sock_failed(k);
}

int again_make(struct sock *k)
{
	struct mw_req q;
	struct mw_reply reply;
	struct sock made;
	int pair[2], r;

	memset(&q, 0, sizeof(q));
	r = doorbell_pair((SLOT_INS(k, lane) == MW_LANE_STREAM ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, pair,
			  &q.u.stream.cookie);
	if (r < 0)
		return r;
	doorbell_copy_file(k->fd, pair[0]);
	address_request(k, &q);
	r = ctl_call(k, &q, MW_OP_AGAIN, pair[1], &reply);
	syscall(SYS_close, pair[1]);
	if (r == 0 && reply.slot >= VIEW(k)->slots)
		r = -ENETDOWN;
	if (r < 0) {
		syscall(SYS_close, pair[0]);
		return r;
	}
	fdtab_set(pair[0], PLACE(k->ins, reply.slot));
	if (sock_get(pair[0], &made)) {
		mw_store(MW_WORD(&made.s->app.pid), SLOT_APP(k, pid));
		APP_SET(&made, APP_FLAGS(k) & MW_APP_LINGER_SET);
		option_inherit(k, &made);
	}
	return pair[0];
}

/* --- epoll sets --- */

/* "tfd: 5 events: 8000001d data: feedface  pos:0 ino:1a2b sdev:9" */
static bool read_watch(const char *line, struct watch *w, ino_t *ino)
{
	char *at;

	if (strncmp(line, "tfd:", 4) != 0)
		return false;
	w->fd = (int)strtol(line + 4, &at, 10);
	if (!(at = strstr(at, "events:")))
		return false;
	w->e.events = (uint32_t)strtoul(at + 7, &at, 16);
	if (!(at = strstr(at, "data:")))
		return false;
	w->e.data.u64 = strtoull(at + 5, &at, 16);
	if (!(at = strstr(at, "ino:")))
		return false;
	*ino = strtoul(at + 4, NULL, 16);
	return true;
}

static void take_line(struct watches *ws, int set, const char *line)
{
	struct watch w = { .set = set };
	ino_t ino;

	if (!read_watch(line, &w, &ino) || ino != ws->doorbell || ws->count == WATCHES_MAX)
		return;
	if (syscall(SYS_epoll_ctl, set, EPOLL_CTL_DEL, w.fd, &w.e) == 0)
		ws->w[ws->count++] = w;
}

/* Lines of one file that may be long. One that is longer than the buffer is no epoll set's. */
static void take_from(struct watches *ws, int set, int file)
{
	char text[4096];
	size_t have = 0;
	long n;

	while ((n = syscall(SYS_read, file, text + have, sizeof(text) - 1 - have)) > 0) {
		char *line = text, *end;

		have += (size_t)n;
		text[have] = 0;
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = 0;
			take_line(ws, set, line);
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
		if (have == sizeof(text) - 1)
			return;
	}
}

/* No directory is opened by libc, which would allocate: connect() may be called where that must not be. */
static void take_watches(struct watches *ws)
{
	char names[2048];
	int dir = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC), info;
	long n;

	while (dir >= 0 && (n = syscall(SYS_getdents64, dir, names, sizeof(names))) > 0) {
		for (long at = 0; at < n; at += ((struct dirent64 *)(void *)(names + at))->d_reclen) {
			const char *name = ((struct dirent64 *)(void *)(names + at))->d_name;

			info = name[0] == '.' ? -1 : (int)syscall(SYS_openat, dir, name, O_RDONLY | O_CLOEXEC);
			if (info < 0)
				continue;
			take_from(ws, atoi(name), info);
			syscall(SYS_close, info);
		}
	}
	if (dir >= 0)
		syscall(SYS_close, dir);
}

static void watch_again(struct watches *ws)
{
	for (int i = 0; i < ws->count; i++)
		syscall(SYS_epoll_ctl, ws->w[i].set, EPOLL_CTL_ADD, ws->w[i].fd, &ws->w[i].e);
}

void again_replace(struct sock *k, int fd)
{
	struct watches ws = { .count = 0 };
	struct stat st;
	struct sock made = { 0 };

	if (sock_get(fd, &made) && fstat(k->fd, &st) == 0) {
		ws.doorbell = st.st_ino;
		take_watches(&ws);
		doorbell_replace(k, fd, PLACE(made.ins, made.slot));
		watch_again(&ws);
	}
	fdtab_clear(fd);
	syscall(SYS_close, fd);
}

void again_here(struct sock *k)
{
	int saved = errno, fd;

	if (plain_on || !in_own_process())
		return;
	fd = again_make(k);
	if (fd >= 0)
		again_replace(k, fd);
	errno = saved;
}
