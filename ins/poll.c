// SPDX-License-Identifier: Apache-2.0
/*
 * poll.c - the dispatcher's only acquaintance with epoll.
 * Trust: none.
 *
 * Tag: kind (8 bits), sub-index (8), slot or connection (16), generation (32). A generation that does not match
 * is an event of something that ended earlier in the same batch.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "ins/journal.h"
#include "ins/poll.h"

MW_ASSERT(MW_SLOTS_MAX <= 65536, "a slot fits the tag");

int poll_init(void)
{
	ins.fd->epoll = epoll_create1(EPOLL_CLOEXEC);
	return ins.fd->epoll < 0 ? -errno : 0;
}

static int control(int op, int fd, uint64_t tag, uint32_t mask)
{
	struct epoll_event e = { .events = mask, .data.u64 = tag };

	return epoll_ctl(ins.fd->epoll, op, fd, &e) < 0 ? -errno : 0;
}

static uint64_t tag_of(enum event_kind kind, uint32_t sub, uint32_t index, uint32_t gen)
{
	return (uint64_t)kind << 56 | (uint64_t)sub << 48 | (uint64_t)index << 32 | gen;
}

int poll_change(int fd, enum event_kind kind, uint32_t sub, uint32_t index, uint32_t gen, uint32_t mask)
{
	return control(EPOLL_CTL_MOD, fd, tag_of(kind, sub, index, gen), mask);
}

int poll_add(int fd, enum event_kind kind, uint32_t sub, uint32_t index, uint32_t gen, uint32_t mask)
{
	int r = control(EPOLL_CTL_ADD, fd, tag_of(kind, sub, index, gen), mask);

	return r == -EEXIST ? poll_change(fd, kind, sub, index, gen, mask) : r; /* it has been another's */
}

int poll_wait(int timeout_ms)
{
	static int last = EVENTS_MAX;
	int n;

	for (int i = 0; i < last; i++) /* what the kernel writes there is known by its mask, also when we do not return */
		journal->event[i].events = 0;
	mw_order();
	n = epoll_wait(ins.fd->epoll, journal->event, EVENTS_MAX, timeout_ms);
	last = n < 0 ? 0 : n;
	return last;
}

int poll_left(void)
{
	int n = 0;

	while (n < EVENTS_MAX && journal->event[n].events)
		n++;
	return n;
}

void poll_event(int i, struct event *e)
{
	uint64_t tag = journal->event[i].data.u64;

	e->kind = (enum event_kind)(tag >> 56);
	e->sub = tag >> 48 & 0xff;
	e->index = tag >> 32 & 0xffff;
	e->gen = (uint32_t)tag;
	e->mask = journal->event[i].events;
}
