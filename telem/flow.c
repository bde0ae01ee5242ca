// SPDX-License-Identifier: Apache-2.0
/*
 * flow.c - see flow.h.
 * Trust: as in the header.
 */
#include <string.h>
#include <sys/mman.h>

#include "chan/msg.h"
#include "link/memfd.h"
#include "telem/flow.h"

#define FIELD(name, type, unit, member, help) { name, type, unit, offsetof(struct flow, member), help }
#define OPTION(name, unit, which, help) \
	FIELD("app_" name, FLOW_SIGNED, unit, f.option[which].app, help ", set by the application"), \
	FIELD("op_" name, FLOW_SIGNED, unit, f.option[which].operator, help ", set by the operator: it wins")

const struct flow_field flow_fields[] = {
	FIELD("id", FLOW_COUNT, "", f.id, "generation and slot; never used again"),
	FIELD("proto", FLOW_TYPE, "", f.type, "tcp, udp, udplite"),
	FIELD("state", FLOW_STATE, "", f.state, "open, listen, connecting, established, closing, closed"),
	FIELD("peer", FLOW_ADDR, "", f.peer, "the other end's address"),
	FIELD("peer_port", FLOW_PORT, "", f.peer, "the other end's port"),
	FIELD("local", FLOW_ADDR, "", f.local, "the address it came to"),
	FIELD("local_port", FLOW_PORT, "", f.local, "the port it came to"),
	FIELD("listener", FLOW_COUNT, "", f.listener, "id of the listener it came by, or 0"),
	FIELD("pid", FLOW_NUMBER, "", f.pid, "process that accepted or made it; 0: still in the accept queue"),
	FIELD("opened", FLOW_TIME, "s", f.opened_ns, "accepted by the INS, or connect() called"),
	FIELD("handed", FLOW_TIME, "s", f.handed_ns, "put into the application's accept queue"),
	FIELD("first_rx", FLOW_TIME, "s", f.first_rx_ns, "first byte from the peer"),
	FIELD("last_rx", FLOW_TIME, "s", f.last_rx_ns, "last byte from the peer"),
	FIELD("first_tx", FLOW_TIME, "s", f.first_tx_ns, "first byte to the peer"),
	FIELD("last_tx", FLOW_TIME, "s", f.last_tx_ns, "last byte to the peer"),
	FIELD("peer_fin", FLOW_TIME, "s", f.peer_fin_ns, "the peer's end of sending"),
	FIELD("app_fin", FLOW_TIME, "s", f.app_fin_ns, "our own"),
	FIELD("app_close", FLOW_TIME, "s", f.app_close_ns, "the application's last reference gone"),
	FIELD("closed", FLOW_TIME, "s", f.closed_ns, "the INS let go of it"),
	FIELD("rx_bytes", FLOW_COUNT, "bytes", f.rx_bytes, "received from the peer"),
	FIELD("tx_bytes", FLOW_COUNT, "bytes", f.tx_bytes, "sent to the peer"),
	FIELD("rx_calls", FLOW_COUNT, "", f.rx_calls, "receive calls that moved bytes; datagrams received"),
	FIELD("tx_calls", FLOW_COUNT, "", f.tx_calls, "send calls that moved bytes; datagrams sent"),
	FIELD("unread", FLOW_COUNT, "bytes", unread, "received and not yet read by the application"),
	FIELD("unsent", FLOW_COUNT, "bytes", unsent, "written by the application and not yet taken by the stack"),
	FIELD("rx_silence", FLOW_SPAN, "s", f.rx_silence_ns, "longest time without a byte from the peer, of those that are over"),
	FIELD("tx_silence", FLOW_SPAN, "s", f.tx_silence_ns, "longest time without a byte to the peer, of those that are over"),
	FIELD("turns", FLOW_COUNT, "", f.turns, "times the peer spoke after we had: requests, for most protocols"),
	FIELD("head", FLOW_HEAD, "", f.head, "the first header: none, partial, complete, other (neither HTTP/1 nor TLS)"),
	FIELD("head_at", FLOW_TIME, "s", f.head_ns, "the first header was complete"),
	FIELD("head_bytes", FLOW_NUMBER, "bytes", f.head_bytes, "of the first header so far"),
	OPTION("linger", "s", MW_OPT_LINGER, "SO_LINGER"),
	OPTION("keepalive", "", MW_OPT_KEEPALIVE, "SO_KEEPALIVE"),
	OPTION("keepidle", "s", MW_OPT_KEEPIDLE, "TCP_KEEPIDLE"),
	OPTION("keepintvl", "s", MW_OPT_KEEPINTVL, "TCP_KEEPINTVL"),
	OPTION("keepcnt", "", MW_OPT_KEEPCNT, "TCP_KEEPCNT"),
	OPTION("user_timeout", "ms", MW_OPT_USER_TIMEOUT, "TCP_USER_TIMEOUT"),
	OPTION("rcvtimeo", "ms", MW_OPT_RCVTIMEO, "SO_RCVTIMEO"),
	OPTION("sndtimeo", "ms", MW_OPT_SNDTIMEO, "SO_SNDTIMEO"),
	FIELD("verdict", FLOW_COUNT, "", f.verdict, "id of the last verb that acted on it, or 0"),
	FIELD("verdicts", FLOW_NUMBER, "", f.verdicts, "verbs that acted on it"),
	FIELD("end", FLOW_END, "", f.end, "why it ended: none, closed, reset, refused, quarantine, verb"),
	FIELD("error", FLOW_SIGNED, "errno", f.error, "the error that ended it, or 0"),
};
const size_t flow_field_count = sizeof(flow_fields) / sizeof(flow_fields[0]);

