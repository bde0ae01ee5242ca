// SPDX-License-Identifier: Apache-2.0
/*
 * flow.c - see flow.h.
 * Trust: as in the header.
 */
#include "chan/msg.h"
#include "telem/flow.h"

#define FIELD(name, type, unit, member, help) { name, type, unit, offsetof(struct flow, member), help }

const struct flow_field flow_fields[] = {
	FIELD("id", FLOW_COUNT, "", f.id, "generation and slot; never used again"),
	FIELD("proto", FLOW_TYPE, "", f.type, "tcp, udp, udplite"),
	FIELD("state", FLOW_STATE, "", f.state, "open, listen, connecting, established, closing, closed"),
	FIELD("peer", FLOW_ADDR, "", f.peer, "the other end's address"),
	FIELD("peer_port", FLOW_PORT, "", f.peer, "the other end's port"),
	FIELD("local", FLOW_ADDR, "", f.local, "the address it came to"),
	FIELD("local_port", FLOW_PORT, "", f.local, "the port it came to"),
	FIELD("pid", FLOW_PID, "", f.pid, "process that accepted or made it; 0: still in the accept queue"),
	FIELD("opened", FLOW_TIME, "s", f.opened_ns, "accepted by the INS, or connect() called"),
	FIELD("handed", FLOW_TIME, "s", f.handed_ns, "put into the application's accept queue"),
	FIELD("first_rx", FLOW_TIME, "s", f.first_rx_ns, "first byte from the peer"),
	FIELD("last_rx", FLOW_TIME, "s", f.last_rx_ns, "last byte from the peer"),
	FIELD("first_tx", FLOW_TIME, "s", f.first_tx_ns, "first byte to the peer"),
	FIELD("last_tx", FLOW_TIME, "s", f.last_tx_ns, "last byte to the peer"),
	FIELD("peer_fin", FLOW_TIME, "s", f.peer_fin_ns, "the peer's end of sending"),
	FIELD("app_close", FLOW_TIME, "s", f.app_close_ns, "the application's last reference gone"),
	FIELD("closed", FLOW_TIME, "s", f.closed_ns, "the INS let go of it"),
	FIELD("rx_bytes", FLOW_COUNT, "bytes", f.rx_bytes, "received from the peer"),
	FIELD("tx_bytes", FLOW_COUNT, "bytes", f.tx_bytes, "sent to the peer"),
	FIELD("rx_calls", FLOW_COUNT, "", f.rx_calls, "receive calls that moved bytes; datagrams received"),
	FIELD("tx_calls", FLOW_COUNT, "", f.tx_calls, "send calls that moved bytes; datagrams sent"),
	FIELD("unread", FLOW_COUNT, "bytes", unread, "received and not yet read by the application"),
	FIELD("unsent", FLOW_COUNT, "bytes", unsent, "written by the application and not yet taken by the stack"),
	FIELD("end", FLOW_END, "", f.end, "why it ended: none, closed, reset, refused, quarantine"),
	FIELD("error", FLOW_ERROR, "errno", f.error, "the error that ended it, or 0"),
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
	static const char *const names[] = { "none", "closed", "reset", "refused", "quarantine" };

	MW_ASSERT(sizeof(names) / sizeof(names[0]) == MW_END_NUM, "a name for each end");
	return end < MW_END_NUM ? names[end] : "?";
}

const char *flow_type_name(uint32_t type)
{
	return type == MW_TYPE_STREAM ? "tcp" : type == MW_TYPE_DGRAM ? "udp" : type == MW_TYPE_LITE ? "udplite" : "?";
}

uint32_t flow_slots_high(const struct mw_view *v)
{
	uint32_t n = mw_load_acquire(MW_WORD(&arena_header(v)->slots_high));

	return n < v->slots ? n : v->slots;
}

/* A count that two sides move: never more than the ring holds. */
static uint64_t between(uint64_t high, uint64_t low, uint32_t bytes)
{
	return high - low <= bytes ? high - low : 0;
}

bool flow_read(const struct mw_view *v, uint32_t slot, struct flow *out)
{
	struct mw_slot *s = (struct mw_slot *)(mw_uintptr)arena_slot(v, slot);
	uint32_t gen = mw_load_acquire(&s->ins.gen);

	if (!(gen & 1))
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(&out->f, &s->flow, sizeof(out->f));
	out->f.pid = mw_load(&s->app.pid);
	out->unread = between(mw_load(&s->ins.rx_prod), mw_load(&s->app.rx_cons), v->rx_bytes);
	out->unsent = between(mw_load(&s->app.tx_prod), mw_load(&s->ins.tx_cons), v->tx_bytes);
	out->open = true;
	mw_fence();
	return mw_load(&s->ins.gen) == gen;
}

uint64_t flow_closed_count(const struct mw_view *v)
{
	return mw_load_acquire(MW_WORD(&arena_header(v)->log_next));
}

bool flow_read_closed(const struct mw_view *v, uint64_t n, struct flow *out)
{
	struct mw_log_entry *e = (struct mw_log_entry *)(mw_uintptr)arena_log(v, n);

	if (mw_load_acquire(&e->seq) != n + 1)
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(&out->f, &e->flow, sizeof(out->f));
	out->unread = out->f.rx_unread;
	out->unsent = out->f.tx_unsent;
	mw_fence();
	return mw_load(&e->seq) == n + 1;
}
