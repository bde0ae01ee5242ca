// SPDX-License-Identifier: Apache-2.0
/*
 * history.c - see history.h.
 * Trust: as in the header.
 */
#include "telem/diag.h"
#include "telem/history.h"

static bool can_send(uint32_t kernel_state)
{
	return kernel_state == 1 || kernel_state == 4 || kernel_state == 8 || kernel_state == 9 || kernel_state == 11;
}

/* The handshake took a round trip before the INS accepted it; connect() is when our own SYN went. */
static uint64_t syn_ns(const struct sample *now, const struct mw_flow *f)
{
	uint64_t rtt = (now->min_rtt_us ? now->min_rtt_us : now->rtt_us) * 1000ull;

	return f->listener && rtt < f->opened_ns ? f->opened_ns - rtt : f->opened_ns;
}

void sample_complete(struct sample *now, const struct sample *last, const struct mw_flow *f, uint64_t now_ns)
{
	bool known = last->id == f->id && last->time_ns && last->time_ns <= now_ns;

	if (known && now->kernel_state == DIAG_TIME_WAIT) { /* of which the kernel says no more */
		uint32_t timer = now->timer, timer_ms = now->timer_ms;

		*now = *last;
		now->kernel_state = DIAG_TIME_WAIT;
		now->timer = timer;
		now->timer_ms = timer_ms;
		now->zero_since_ns = 0;
		now->mem = now->rmem = now->wmem = now->rqueue = now->unacked = now->notsent = 0;
	}
	now->id = f->id;
	now->time_ns = now_ns;
	now->syn_ns = known && last->syn_ns ? last->syn_ns : syn_ns(now, f);
	now->zero_ns = known ? last->zero_ns : 0;
	if (can_send(now->kernel_state) && (!now->snd_wnd || now->timer == DIAG_PROBES)) {
		now->zero_since_ns = known && last->zero_since_ns ? last->zero_since_ns : now_ns;
		now->zero_ns += known && last->zero_since_ns ? now_ns - last->time_ns : 0;
	}
}
