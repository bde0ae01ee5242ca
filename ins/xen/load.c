// SPDX-License-Identifier: Apache-2.0
/*
 * load.c - see load.h.
 * Trust: as in the header.
 */
#include <stdint.h>
#include <stdio.h>

#include "ins/xen/load.h"
#include "lib/clock.h"

enum { USER, NICE, SYSTEM, IDLE, WAITS, IRQ, SOFTIRQ, STEAL, TIMES };

static uint64_t last_busy, last_all, last_opened;
static int64_t last_ms;

/* Thousandths since the last time; what the hypervisor gave to others was not idle either. */
static unsigned int cpu(void)
{
	unsigned long long n[TIMES] = { 0 };
	uint64_t all = 0, busy, past_busy, past_all;
	FILE *f = fopen("/proc/stat", "re");
	int got = f ? fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &n[USER], &n[NICE], &n[SYSTEM], &n[IDLE], &n[WAITS], &n[IRQ],
			     &n[SOFTIRQ], &n[STEAL]) : 0;

	if (f)
		fclose(f);
	for (int i = 0; i < TIMES; i++)
		all += n[i];
	busy = all - n[IDLE] - n[WAITS];
	past_busy = busy - last_busy;
	past_all = all - last_all;
	last_busy = busy;
	last_all = all;
	return got == TIMES && past_all && past_busy <= past_all ? (unsigned int)(past_busy * 1000 / past_all) : 0;
}

static uint64_t rate(const struct mw_tele *t)
{
	int64_t now = clock_ms(), past = now - last_ms;
	uint64_t opened = mw_load(&t->opened);
	uint64_t more = last_ms && opened >= last_opened && past > 0 ? (opened - last_opened) * 1000 / (uint64_t)past : 0;

	last_opened = opened;
	last_ms = now;
	return more;
}

static uint64_t connections(const struct mw_tele_view *v, const struct mw_tele *t)
{
	uint64_t sockets = mw_load(&t->sockets), others = 0;
	uint32_t high = mw_load(&t->slots_high);

	for (uint32_t i = 0; i < high && i < v->slots; i++) {
		const struct mw_flow *f = (const struct mw_flow *)(mw_uintptr)tele_flow(v, i);

		others += mw_load_acquire(&f->id) && mw_load(&f->state) < MW_ST_CONNECTING;
	}
	return sockets > others ? sockets - others : 0;
}

void load_text(const struct mw_tele_view *v, const struct mw_tele *t, char *text, size_t room)
{
	snprintf(text, room, "%x:%lx:%lx", cpu(), (unsigned long)connections(v, t), (unsigned long)rate(t));
}
