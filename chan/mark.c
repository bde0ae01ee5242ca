// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * mark.c - see mark.h.
 * Trust: as in the header.
 */
#include "mark.h"

/* The mark is loaded first: who adds bytes to drop says so before the newer mark. */
void mark_see(struct mw_mark *m, struct mw_slot __peer *s, uint64_t cons, uint32_t rx_bytes)
{
	uint64_t at = mw_load_acquire(MW_WORD(&s->ins.rx_urgent)) - 1;
	uint64_t to = mw_load_acquire(MW_WORD(&s->ins.rx_drop_to)), from = mw_load_acquire(MW_WORD(&s->ins.rx_drop_from));

	m->begin = cons - from < to - from && to - cons <= rx_bytes ? to : cons;
	m->ahead = at - m->begin;
	m->in_line = mw_load_acquire(MW_WORD(&s->ins.urgent_inline));
	m->pad = 0;
}

uint32_t mark_cut(const struct mw_mark *m, uint64_t *cons, uint32_t used, bool more)
{
	uint64_t end = *cons + used;

	if (end - m->begin > used)
		return used; /* the bytes to be dropped are not all there: ins lies */
	*cons = m->begin;
	if (m->ahead >= end - m->begin)
		return (uint32_t)(end - m->begin);
	if (m->ahead)
		return (uint32_t)m->ahead;
	if (more)
		return 0;
	if (!m->in_line)
		++*cons;
	return (uint32_t)(end - *cons);
}

uint32_t mark_unread(const struct mw_mark *m, uint64_t cons, uint32_t used)
{
	uint64_t left = cons + used - m->begin;

	if (left > used)
		return used;
	return m->ahead < left && !m->in_line ? (uint32_t)m->ahead : (uint32_t)left;
}

uint32_t mark_hidden(const struct mw_mark *m, uint64_t cons)
{
	return (uint32_t)(m->begin - cons) + (m->ahead == 0 && !m->in_line);
}
