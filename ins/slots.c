// SPDX-License-Identifier: Apache-2.0
/*
 * slots.c - the socket table: making, naming, ending.
 * Trust: our own state is in struct isock; the arena's copy is written, never read back.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "ins/accept.h"
#include "ins/again.h"
#include "ins/block.h"
#include "ins/gate.h"
#include "ins/journal.h"
#include "ins/list.h"
#include "ins/observe.h"
#include "ins/op.h"
#include "ins/slots.h"
#include "ins/state.h"
#include "ins/xen/front.h"
#include "lib/addr.h"

#define KEPT_MAX     256 /* orphans that still answer for options: some 3 KiB of the kernel's each */

/* The latest orphans; an older one has lost its handle, one whose slot is in use again has given it up. */
static uint32_t kept[KEPT_MAX], kept_count;

int slots_init(uint32_t count)
{
	ins.ringing = calloc(count, sizeof(*ins.ringing));
	ins.socks = state_block("sockets", count * sizeof(*ins.socks));
	ins.listeners = state_block("listeners", count * sizeof(*ins.listeners)); /* pages that no listener is in stay untouched */
	return ins.ringing && ins.socks && ins.listeners ? 0 : -ENOMEM;
}

static struct list *spare_of(uint32_t slot)
{
	return &ins.spare[ins.door && memory_is_large(slot)];
}

static void put_first(uint32_t slot)
{
	struct list *q = spare_of(slot);
	struct isock *s = sock_at(slot);

	s->prev = NO_SLOT;
	s->next = q->first;
	if (q->first == NO_SLOT)
		q->last = slot;
	else
		sock_at(q->first)->prev = slot;
	q->first = slot;
	q->count++;
}

static void put_last(uint32_t slot)
{
	if (!ins.door || memory_has_rings(slot))
		list_append(spare_of(slot), sock_at(slot));
}

bool slots_spent(void)
{
	return !ins.spare[0].count && !ins.spare[1].count;
}

uint32_t slots_spares(void)
{
	return ins.spare[0].count;
}

void slots_spare(uint32_t slot)
{
	put_last(slot);
	if (ins.starved)
		accept_resume_all();
}

void slots_unspare(uint32_t slot)
{
	list_remove(spare_of(slot), sock_at(slot));
}

/* The free list anew: orphans last. What was never used is all zeroes. */
void slots_recover(void)
{
	uint32_t high = observe_header()->slots_high;

	ins.spare[0] = ins.spare[1] = LIST_EMPTY;
	ins.used = kept_count = 0;
	for (uint32_t i = 0; i < high; i++) {
		struct isock *s = sock_at(i);

		ins.used += s->gen & 1;
		if (!(s->gen & 1) && s->state != MW_ST_CLOSED)
			put_last(i);
	}
	for (uint32_t i = high; i < ins.view.slots; i++) {
		sock_at(i)->dead = -1;
		put_last(i);
	}
	for (uint32_t i = 0; i < high; i++) {
		struct isock *s = sock_at(i);

		if (s->gen & 1 || s->state != MW_ST_CLOSED)
			continue;
		put_last(i);
		if (s->dead >= 0)
			kept[kept_count++ % KEPT_MAX] = i;
	}
}

/* Without a time to linger: the kernel would make us wait for it, and with us all other sockets. */
static void close_at_once(int handle) /* which nobody knows any more */
{
	static const int off[2];

	ins.stack->setopt(handle, 1, 13, off, sizeof(off)); /* SOL_SOCKET, SO_LINGER */
	ins.stack->close(handle);
}

/* An orphan gives up what it was kept for. */
static void forget(struct isock *s)
{
	int dead = s->dead;

	if (dead >= 0) {
		journal->deed.fd = dead; /* not to be taken for a connection that was accepted a moment ago */
		deed_begin(DEED_CLOSE, s);
		s->dead = -1;
		mw_order();
		close_at_once(dead);
		deed_end();
	}
	op_abandon(s);
}

