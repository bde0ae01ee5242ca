// SPDX-License-Identifier: Apache-2.0
/*
 * loop.c - epoll and a list of timers.
 * Trust: none needed.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>

#include "telem/telem.h"

#define AT_ONCE 64

static int epoll = -1;
static struct timer *timers;               /* earliest first */
static struct epoll_event pending[AT_ONCE]; /* of the present round; one that is removed is emptied */
static int pending_count;

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t loop_now_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t loop_steady_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int loop_init(void)
{
	epoll = epoll_create1(EPOLL_CLOEXEC);
	return epoll < 0 ? -errno : 0;
}

static int control(int op, struct watch *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	return epoll_ctl(epoll, op, w->fd, &e) < 0 ? -errno : 0;
}

int loop_add(struct watch *w, uint32_t events)
{
	return control(EPOLL_CTL_ADD, w, events);
}

void loop_change(struct watch *w, uint32_t events)
{
	control(EPOLL_CTL_MOD, w, events);
}

void loop_remove(struct watch *w)
{
	control(EPOLL_CTL_DEL, w, 0);
	for (int i = 0; i < pending_count; i++)
		if (pending[i].data.ptr == w)
			pending[i].data.ptr = NULL;
}

void loop_timer_stop(struct timer *t)
{
	struct timer **at = &timers;

	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
	t->due_ns = 0;
}

void loop_timer_us(struct timer *t, uint64_t us)
{
	struct timer **at = &timers;

	loop_timer_stop(t);
	t->due_ns = loop_steady_ns() + us * 1000;
	while (*at && (*at)->due_ns <= t->due_ns)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
}

void loop_timer(struct timer *t, uint32_t ms)
{
	loop_timer_us(t, ms * 1000ull);
}

static int wait_events(void)
{
	uint64_t now = loop_steady_ns(), left = timers && timers->due_ns > now ? timers->due_ns - now : 0;
	struct timespec wait = { .tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u) };

	return epoll_pwait2(epoll, pending, AT_ONCE, timers ? &wait : NULL, NULL);
}

static void run_timers(void)
{
	uint64_t now = loop_steady_ns();

	while (timers && timers->due_ns <= now) {
		struct timer *t = timers;

		timers = t->next;
		t->due_ns = 0;
		t->fn(t);
	}
}

void loop_run(void)
{
	for (;;) {
		pending_count = wait_events();
		for (int i = 0; i < pending_count; i++) {
			struct watch *w = pending[i].data.ptr;

			if (w)
				w->fn(w, pending[i].events);
		}
		pending_count = 0;
		run_timers();
	}
}
