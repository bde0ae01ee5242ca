// SPDX-License-Identifier: Apache-2.0
/*
 * list.c - sockets in order, linked by their next and prev.
 * Trust: slots are the INS's own; a worker that dies may leave a list half changed.
 */
#include "ins/list.h"

/* The way forward is whole at any time; what else there is, list_recover() makes of it. */
void list_append(struct list *q, struct isock *s)
{
	s->prev = q->last;
	s->next = NO_SLOT;
	mw_order();
	if (q->last == NO_SLOT)
		mw_store(&q->first, slot_of(s));
	else
		mw_store(&sock_at(q->last)->next, slot_of(s));
	mw_order();
	q->last = slot_of(s);
	q->count++;
}

void list_remove(struct list *q, struct isock *s)
{
	if (s->prev == NO_SLOT)
		mw_store(&q->first, s->next);
	else
		mw_store(&sock_at(s->prev)->next, s->next);
	mw_order();
	if (s->next == NO_SLOT)
		q->last = s->prev;
	else
		sock_at(s->next)->prev = s->prev;
	q->count--;
}

void list_recover(struct list *q, bool (*is_member)(const struct isock *s, const struct isock *l), const struct isock *l)
{
	uint32_t next;
	struct list whole = LIST_EMPTY;

	for (uint32_t i = q->first, n = 0; i < ins.view.slots && n < ins.view.slots; i = next, n++) {
		next = sock_at(i)->next;
		if (is_member(sock_at(i), l))
			list_append(&whole, sock_at(i));
	}
	*q = whole;
}