/* The application holds no reference to a slot that is not in use, so both halves may be written. */
static void clear_shared(struct isock *s, struct mw_slot *m)
{
	uint32_t gen = s->gen;

	memset(&m->app, 0, sizeof(m->app));
	memset(&m->names, 0, sizeof(m->names));
	memset((uint8_t *)&m->ins + 8, 0, sizeof(m->ins) - 8);
	m->ins.rx_space_event = m->ins.rx_told = m->app.tx_event = MW_NEVER;
	if (getrandom(m->ins.nonce, sizeof(m->ins.nonce), 0) < 0)
		memcpy(m->ins.nonce, &gen, sizeof(gen));
}

/* Where a new socket of that type may be; a connection in large rings only when there are no others. */
static struct list *spare_for(uint16_t type)
{
	bool large = ins.door && (type == MW_TYPE_DGRAM || !ins.spare[0].count);

	return &ins.spare[large];
}

struct isock *slots_new(uint32_t *slot)
{
	return slots_new_for(MW_TYPE_STREAM, slot);
}

struct isock *slots_new_for(uint16_t type, uint32_t *slot)
{
	struct mw_arena *a = ins_arena();
	uint32_t i, gen, dirty;
	struct isock *s;

	if (!spare_for(type)->count)
		gate_make_room();
	i = spare_for(type)->first;
	if (i == NO_SLOT)
		return NULL;
	s = sock_at(i);
	mw_store(&journal->making, i + 1);
	mw_order();
	forget(s);
	list_remove(spare_for(type), s);
	gen = s->gen + 1;
	if (!(gen & 1))
		gen++;
	dirty = s->flags & F_DIRTY;
	memset(&s->gen + 1, 0, sizeof(*s) - sizeof(s->gen));
	s->flags = dirty;
	s->tcp = s->dead = s->bell = s->tomb = s->app_end = s->urgent_due = s->siren[0] = s->siren[1] = -1;
	s->op_backlog = -1;
	mw_order();
	mw_store(&s->gen, gen);
	s->rx_told = s->tx_told = MW_NEVER;
	clear_shared(s, shared_of(s));
	if (i >= a->slots_high)
		mw_store_release(&a->slots_high, i + 1);
	ins.used++;
	observe_new(s);
	slots_state(s, MW_ST_OPEN);
	mw_store_release(&shared_of(s)->ins.gen, gen);
	*slot = i;
	return s;
}

struct isock *slots_find(uint32_t slot, uint32_t gen)
{
	if (slot >= ins.view.slots || sock_at(slot)->gen != gen || !(gen & 1))
		return NULL;
	return sock_at(slot);
}

/* The asker may have read the generation a moment before the socket became an orphan. */
struct isock *slots_find_asked(uint32_t slot, uint32_t gen)
{
	if (slot < ins.view.slots && sock_at(slot)->gen == gen + (gen & 1) && sock_at(slot)->dead >= 0)
		return sock_at(slot);
	return slots_find(slot, gen);
}

void slots_state(struct isock *s, uint32_t state)
{
	struct mw_slot *m = shared_of(s);

	s->state = (uint8_t)state;
	mw_store(&flow_of(s)->state, state);
	mw_store_release(&m->ins.state, state);
	if (ins.door)
		front_mark(s);
}

void slots_show_names(struct isock *s)
{
	shared_of(s)->names.local = flow_of(s)->local;
	shared_of(s)->names.peer = flow_of(s)->peer;
}

/* An IPv6 socket has an IPv4 peer also by the host's IPv4 loopback listener: the stack does not map that one. */
static struct mw_addr as_family(struct mw_addr a, uint16_t family)
{
	if (family == MW_FAMILY_IP6)
		addr_map(&a);
	return a;
}

static void learn_names(struct isock *s, const struct mw_addr *peer)
{
	struct mw_flow *f = flow_of(s);
	struct mw_addr a;

	if (ins.stack->name_of(s->tcp, &a, false) == 0)
		f->local = as_family(a, s->family);
	if (peer)
		a = *peer;
	else if (ins.stack->name_of(s->tcp, &a, true) < 0)
		return;
	f->peer = as_family(a, s->family);
}

