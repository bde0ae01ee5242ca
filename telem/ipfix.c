// SPDX-License-Identifier: Apache-2.0
/*
 * ipfix.c - when a flow is reported: opened, each so many seconds while it lives, at a verdict, closed. See ipfix.h.
 * Trust: as in ipfix.h; the slot in an id is checked before it is an index here.
 *
 * Events say that something happened; what is reported is read from the flow records and from the log of closed flows, which
 * is read by position: entries that were overwritten meanwhile are counted. Byte counts are since the flow's last record, so
 * that they may be added up. A flow that ended before its opening could be read has one record, that of its end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chan/msg.h"
#include "telem/ipfix.h"
#include "telem/telem.h"

#define FLUSH_MS      20    /* from a record to its message, at most */
#define CLOSES_AT_ONCE 512u /* so many are not left to the timer: the log holds 4,096 */
#define SCAN_MS       1000
#define END_STEP_MS   20
#define END_STEPS     15

static struct reported *known;   /* of each slot, kept in the reader's memory */
static uint64_t next_closed;     /* position in the log; kept there as well */
static uint32_t closes;          /* events of closing since it was read */
static uint64_t active_ns = 60000000000ull;
static struct consumer consumer;
static struct timer flush, scan, end;
static int end_steps;
static bool wanted;

bool ipfix_wanted(void)
{
	return wanted;
}

static struct reported *known_at(uint64_t id)
{
	uint32_t slot = (uint32_t)id;

	return slot < telem.flows.tele.slots ? &known[slot] : NULL;
}

/* Listeners are none, nor sockets that nobody has spoken with. */
static bool is_flow(const struct flow *f)
{
	if (f->f.state == MW_ST_LISTEN)
		return false;
	return f->f.type == MW_TYPE_STREAM ? f->f.peer.port != 0 : f->f.rx_calls || f->f.tx_calls;
}

static uint64_t since(uint64_t total, uint64_t before)
{
	return total > before ? total - before : 0;
}

static void emit(const struct flow *f, enum ipfix_kind kind, uint64_t rx, uint64_t tx)
{
	struct ipfix_report r = { .flow = f, .kind = kind, .rx = rx, .tx = tx };

	ipfix_encode_flow(&r);
	if (!flush.due_ns)
		loop_timer(&flush, FLUSH_MS);
}

static void report_live(struct reported *k, const struct flow *f, enum ipfix_kind kind)
{
	bool same = k->id == f->f.id;

	emit(f, kind, since(f->f.rx_bytes, same ? k->rx : 0), since(f->f.tx_bytes, same ? k->tx : 0));
	*k = (struct reported){ f->f.id, f->f.rx_bytes, f->f.tx_bytes, f->f.verdict, loop_steady_ns() + active_ns };
}

/* A verdict that ended it at once is told as one too. */
static void report_closed(const struct flow *f)
{
	struct reported *k = known_at(f->f.id);
	bool same = k && k->id == f->f.id;
	uint64_t rx = since(f->f.rx_bytes, same ? k->rx : 0), tx = since(f->f.tx_bytes, same ? k->tx : 0);

	if (f->f.verdict != (same ? k->verdict : 0)) {
		emit(f, IPFIX_VERDICT, rx, tx);
		rx = tx = 0;
	}
	emit(f, IPFIX_CLOSE, rx, tx);
	if (same) /* not the slot's next, which may be there already */
		memset(k, 0, sizeof(*k));
}

static void read_closed(void)
{
	uint64_t last = flow_closed_count(&telem.flows), lost = 0;
	struct flow f;

	closes = 0;
	if (last - next_closed > MW_LOG_ENTRIES) {
		lost = last - next_closed - MW_LOG_ENTRIES;
		next_closed += lost;
	}
	for (; next_closed != last; next_closed++) {
		if (!flow_read_closed(&telem.flows, next_closed, &f))
			lost++;
		else if (is_flow(&f))
			report_closed(&f);
	}
	mw_store(&((struct mw_reader *)(void *)telem.reader)->ipfix, next_closed);
	if (lost)
		ipfix_send_lost(lost);
}

static void on_flush(struct timer *t)
{
	(void)t;
	read_closed();
	ipfix_encode_flush();
	loop_timer_stop(&flush); /* for what was just read */
}

/*
 * A flow that is not in the log yet. What the log has of the slot's earlier one comes first: its counts are in `known`. Not after the
 * look, or this flow's own end could be reported before what it looked like when it lived. NULL: there is none.
 */
static struct reported *read_live(uint64_t id, struct flow *f)
{
	struct reported *k = known_at(id);

	if (!k)
		return NULL;
	if (k->id && k->id != id)
		read_closed();
	return flow_read(&telem.flows, (uint32_t)id, f) && f->f.id == id && f->f.state != MW_ST_CLOSED && is_flow(f) ? k : NULL;
}

