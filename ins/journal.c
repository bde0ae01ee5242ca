// SPDX-License-Identifier: Apache-2.0
/*
 * journal.c - see journal.h.
 * Trust: as in the header.
 */
#include <string.h>
#include <unistd.h>

#include "chan/msg.h"
#include "ins/ins.h"
#include "ins/journal.h"
#include "ins/state.h"
#include "ins/xen/front.h"

#define NOT_DONE 0xffffffffu

struct journal *journal;

int journal_init(void)
{
	journal = state_block("journal", sizeof(*journal));
	ins.fd = state_block("descriptors", sizeof(*ins.fd));
	return journal && ins.fd ? 0 : -ENOMEM;
}

/* --- deeds --- */

void deed_begin(enum deed_kind kind, const struct isock *s)
{
	struct deed *d = &journal->deed;

	d->slot = s ? slot_of(s) : NO_SLOT;
	d->gen = s ? s->gen : 0;
	if (s && kind == DEED_RECV)
		d->head = s->head;
	d->m.msg_len = NOT_DONE;
	mw_order();
	mw_store(&d->kind, (uint32_t)kind);
	mw_order();
}

bool deed_done(void)
{
	return journal->deed.m.msg_len != NOT_DONE;
}

uint32_t deed_bytes(void)
{
	return journal->deed.m.msg_len;
}

ssize_t deed_send(int fd, struct iovec *iov, size_t parts, const int *fds, int count, int flags)
{
	struct msghdr *h = &journal->deed.m.msg_hdr;
	union fdpass_control c;

	*h = (struct msghdr){ .msg_iov = iov, .msg_iovlen = parts };
	fdpass_give(h, &c, fds, count);
	if (sendmmsg(fd, &journal->deed.m, 1, flags | MSG_NOSIGNAL) < 0)
		return -errno;
	return deed_bytes();
}

ssize_t deed_recv(int fd, struct iovec *iov, size_t parts, int flags)
{
	journal->deed.m.msg_hdr = (struct msghdr){ .msg_iov = iov, .msg_iovlen = parts };
	return recvmmsg(fd, &journal->deed.m, 1, flags, NULL) < 0 ? -errno : (ssize_t)deed_bytes();
}

/* --- jobs --- */

ssize_t job_take(enum job_kind kind, int fd)
{
	struct job *j = &journal->job;
	struct iovec iov = { &j->u, sizeof(j->u) };

	j->again = j->found = j->state = 0;
	memset(&j->control, 0, sizeof(j->control));
	j->m.msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &j->control,
					.msg_controllen = sizeof(j->control) };
	j->m.msg_len = NOT_DONE;
	mw_order();
	mw_store(&j->kind, (uint32_t)kind);
	mw_order();
	if (recvmmsg(fd, &j->m, 1, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL) < 0) {
		int e = errno;

		job_end();
		return -e;
	}
	if (j->m.msg_len == 0)
		job_end();
	return j->m.msg_len ? job_bytes() : 0;
}

bool job_taken(void)
{
	return journal->job.m.msg_len != NOT_DONE;
}

ssize_t job_bytes(void)
{
	return journal->job.m.msg_hdr.msg_flags & MSG_TRUNC ? -EMSGSIZE : (ssize_t)journal->job.m.msg_len;
}

/* The message's own pointers are of the process that took it. */
int job_fds(int *fds, int room)
{
	struct job *j = &journal->job;
	struct msghdr h = { .msg_control = &j->control, .msg_controllen = j->m.msg_hdr.msg_controllen };

	return fdpass_take(&h, fds, room);
}

void job_begin_accept(const struct isock *l, uint32_t sub)
{
	struct job *j = &journal->job;

	j->slot = slot_of(l);
	j->gen = l->gen;
	j->sub = sub;
	mw_order();
	mw_store(&j->kind, (uint32_t)JOB_ACCEPT);
	mw_order();
}

void journal_at(const struct isock *s)
{
	journal->at_gen = s->gen;
	mw_store(&journal->at, slot_of(s) + 1);
	if (ins.door)
		mirror_touch(slot_of(s));
}
