// SPDX-License-Identifier: Apache-2.0
/*
 * linger.c - connections that the INS has closed and the kernel has not: FIN_WAIT, LAST_ACK, CLOSING, TIME_WAIT.
 * Trust: the log is the INS's: numbers from it are shown, not used.
 *
 * A closed flow is a candidate until the next look at all sockets; if the kernel still has its socket, it is shown until a look
 * does not find it. Of the sockets that close between two looks without any consumer, the log's last ones are known.
 */
#include <string.h>

#include "chan/msg.h"
#include "lib/addr.h"
#include "telem/history.h"
#include "telem/sample.h"

static struct {
	uint64_t id, cookie;       /* id 0: free */
	uint32_t kernel_state;     /* 0: a candidate */
	bool seen;
} own[LINGERS];

static uint32_t free_list[LINGERS], free_count, candidates, awake;
static bool by_host; /* not all of them had addresses outside */
static uint64_t log_next;

static struct lingering *shared(uint32_t i)
{
	return (struct lingering *)(void *)(telem.reader + LINGERS_OFFSET) + i;
}

static struct samples_head *head(void)
{
	return (struct samples_head *)(void *)(telem.reader + SAMPLES_HEAD);
}

static void put(uint32_t i, const struct sample *s, const struct mw_flow *f)
{
	struct lingering l = { .s = *s, .f = *f };

	linger_store(shared(i), &l);
}

static void drop(uint32_t i)
{
	static const struct sample none;
	static const struct mw_flow no_flow;

	put(i, &none, &no_flow);
	own[i].id = 0;
	free_list[free_count++] = i;
}

void lingers_init(void)
{
	uint64_t end = flow_closed_count(&telem.flows);
	uint32_t high = mw_load(&head()->lingers_high);

	for (uint32_t i = LINGERS; i-- > 0;) {
		if (i < high)
			drop(i); /* an earlier life's */
		else
			free_list[free_count++] = i;
	}
	log_next = end > MW_LOG_ENTRIES ? end - MW_LOG_ENTRIES : 0;
}

/* What was last known of the socket while it had a slot. */
static struct sample last_sample(uint64_t id)
{
	struct sample s = { 0 };
	uint32_t slot = (uint32_t)id;

	if (slot >= MW_SLOTS_MAX || !sample_load((struct sample *)(void *)(telem.reader + SAMPLES_OFFSET) + slot, id, &s))
		memset(&s, 0, sizeof(s));
	s.id = 0; /* not shown before the kernel has been asked */
	return s;
}

static void learn(const struct mw_flow *f)
{
	struct sample s;
	uint32_t i;

	if (f->type != MW_TYPE_STREAM || f->peer.family == MW_FAMILY_NONE || !f->cookie || !f->id)
		return;
	if (!free_count) {
		mw_store(&head()->lingers_over, mw_load(&head()->lingers_over) + 1);
		return;
	}
	i = free_list[--free_count];
	own[i].id = f->id;
	own[i].cookie = f->cookie;
	own[i].kernel_state = 0;
	own[i].seen = false;
	candidates++;
	by_host = by_host || addr_is_loopback(&f->local) || addr_is_loopback(&f->peer);
	s = last_sample(f->id);
	put(i, &s, f);
	if (i >= mw_load(&head()->lingers_high))
		mw_store_release(&head()->lingers_high, i + 1);
}

void lingers_learn(void)
{
	uint64_t end = flow_closed_count(&telem.flows);
	struct flow f;

	if (end - log_next > MW_LOG_ENTRIES)
		log_next = end - MW_LOG_ENTRIES;
	for (; log_next != end; log_next++)
		if (flow_read_closed(&telem.flows, log_next, &f))
			learn(&f.f);
}

uint32_t lingers_count(void)
{
	return LINGERS - free_count;
}

/* Those that still have bytes or a FIN to get rid of; or there is hardly room for more candidates. */
bool lingers_want(void)
{
	return awake || candidates > LINGERS / 4;
}

bool lingers_by_host(void)
{
	return by_host;
}

void lingers_look(void)
{
	uint32_t high = mw_load(&head()->lingers_high);

	for (uint32_t i = 0; i < high && i < LINGERS; i++) {
		own[i].seen = false;
		if (own[i].id)
			cookies_put(own[i].cookie, own[i].id, MW_SLOTS_MAX + i);
	}
}

void lingers_seen(uint32_t i, uint64_t id, const struct sample *found)
{
	struct lingering *l = shared(i), copy = *l;
	struct sample s = *found;

	if (own[i].id != id)
		return;
	copy.s.id = id;
	copy.f.id = id;
	sample_complete(&s, &copy.s, &copy.f, loop_now_ns());
	put(i, &s, &copy.f);
	own[i].seen = true;
	own[i].kernel_state = s.kernel_state;
}

/* One that was learned while the look was under way is not among the sockets asked for: it stays a candidate. */
void lingers_sweep(void)
{
	uint32_t high = mw_load(&head()->lingers_high);
	const struct cookie *c;

	candidates = awake = 0;
	by_host = by_host && lingers_count();
	for (uint32_t i = 0; i < high && i < LINGERS; i++) {
		if (!own[i].id)
			continue;
		c = cookies_find(own[i].cookie);
		if (!own[i].seen && c && c->index == MW_SLOTS_MAX + i)
			drop(i);
		else if (!own[i].kernel_state)
			candidates++;
		else if (own[i].kernel_state != DIAG_TIME_WAIT)
			awake++;
	}
}

bool lingers_read(uint32_t i, struct flow *out)
{
	return own[i].id && own[i].kernel_state && own[i].kernel_state != DIAG_TIME_WAIT && flow_read_linger(&telem.flows, i, out);
}
