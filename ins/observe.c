// SPDX-License-Identifier: Apache-2.0
/*
 * observe.c - what is seen of every socket: its flow record, the log of closed flows, and events for whoever listens.
 * Trust: telemetry's page holds two words, neither of them an index of ours.
 *
 * Nothing here waits for a reader. Events are made only while somebody wants them; of bytes, one each way and tenth of a
 * second, so that a busy connection costs no more than a quiet one.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/head.h"
#include "ins/observe.h"
#include "link/broker.h"
#include "link/memfd.h"
#include "link/telem.h"

#define BYTES_EVENT_NS 100000000u

static struct mw_reader *reader;
static uint64_t told;   /* the armed position that was answered last */

int observe_init(uint32_t slots)
{
	void *page = mmap(NULL, MW_PAGE, PROT_READ, MAP_SHARED, INS_READER_FD, 0);

	if (page == MAP_FAILED)
		return -errno;
	reader = page;
	told = MW_NEVER;
	if (ins.taken)
		return memfd_map_tele(&ins.tele, INS_TELE_FD, true);
	ins.fd->tele = memfd_make_tele(&ins.tele, slots);
	return ins.fd->tele < 0 ? ins.fd->tele : 0;
}

struct mw_tele *observe_header(void)
{
	return (struct mw_tele *)(mw_uintptr)tele_header(&ins.tele);
}

/* Totals have one writer: us. */
static void add(uint64_t *total, uint64_t n)
{
	mw_store(total, *total + n);
}

/* How long after an accepted connection was there. */
static void took(const struct mw_flow *f, uint32_t what)
{
	struct mw_times *t = &observe_header()->times[what];
	uint64_t ns = ins.now_ns > f->opened_ns ? ins.now_ns - f->opened_ns : 0;
	uint32_t i = 0;

	if (!f->listener)
		return;
	while (i < MW_BOUNDS && ns > tele_bound_ns[i])
		i++;
	add(&t->sum_ns, ns);
	add(&t->bucket[i], 1);
}

static struct mw_traffic *traffic(const struct mw_flow *f)
{
	return &observe_header()->traffic[f->type % MW_TRAFFIC_TYPES];
}

void observe_new(struct isock *s)
{
	struct mw_tele *t = observe_header();
	struct mw_flow *f = flow_of(s);
	uint32_t slot = slot_of(s);

	memset(f, 0, sizeof(*f));
	f->opened_ns = ins.now_ns;
	for (uint32_t i = 0; i < MW_OPT_NUM; i++)
		f->option[i].app = f->option[i].operator = MW_OPT_UNSET;
	if (slot >= t->slots_high)
		mw_store_release(&t->slots_high, slot + 1);
	mw_store(&t->sockets, (uint64_t)ins.used);
	add(&t->opened, 1);
	mw_store_release(&f->id, (uint64_t)s->gen << 32 | slot);
}

static uint64_t left_in(uint64_t prod, uint64_t cons, uint32_t ring_bytes)
{
	return prod - cons <= ring_bytes ? prod - cons : 0;
}

static bool is_logged(uint64_t n, uint64_t id)
{
	const struct mw_log_entry *last = (const struct mw_log_entry *)(mw_uintptr)tele_log(&ins.tele, n - 1);

	return !id || (n && last->flow.id == id);
}

/* A closed flow goes to the log, for readers that look from time to time. */
void observe_end(struct isock *s)
{
	struct mw_tele *t = observe_header();
	struct mw_slot *m = shared_of(s);
	struct mw_flow *f = flow_of(s);
	uint64_t n = t->log_next;
	struct mw_log_entry *e = (struct mw_log_entry *)(mw_uintptr)tele_log(&ins.tele, n);

	if (is_logged(n, f->id)) { /* by a worker that died over it */
		mw_store_release(&f->id, (uint64_t)0);
		return;
	}
	f->closed_ns = ins.now_ns;
	f->pid = mw_load(&m->app.pid);
	f->option[MW_OPT_RCVTIMEO].app = tele_timeo_ms(mw_load(&m->app.rcvtimeo));
	f->option[MW_OPT_SNDTIMEO].app = tele_timeo_ms(mw_load(&m->app.sndtimeo));
	f->rx_unread = left_in(s->rx_prod, mw_load(&m->app.rx_cons), ins.view.rx_bytes);
	f->tx_unsent = left_in(mw_load(&m->app.tx_prod), s->tx_cons, ins.view.tx_bytes);
	if (f->end == MW_END_NONE) {
		f->end = s->refused ? MW_END_REFUSED : MW_END_CLOSED;
		f->error = s->refused;
	}
	observe(s, MW_EV_CLOSE, f->id);
	took(f, MW_TIME_LIFE);
	add(&t->ended[f->type % MW_TRAFFIC_TYPES][f->end % MW_END_ROOM], 1);
	f->state = MW_ST_CLOSED;
	mw_store_release(&e->seq, 0);
	mw_fence();
	e->flow = *f;
	mw_store_release(&e->seq, n + 1);
	mw_store_release(&t->log_next, n + 1);
	mw_store(&t->sockets, (uint64_t)ins.used);
	mw_store_release(&f->id, (uint64_t)0);
}

static void name(const struct mw_addr *a, uint8_t addr[16], uint16_t *port, uint8_t *family)
{
	memcpy(addr, a->addr, 16);
	*port = a->port;
	*family = (uint8_t)a->family;
}

