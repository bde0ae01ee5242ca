// SPDX-License-Identifier: Apache-2.0
/*
 * events.c - takes events out of the INS's memory and gives each to every consumer.
 * Trust: an event is copied and used only if its number was right before and after.
 *
 * The INS waits for nobody, so whoever is slow finds events overwritten: they are counted, and each consumer is told.
 * The first event after a quiet time wakes us; while there are more we look again after a rest, and nobody is woken for each.
 */
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "telem/metric.h"
#include "telem/telem.h"

#define AT_ONCE 4096 /* then others have their turn */
#define REST_US 300  /* between two looks while there are events */

static struct consumer *consumers;
static uint64_t next;
static struct watch wake;
static struct timer more;

/* Whether more events shall wake us; where an INS is another machine, each wake-up costs it a notification. */
static void listen_for_more(bool on)
{
	static bool now;

	if (on != now)
		loop_change(&wake, on ? EPOLLIN : 0);
	now = on;
}

static struct mw_reader *page(void)
{
	return (struct mw_reader *)(void *)telem.reader;
}

static void tell(const struct mw_event *e)
{
	for (struct consumer *c = consumers, *after; c; c = after) {
		after = c->next;
		c->event(c, e);
	}
}

static void tell_lost(uint64_t count)
{
	metric_lost(LOST_RING, count);
	for (struct consumer *c = consumers, *after; c; c = after) {
		after = c->next;
		if (c->lost)
			c->lost(c, count);
	}
}

void events_sample(const struct flow *f)
{
	for (struct consumer *c = consumers, *after; c; c = after) {
		after = c->next;
		if (c->sample)
			c->sample(c, f);
	}
}

static uint64_t skip_to_end_of_lost(uint64_t end)
{
	uint64_t lost = end - next > MW_EVENTS ? end - next - MW_EVENTS : 0;

	next += lost;
	return lost;
}

/* At most AT_ONCE events. True when it came to the end. */
static bool drain(void)
{
	uint64_t end = flow_events(&telem.flows), lost = skip_to_end_of_lost(end);
	struct mw_event e;

	for (int i = 0; i < AT_ONCE && next != end; i++, next++) {
		if (flow_event(&telem.flows, next, &e))
			tell(&e);
		else
			lost++;
	}
	if (lost)
		tell_lost(lost);
	return next == end;
}

static void look(void)
{
	uint64_t from = next;
	bool all = drain();

	if (next != from) {
		loop_timer_us(&more, all ? REST_US : 0);
		return;
	}
	mw_store(&page()->armed, next);
	mw_fence(); /* pairs with the INS's between event_next and armed */
	if (flow_events(&telem.flows) != next)
		loop_timer(&more, 0);
	else
		listen_for_more(true);
}

static void on_wake(struct watch *w, uint32_t events)
{
	uint64_t count;

	listen_for_more(false);
	if (events & EPOLLHUP)
		loop_remove(w); /* another machine is gone; whoever started us ends us */
	else if (read(w->fd, &count, sizeof(count)) == sizeof(count) && consumers && !more.due_ns)
		look();
}

static void on_more(struct timer *t)
{
	(void)t;
	if (consumers)
		look();
}

void events_add(struct consumer *c)
{
	bool first = !consumers;

	c->next = consumers;
	consumers = c;
	if (c->sample)
		sample_want();
	if (!first)
		return;
	mw_store(&page()->wanted, (uint64_t)1);
	next = flow_events(&telem.flows);
	look();
}

void events_remove(struct consumer *c)
{
	struct consumer **at = &consumers;

	while (*at && *at != c)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = c->next;
	if (c->sample)
		sample_unwant();
	if (consumers)
		return;
	mw_store(&page()->wanted, (uint64_t)0);
	listen_for_more(false);
}

int events_init(void)
{
	mw_store(&page()->wanted, (uint64_t)0); /* whatever an earlier life wanted */
	wake = (struct watch){ TELEM_WAKE_FD, on_wake };
	more.fn = on_more;
	return loop_add(&wake, 0);
}