const char *flow_state_name(uint32_t state)
{
	static const char *const names[] = { "free", "open", "listen", "connecting", "established", "closing", "closed" };

	MW_ASSERT(sizeof(names) / sizeof(names[0]) == MW_ST_NUM, "a name for each state");
	return state < MW_ST_NUM ? names[state] : "?";
}

const char *flow_end_name(uint32_t end)
{
	static const char *const names[] = { "none", "closed", "reset", "refused", "quarantine", "verb" };

	MW_ASSERT(sizeof(names) / sizeof(names[0]) == MW_END_NUM, "a name for each end");
	return end < MW_END_NUM ? names[end] : "?";
}

const char *flow_head_name(uint32_t head)
{
	static const char *const names[] = { "none", "partial", "complete", "other" };

	MW_ASSERT(sizeof(names) / sizeof(names[0]) == MW_HEAD_NUM, "a name for each");
	return head < MW_HEAD_NUM ? names[head] : "?";
}

const char *flow_event_name(uint32_t kind)
{
	static const char *const names[] = { "?", "create", "bind", "accept", "connect", "recv", "send", "close", "listen",
					     "handed", "fin", "head", "verb" };

	MW_ASSERT(sizeof(names) / sizeof(names[0]) == MW_EV_NUM, "a name for each event");
	return kind < MW_EV_NUM ? names[kind] : "?";
}

const char *flow_type_name(uint32_t type)
{
	return type == MW_TYPE_STREAM ? "tcp" : type == MW_TYPE_DGRAM ? "udp" : type == MW_TYPE_LITE ? "udplite" : "?";
}

int flow_map(struct flow_view *v, int arena, int tele)
{
	int r = memfd_map_readonly(&v->arena, arena);

	if (r < 0)
		return r;
	r = memfd_map_tele(&v->tele, tele);
	if (r == 0 && v->tele.slots != v->arena.slots)
		r = -EPROTO;
	if (r < 0)
		munmap(MW_WORD(v->arena.base), v->arena.bytes);
	return r;
}

void flow_unmap(struct flow_view *v)
{
	munmap(MW_WORD(v->arena.base), v->arena.bytes);
	munmap(MW_WORD(v->tele.base), v->tele.bytes);
}

uint32_t flow_slots_high(const struct flow_view *v)
{
	uint32_t n = mw_load_acquire(MW_WORD(&tele_header(&v->tele)->slots_high));

	return n < v->tele.slots ? n : v->tele.slots;
}

uint64_t flow_closed_count(const struct flow_view *v)
{
	return mw_load_acquire(MW_WORD(&tele_header(&v->tele)->log_next));
}

uint64_t flow_events(const struct flow_view *v)
{
	return mw_load_acquire(MW_WORD(&tele_header(&v->tele)->event_next));
}

/* A count that two sides move: never more than the ring holds. */
static uint64_t between(uint64_t high, uint64_t low, uint32_t bytes)
{
	return high - low <= bytes ? high - low : 0;
}

bool flow_read(const struct flow_view *v, uint32_t slot, struct flow *out)
{
	struct mw_flow *f = (struct mw_flow *)(mw_uintptr)tele_flow(&v->tele, slot);
	struct mw_slot *s = (struct mw_slot *)(mw_uintptr)arena_slot(&v->arena, slot);
	uint64_t id = mw_load_acquire(&f->id);

	if (!id)
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(&out->f, f, sizeof(out->f));
	out->f.id = id;
	out->f.pid = mw_load(&s->app.pid);
	out->unread = between(mw_load(&s->ins.rx_prod), mw_load(&s->app.rx_cons), v->arena.rx_bytes);
	out->unsent = between(mw_load(&s->app.tx_prod), mw_load(&s->ins.tx_cons), v->arena.tx_bytes);
	out->open = true;
	mw_fence();
	return mw_load(&f->id) == id;
}

bool flow_read_closed(const struct flow_view *v, uint64_t n, struct flow *out)
{
	struct mw_log_entry *e = (struct mw_log_entry *)(mw_uintptr)tele_log(&v->tele, n);

	if (mw_load_acquire(&e->seq) != n + 1)
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(&out->f, &e->flow, sizeof(out->f));
	out->unread = out->f.rx_unread;
	out->unsent = out->f.tx_unsent;
	mw_fence();
	return mw_load(&e->seq) == n + 1;
}

bool flow_event(const struct flow_view *v, uint64_t n, struct mw_event *out)
{
	struct mw_event *e = (struct mw_event *)(mw_uintptr)tele_event(&v->tele, n);

	if (mw_load_acquire(&e->seq) != n + 1)
		return false;
	memcpy(out, e, sizeof(*out));
	mw_fence();
	return mw_load(&e->seq) == n + 1;
}

static double seconds(uint64_t from, uint64_t to)
{
	return to > from ? (double)(to - from) / 1e9 : 0;
}

double flow_idle_s(const struct flow *f, uint64_t now_ns)
{
	uint64_t last = f->f.opened_ns;

	if (f->f.last_rx_ns > last)
		last = f->f.last_rx_ns;
	if (f->f.last_tx_ns > last)
		last = f->f.last_tx_ns;
	return seconds(last, now_ns);
}

double flow_age_s(const struct flow *f, uint64_t now_ns)
{
	return seconds(f->f.opened_ns, f->f.closed_ns ? f->f.closed_ns : now_ns);
}
