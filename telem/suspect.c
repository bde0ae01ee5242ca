// SPDX-License-Identifier: Apache-2.0
/*
 * suspect.c - see suspect.h.
 * Trust: as in the header.
 */
#include "chan/msg.h"
#include "telem/diag.h"
#include "telem/suspect.h"

#define TIMER_RETRANSMIT 1

static bool longer(uint64_t since, uint64_t now)
{
	return now > since && now - since > SUSPECT_AFTER_NS;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* What the kernel said, if it was asked. */
static uint32_t of_sample(const struct sample *s)
{
	uint32_t bits = 0;

	if (!s->id)
		return 0;
	if (s->zero_since_ns)
		bits |= SUSPECT_ZERO_WINDOW;
	if (s->timer == TIMER_RETRANSMIT && s->backoff)
		bits |= SUSPECT_RETRANSMIT;
	return bits;
}

uint32_t suspect(const struct flow *f, uint64_t now_ns)
{
	uint64_t rx = later(f->f.last_rx_ns, f->f.opened_ns), tx = later(f->f.last_tx_ns, f->f.opened_ns);
	uint64_t waits_out = f->unsent + (f->s.id ? (uint64_t)f->s.notsent + f->s.unacked : 0);
	uint32_t bits;

	if (f->f.type != MW_TYPE_STREAM || f->f.state < MW_ST_ESTABLISHED || f->f.state == MW_ST_CLOSED)
		return 0;
	bits = of_sample(&f->s);
	if (f->f.listener && !f->f.first_rx_ns && longer(f->f.opened_ns, now_ns))
		bits |= SUSPECT_NO_BYTE;
	if (f->f.head == MW_HEAD_PARTIAL && longer(later(f->f.first_rx_ns, f->f.opened_ns), now_ns))
		bits |= SUSPECT_HEAD;
	if (f->f.state != MW_ST_HELD && f->unread + (f->s.id ? f->s.rqueue : 0) && longer(rx, now_ns))
		bits |= SUSPECT_UNREAD;
	if (waits_out && longer(tx, now_ns))
		bits |= SUSPECT_UNSENT;
	if (longer(later(rx, tx), now_ns))
		bits |= SUSPECT_SILENT;
	return bits;
}