static void record(struct isock *s, uint32_t kind, uint64_t extra)
{
	struct mw_tele *t = observe_header();
	uint64_t n = t->event_next;
	struct mw_event *e = (struct mw_event *)(mw_uintptr)tele_event(&ins.tele, n);
	const struct mw_flow *f = flow_of(s);

	mw_store_release(&e->seq, 0);
	mw_fence();
	e->time_ns = ins.now_ns;
	e->id = kind == MW_EV_ACCEPT ? f->listener : f->id;
	e->extra = extra;
	e->opened_ns = f->opened_ns;
	e->rx_bytes = f->rx_bytes;
	e->tx_bytes = f->tx_bytes;
	e->verdict = f->verdict;
	name(&f->local, e->local, &e->local_port, &e->local_family);
	name(&f->peer, e->peer, &e->peer_port, &e->peer_family);
	e->kind = (uint8_t)kind;
	e->type = (uint8_t)f->type;
	e->pid = mw_load(&shared_of(s)->app.pid);
	e->verb = f->verb;
	e->state = f->state;
	e->error = f->error;
	mw_store_release(&e->seq, n + 1);
	mw_store_release(&t->event_next, n + 1);
}

void observe(struct isock *s, uint32_t kind, uint64_t extra)
{
	add(&observe_header()->seen[kind], 1);
	if (kind == MW_EV_HANDED)
		took(flow_of(s), MW_TIME_HANDED);
	if (kind == MW_EV_HEAD)
		took(flow_of(s), MW_TIME_HEAD);
	if (mw_load(&reader->wanted))
		record(s, kind, extra);
}

/* Once a loop: whoever sleeps at an earlier position is woken, once for each position. */
void observe_wake(void)
{
	static const uint64_t one = 1;
	uint64_t armed;

	if (!mw_load(&reader->wanted))
		return;
	mw_fence(); /* pairs with the reader's between armed and its last look */
	armed = mw_load(&reader->armed);
	if (armed == told || observe_header()->event_next <= armed)
		return;
	told = armed;
	if (write(INS_WAKE_FD, &one, sizeof(one)) < 0)
		return; /* it has not even looked at the last 2^64 wake-ups */
}

void observe_stack(struct isock *s)
{
	uint32_t n = sizeof(flow_of(s)->cookie);

	if (s->tcp >= 0)
		ins.stack->getopt(s->tcp, SOL_SOCKET, SO_COOKIE, &flow_of(s)->cookie, &n);
}

static void silence(uint64_t *longest, uint64_t last, uint64_t opened)
{
	uint64_t since = last ? last : opened;

	if (ins.now_ns > since && ins.now_ns - since > *longest)
		*longest = ins.now_ns - since;
}

static void bytes_event(struct isock *s, uint64_t *seen_ns, uint32_t kind)
{
	if (ins.now_ns - *seen_ns < BYTES_EVENT_NS || !mw_load(&reader->wanted))
		return;
	*seen_ns = ins.now_ns;
	record(s, kind, flow_of(s)->id);
}

void observe_rx(struct isock *s, uint64_t bytes)
{
	struct mw_flow *f = flow_of(s);

	silence(&f->rx_silence_ns, f->last_rx_ns, f->opened_ns);
	f->rx_bytes += bytes;
	f->rx_calls++;
	add(&traffic(f)->rx_bytes, bytes);
	add(&traffic(f)->rx_calls, 1);
	f->last_rx_ns = ins.now_ns;
	if (!f->first_rx_ns) {
		f->first_rx_ns = ins.now_ns;
		took(f, MW_TIME_FIRST_RX);
	}
	if (!s->spoke) {
		s->spoke = true;
		f->turns++;
		f->asked_ns = f->listener ? ins.now_ns : 0;
	}
	bytes_event(s, &s->rx_seen_ns, MW_EV_RECV);
}

void observe_head(struct isock *s, uint64_t from)
{
	struct mw_flow *f = flow_of(s);
	struct mw_span span[2];
	struct mw_ring r;
	int count;

	arena_rx(&ins.view, slot_of(s), &r);
	count = ring_spans(&r, from, (uint32_t)(s->rx_prod - from), span);
	for (int i = 0; i < count; i++)
		head_scan(&s->head, MW_WORD(span[i].base), span[i].bytes);
	f->head = s->head.state;
	f->head_bytes = s->head.bytes;
	if (s->head.state == MW_HEAD_COMPLETE) {
		f->head_ns = ins.now_ns;
		observe(s, MW_EV_HEAD, s->head.bytes);
	}
}

void observe_tx(struct isock *s, uint64_t bytes)
{
	struct mw_flow *f = flow_of(s);

	silence(&f->tx_silence_ns, f->last_tx_ns, f->opened_ns);
	f->tx_bytes += bytes;
	f->tx_calls++;
	add(&traffic(f)->tx_bytes, bytes);
	add(&traffic(f)->tx_calls, 1);
	f->last_tx_ns = ins.now_ns;
	if (!f->first_tx_ns) {
		f->first_tx_ns = ins.now_ns;
		took(f, MW_TIME_FIRST_TX);
	}
	s->spoke = false;
	if (f->asked_ns)
		f->rx_busy_ns += ins.now_ns - f->asked_ns;
	f->asked_ns = 0;
	bytes_event(s, &s->tx_seen_ns, MW_EV_SEND);
}