void slots_names(struct isock *s, const struct mw_addr *peer)
{
	learn_names(s, peer);
	slots_show_names(s);
}

static void close_fd(int *fd)
{
	int was = *fd;

	mw_store(fd, -1);
	mw_order();
	if (was >= 0)
		close(was);
}

static void close_all(struct isock *s)
{
	int tcp = s->tcp;

	s->tcp = -1;
	mw_order();
	if (tcp >= 0 && s->flags & F_LINGER)
		close_at_once(tcp);
	else if (tcp >= 0)
		ins.stack->close(tcp);
	if (s->ending != ENDING_ORPHAN)
		close_fd(&s->dead);
	while (s->extra_count)
		close_fd(&s->extra[--s->extra_count]);
	close_fd(&s->bell);
	close_fd(&s->tomb);
	close_fd(&s->app_end);
	close_fd(&s->siren[0]);
	close_fd(&s->siren[1]);
}

void slots_abort(struct isock *s)
{
	int tcp = s->tcp;

	if (tcp < 0)
		return;
	journal->deed.fd = tcp;
	deed_begin(DEED_ABORT, s);
	s->tcp = -1;
	mw_order();
	ins.stack->abort(tcp);
	deed_end();
}

/* What ends with a slot's use, whatever comes after. */
static void end_use(struct isock *s)
{
	struct mw_slot *m = shared_of(s);

	if (s->state == MW_ST_LISTEN)
		accept_close(s);
	if (s->state == MW_ST_LISTEN && ins.door)
		front_close_listener(s);
	if (s->ready)
		accept_forget(s);
	else if (s->unseen)
		gate_forget(s);
	s->unseen = false;
	close_all(s);
	op_abandon(s);
	ins.used--;
	block_gone(s);
	observe_end(s);
	s->gen++;
	mw_store_release(&m->ins.gen, s->gen);
	s->flags &= F_DIRTY | (s->ending == ENDING_ORPHAN ? F_BOUND | F_STREAM : 0);
	s->idle_ticks = 0;
	ins.trim_due = true;
	if (ins.starved)
		accept_resume_all();
}

/* Whoever finishes what a dead worker began comes by here again. */
void slots_free(uint32_t slot)
{
	struct isock *s = sock_at(slot);

	s->ending = ENDING_FREE;
	mw_order();
	mw_store(&shared_of(s)->ins.cookie, (uint64_t)0);
	end_use(s);
	slots_state(s, MW_ST_FREE);
	mw_order();
	s->ending = 0;
	put_first(slot);
}

/* The oldest makes room. One that chose its port gives it up here: nobody will tell when the application closes it. */
static void keep(struct isock *s)
{
	struct isock *oldest = sock_at(kept[kept_count % KEPT_MAX]);

	if (kept_count >= KEPT_MAX && !(oldest->gen & 1))
		forget(oldest);
	kept[kept_count++ % KEPT_MAX] = slot_of(s);
}

/* What an orphan answers with is its dead handle. What a verb ended, the stack may think to be alive. */
static void choose_handle(struct isock *s)
{
	uint32_t end = flow_of(s)->end;

	if (end == MW_END_REFUSED) {
		s->dead = again_keep(s);
	} else if (s->flags & F_BOUND || end == MW_END_VERB) {
		close_fd(&s->dead);
	} else if (s->tcp >= 0) {
		s->dead = s->tcp;
		mw_order();
		s->tcp = -1;
	}
}

/* To the end of the list: it is the last to be used again. */
void slots_orphan(uint32_t slot)
{
	struct isock *s = sock_at(slot);

	if (!s->ending)
		choose_handle(s);
	s->ending = ENDING_ORPHAN;
	mw_order();
	end_use(s);
	if (s->dead >= 0)
		keep(s);
	slots_state(s, MW_ST_CLOSED);
	mw_order();
	s->ending = 0;
	put_last(slot);
}