/* Flows whose time it is, and those whose opening was missed. Again when the next is due, if any lives. */
static void look(void)
{
	uint64_t now = loop_steady_ns(), first = UINT64_MAX;
	struct flow f;

	for (uint32_t slot = 0; slot < flow_slots_high(&telem.flows); slot++) {
		struct reported *k = &known[slot], *live = NULL;

		if ((!k->id || k->due_ns <= now) && flow_read(&telem.flows, slot, &f))
			live = read_live(f.f.id, &f);
		if (live)
			report_live(live, &f, live->id == f.f.id ? IPFIX_ACTIVE : IPFIX_OPEN);
		if (k->id && k->due_ns <= now)
			k->due_ns = now + active_ns; /* it ended just now: the log has it */
		if (k->id && k->due_ns < first)
			first = k->due_ns;
	}
	if (first != UINT64_MAX)
		loop_timer(&scan, first > now + SCAN_MS * 1000000ull ? (uint32_t)((first - now) / 1000000) : SCAN_MS);
}

static bool is_due(void)
{
	uint64_t now = loop_steady_ns();

	for (uint32_t slot = 0; slot < flow_slots_high(&telem.flows); slot++)
		if (known[slot].id && known[slot].due_ns <= now)
			return true;
	return false;
}

static void on_fresh(void *arg, bool fresh)
{
	(void)arg;
	(void)fresh;
	look();
}

/* What has lived for so long is reported with what the kernel says of it now. */
static void on_scan(struct timer *t)
{
	(void)t;
	if (is_due())
		sample_fresh(on_fresh, NULL);
	else
		look();
}

static void on_event(struct consumer *c, const struct mw_event *e)
{
	uint64_t id = e->kind == MW_EV_ACCEPT ? e->extra : e->id;
	struct reported *k = known_at(id);
	struct flow f;
	bool opens;

	(void)c;
	if (e->kind == MW_EV_CLOSE && ++closes >= CLOSES_AT_ONCE)
		read_closed();
	if (e->kind == MW_EV_CLOSE && !flush.due_ns) /* its entry in the log follows the event */
		loop_timer(&flush, FLUSH_MS);
	opens = e->kind == MW_EV_ACCEPT || e->kind == MW_EV_CONNECT || e->kind == MW_EV_RECV || e->kind == MW_EV_SEND;
	if (!k || (opens && k->id == id) || (!opens && e->kind != MW_EV_VERB))
		return;
	k = read_live(id, &f);
	if (!k)
		return;
	report_live(k, &f, opens ? IPFIX_OPEN : IPFIX_VERDICT);
	if (!scan.due_ns)
		loop_timer(&scan, SCAN_MS);
}

/* Events that nobody could read: what they told of is found by looking. */
static void on_lost(struct consumer *c, uint64_t count)
{
	(void)c;
	(void)count;
	read_closed();
	loop_timer(&scan, 0);
}

int ipfix_init(char *const args[])
{
	int r = 0;

	for (; *args && r == 0; args++) {
		if (!strncmp(*args, "ipfix ", 6)) {
			wanted = true;
			r = ipfix_send_add(*args + 6);
		} else if (!strncmp(*args, "ipfix-timeout ", 14)) {
			active_ns = strtoul(*args + 14, NULL, 10) * 1000000000ull;
		}
	}
	if (!wanted || r < 0)
		return r;
	known = (struct reported *)(void *)(telem.reader + REPORTED_OFFSET);
	next_closed = mw_load(&((struct mw_reader *)(void *)telem.reader)->ipfix);
	flush.fn = on_flush;
	scan.fn = on_scan;
	r = ipfix_encode_init(telem.app, telem.flows.ins, ipfix_send);
	if (r == 0)
		r = ipfix_send_init(telem.app);
	loop_timer(&scan, 0); /* what an earlier life left */
	consumer = (struct consumer){ .event = on_event, .lost = on_lost };
	events_add(&consumer);
	return r;
}

/* --- the end --- */

/* The INS closes what the application had; whatever it does not is ended with it. */
static void on_end(struct timer *t)
{
	struct flow f;
	bool open = false;

	read_closed();
	for (uint32_t slot = 0; slot < flow_slots_high(&telem.flows) && !open; slot++)
		open = flow_read(&telem.flows, slot, &f);
	if (open && ++end_steps < END_STEPS) {
		loop_timer(t, END_STEP_MS);
		return;
	}
	for (uint32_t slot = 0; slot < flow_slots_high(&telem.flows); slot++)
		if (flow_read(&telem.flows, slot, &f) && read_live(f.f.id, &f))
			report_closed(&f);
	ipfix_encode_flush();
	ipfix_send_end();
	_exit(0);
}

void ipfix_end(void)
{
	end.fn = on_end;
	loop_timer(&end, 0);
}
