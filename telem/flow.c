// SPDX-License-Identifier: Apache-2.0
/*
 * flow.c - see flow.h.
 * Trust: as in the header.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "chan/msg.h"
#include "link/memfd.h"
#include "telem/flow.h"
#include "telem/suspect.h"

/* Last, how IPFIX calls it: an element of IANA's, or one of ours, whose numbers never change. */
#define IANA(...) .element = { 0, __VA_ARGS__ }
#define OWN(id) .element = { IPFIX_PEN, id, 0 }
#define FIELD(name_, type_, unit_, member, help_, ...) \
	{ .name = name_, .type = type_, .unit = unit_, .offset = offsetof(struct flow, member), .help = help_, __VA_ARGS__ }
#define OPTION(name, unit, which, help, first) \
	FIELD("app_" name, FLOW_SIGNED, unit, f.option[which].app, help ", set by the application", OWN(first)), \
	FIELD("op_" name, FLOW_SIGNED, unit, f.option[which].operator, help ", set by the operator: it wins", OWN(first + 1))

const struct flow_field flow_fields[] = {
	FIELD("id", FLOW_COUNT, "", f.id, "generation and slot; never used again", IANA(148, 0)),
	FIELD("app", FLOW_TEXT, "", app, "the application's name"),
	FIELD("ins", FLOW_NUMBER, "", ins, "number of the INS that has it, among the application's", OWN(145)),
	FIELD("proto", FLOW_TYPE, "", f.type, "tcp, udp, udplite", IANA(4, 0)),
	FIELD("state", FLOW_STATE, "", f.state, "open, listen, connecting, established, closing, closed; held: kept from the application by the gate", OWN(101)),
	FIELD("peer", FLOW_ADDR, "", f.peer, "the other end's address", IANA(8, 27)),
	FIELD("peer_port", FLOW_PORT, "", f.peer, "the other end's port", IANA(7, 0)),
	FIELD("local", FLOW_ADDR, "", f.local, "the address it came to", IANA(12, 28)),
	FIELD("local_port", FLOW_PORT, "", f.local, "the port it came to", IANA(11, 0)),
	FIELD("listener", FLOW_COUNT, "", f.listener, "id of the listener it came by, or 0", OWN(102)),
	FIELD("pid", FLOW_NUMBER, "", f.pid, "process that accepted or made it; 0: still in the accept queue", OWN(103)),
	FIELD("command", FLOW_COMMAND, "", f.pid, "that process's command"),
	FIELD("suspect", FLOW_SUSPECT, "", suspect, "why it deserves a look: no-byte, head, unread, unsent, zero-window, retransmit, silent", OWN(146)),
	FIELD("syn", FLOW_TIME, "s", s.syn_ns, "first SYN: when it was accepted less the first round trip; when connect() was called", OWN(147)),
	FIELD("opened", FLOW_TIME, "s", f.opened_ns, "accepted by the INS, or connect() called", IANA(152, 0)),
	FIELD("handed", FLOW_TIME, "s", f.handed_ns, "put into the application's accept queue", OWN(104)),
	FIELD("first_rx", FLOW_TIME, "s", f.first_rx_ns, "first byte from the peer", OWN(105)),
	FIELD("last_rx", FLOW_TIME, "s", f.last_rx_ns, "last byte from the peer", OWN(106)),
	FIELD("first_tx", FLOW_TIME, "s", f.first_tx_ns, "first byte to the peer", OWN(107)),
	FIELD("last_tx", FLOW_TIME, "s", f.last_tx_ns, "last byte to the peer", OWN(108)),
	FIELD("peer_fin", FLOW_TIME, "s", f.peer_fin_ns, "the peer's end of sending", OWN(109)),
	FIELD("app_fin", FLOW_TIME, "s", f.app_fin_ns, "our own", OWN(110)),
	FIELD("app_close", FLOW_TIME, "s", f.app_close_ns, "the application's last reference gone", OWN(111)),
	FIELD("closed", FLOW_TIME, "s", f.closed_ns, "the INS let go of it", OWN(112)),
	FIELD("rx_bytes", FLOW_COUNT, "bytes", f.rx_bytes, "received from the peer", OWN(113)),
	FIELD("tx_bytes", FLOW_COUNT, "bytes", f.tx_bytes, "sent to the peer", OWN(114)),
	FIELD("rx_calls", FLOW_COUNT, "", f.rx_calls, "receive calls that moved bytes; datagrams received", OWN(115)),
	FIELD("tx_calls", FLOW_COUNT, "", f.tx_calls, "send calls that moved bytes; datagrams sent", OWN(116)),
	FIELD("unread", FLOW_COUNT, "bytes", unread, "received and not yet read by the application", OWN(117)),
	FIELD("unsent", FLOW_COUNT, "bytes", unsent, "written by the application and not yet taken by the stack", OWN(118)),
	FIELD("rx_silence", FLOW_SPAN, "s", f.rx_silence_ns, "longest time without a byte from the peer, of those that are over", OWN(119)),
	FIELD("tx_silence", FLOW_SPAN, "s", f.tx_silence_ns, "longest time without a byte to the peer, of those that are over", OWN(120)),
	FIELD("rx_idle", FLOW_SPAN, "s", rx_idle_ns, "without a byte from the peer until now"),
	FIELD("tx_idle", FLOW_SPAN, "s", tx_idle_ns, "without a byte to the peer until now"),
	FIELD("turns", FLOW_COUNT, "", f.turns, "times the peer spoke after we had: requests, for most protocols", OWN(121)),
	FIELD("asked", FLOW_TIME, "s", f.asked_ns, "a peer that came by a listener began to speak, and has no answer since", OWN(185)),
	FIELD("rx_busy", FLOW_SPAN, "s", rx_busy_ns, "time from its first byte to our answer's, over all requests", OWN(186)),
	FIELD("rx_rate", FLOW_COUNT, "bytes/s", rx_rate, "rx_bytes in each second of it: how fast the peer asks", OWN(187)),
	FIELD("head", FLOW_HEAD, "", f.head, "the first header: none, partial, complete, other (neither HTTP/1 nor TLS, or longer than 64 KiB)", OWN(122)),
	FIELD("head_at", FLOW_TIME, "s", f.head_ns, "the first header was complete", OWN(123)),
	FIELD("head_bytes", FLOW_NUMBER, "bytes", f.head_bytes, "of the first header so far", OWN(124)),
	FIELD("sampled", FLOW_TIME, "s", s.time_ns, "the kernel was asked about the socket; null: never, and so is what follows", OWN(148)),
	FIELD("kernel_state", FLOW_KERNEL, "", s.kernel_state, "the kernel's state: established, fin_wait_1, time_wait and so on", OWN(149)),
	FIELD("timer", FLOW_TIMER, "", s.timer, "what the kernel waits for: off, on (an acknowledgement), keepalive, timewait, persist (a window)", OWN(150)),
	FIELD("timer_left", FLOW_MSEC, "s", s.timer_ms, "until that timer runs out", OWN(151)),
	FIELD("backoff", FLOW_NUMBER, "", s.backoff, "retransmissions or probes without an answer", OWN(152)),
	FIELD("rtt", FLOW_USEC, "s", s.rtt_us, "round trip, smoothed", OWN(153)),
	FIELD("rttvar", FLOW_USEC, "s", s.rttvar_us, "its variation", OWN(154)),
	FIELD("min_rtt", FLOW_USEC, "s", s.min_rtt_us, "the shortest round trip", OWN(155)),
	FIELD("rto", FLOW_USEC, "s", s.rto_us, "retransmission timeout", OWN(156)),
	FIELD("retransmits", FLOW_NUMBER, "segments", s.retransmits, "ever sent again", OWN(157)),
	FIELD("lost", FLOW_NUMBER, "segments", s.lost, "thought lost now", OWN(158)),
	FIELD("unacked_segs", FLOW_NUMBER, "segments", s.unacked_segs, "sent and not acknowledged", OWN(159)),
	FIELD("unacked", FLOW_NUMBER, "bytes", s.unacked, "sent and not acknowledged", OWN(160)),
	FIELD("notsent", FLOW_NUMBER, "bytes", s.notsent, "taken by the stack and not yet sent", OWN(161)),
	FIELD("stack_unread", FLOW_NUMBER, "bytes", s.rqueue, "received by the stack and not yet taken by the INS", OWN(162)),
	FIELD("cwnd", FLOW_NUMBER, "segments", s.cwnd, "congestion window", OWN(163)),
	FIELD("mss", FLOW_NUMBER, "bytes", s.mss, "largest segment to the peer", OWN(164)),
	FIELD("snd_wnd", FLOW_NUMBER, "bytes", s.snd_wnd, "the peer's window", OWN(165)),
	FIELD("rcv_wnd", FLOW_NUMBER, "bytes", s.rcv_wnd, "our window; 0 before Linux 6.2", OWN(166)),
	FIELD("zero_window", FLOW_SPAN, "s", s.zero_ns, "how long the peer's window was closed, over all, between samples", OWN(167)),
	FIELD("zero_window_since", FLOW_TIME, "s", s.zero_since_ns, "it is closed since; null: it is open", OWN(168)),
	FIELD("busy", FLOW_SPAN, "s", s.busy_ns, "time with bytes to send", OWN(169)),
	FIELD("tx_rate", FLOW_COUNT, "bytes/s", s.tx_rate, "bytes_acked in each second of it: how fast the peer takes", OWN(188)),
	FIELD("rwnd_limited", FLOW_SPAN, "s", s.rwnd_limited_ns, "of busy, limited by the peer's window", OWN(170)),
	FIELD("sndbuf_limited", FLOW_SPAN, "s", s.sndbuf_limited_ns, "of busy, limited by the send buffer", OWN(171)),
	FIELD("delivery_rate", FLOW_COUNT, "bytes/s", s.delivery_rate, "to the peer, lately", OWN(172)),
	FIELD("bytes_sent", FLOW_COUNT, "bytes", s.bytes_sent, "sent, again too", OWN(173)),
	FIELD("bytes_retrans", FLOW_COUNT, "bytes", s.bytes_retrans, "sent again", OWN(174)),
	FIELD("bytes_acked", FLOW_COUNT, "bytes", s.bytes_acked, "acknowledged by the peer", OWN(175)),
	FIELD("bytes_received", FLOW_COUNT, "bytes", s.bytes_received, "received by the stack", OWN(176)),
	FIELD("last_sent", FLOW_MSEC, "s", s.last_sent_ms, "since the stack sent data", OWN(177)),
	FIELD("last_received", FLOW_MSEC, "s", s.last_received_ms, "since the stack received data", OWN(178)),
	FIELD("last_ack", FLOW_MSEC, "s", s.last_ack_ms, "since the peer acknowledged anything", OWN(179)),
	FIELD("mem", FLOW_NUMBER, "bytes", s.mem, "memory charged to the socket", OWN(180)),
	FIELD("rmem", FLOW_NUMBER, "bytes", s.rmem, "of it, what was received", OWN(181)),
	FIELD("wmem", FLOW_NUMBER, "bytes", s.wmem, "of it, what is to be sent or acknowledged", OWN(182)),
	FIELD("rcvbuf", FLOW_NUMBER, "bytes", s.rcvbuf, "limit of rmem", OWN(183)),
	FIELD("sndbuf", FLOW_NUMBER, "bytes", s.sndbuf, "limit of wmem", OWN(184)),
	FIELD("backlog", FLOW_NUMBER, "", s.backlog, "a listener's connections that the INS has not accepted"),
	FIELD("backlog_max", FLOW_NUMBER, "", s.backlog_max, "as many may wait"),
	FIELD("cong", FLOW_TEXT, "", s.cong, "congestion control"),
	OPTION("linger", "s", MW_OPT_LINGER, "SO_LINGER", 125),
	OPTION("keepalive", "", MW_OPT_KEEPALIVE, "SO_KEEPALIVE", 127),
	OPTION("keepidle", "s", MW_OPT_KEEPIDLE, "TCP_KEEPIDLE", 129),
	OPTION("keepintvl", "s", MW_OPT_KEEPINTVL, "TCP_KEEPINTVL", 131),
	OPTION("keepcnt", "", MW_OPT_KEEPCNT, "TCP_KEEPCNT", 133),
	OPTION("user_timeout", "ms", MW_OPT_USER_TIMEOUT, "TCP_USER_TIMEOUT", 135),
	OPTION("rcvtimeo", "ms", MW_OPT_RCVTIMEO, "SO_RCVTIMEO", 137),
	OPTION("sndtimeo", "ms", MW_OPT_SNDTIMEO, "SO_SNDTIMEO", 139),
	FIELD("verdict", FLOW_COUNT, "", f.verdict, "id of the last verb that acted on it, or 0", OWN(141)),
	FIELD("verdicts", FLOW_NUMBER, "", f.verdicts, "verbs that acted on it", OWN(142)),
	FIELD("end", FLOW_END, "", f.end, "why it ended: none, closed, reset, refused, quarantine, verb, gate", OWN(143)),
	FIELD("error", FLOW_SIGNED, "errno", f.error, "the error that ended it, or 0", OWN(144)),
};
const size_t flow_field_count = sizeof(flow_fields) / sizeof(flow_fields[0]);

const char *flow_state_name(uint32_t state)
{
	static const char *const names[] = { "free", "open", "listen", "connecting", "established", "closing", "closed",
					     "held" };

	MW_ASSERT(sizeof(names) / sizeof(names[0]) == MW_ST_NUM, "a name for each state");
	return state < MW_ST_NUM ? names[state] : "?";
}

const char *flow_end_name(uint32_t end)
{
	static const char *const names[] = { "none", "closed", "reset", "refused", "quarantine", "verb", "gate" };

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
					     "handed", "fin", "head", "verb", "gate" };

	MW_ASSERT(sizeof(names) / sizeof(names[0]) == MW_EV_NUM, "a name for each event");
	return kind < MW_EV_NUM ? names[kind] : "?";
}

const char *flow_type_name(uint32_t type)
{
	return type == MW_TYPE_STREAM ? "tcp" : type == MW_TYPE_DGRAM ? "udp" : type == MW_TYPE_LITE ? "udplite" : "?";
}

const char *flow_timer_name(uint32_t timer)
{
	static const char *const names[] = { "off", "on", "keepalive", "timewait", "persist" };

	return timer < sizeof(names) / sizeof(names[0]) ? names[timer] : "?";
}

const char *flow_suspect_text(uint32_t suspect, char text[FLOW_SUSPECT_BYTES])
{
	static const char *const names[] = { "no-byte", "head", "unread", "unsent", "zero-window", "retransmit", "silent" };
	int n = 0;

	MW_ASSERT(sizeof(names) / sizeof(names[0]) == SUSPECT_NUM, "a name for each bit");
	text[0] = 0;
	for (uint32_t i = 0; i < SUSPECT_NUM; i++)
		if (suspect & 1u << i)
			n += snprintf(text + n, FLOW_SUSPECT_BYTES - (size_t)n, "%s%s", n ? "," : "", names[i]);
	return text;
}

static bool in_sample(const struct flow_field *d)
{
	return d->offset >= offsetof(struct flow, s) && d->offset < offsetof(struct flow, s) + sizeof(struct sample);
}

bool flow_sampled(const struct flow_field *d)
{
	return in_sample(d) || d->type == FLOW_SUSPECT;
}

bool flow_has(const struct flow *f, const struct flow_field *d)
{
	return f->s.id || !in_sample(d);
}

/* NULL if it is not such a file. */
static const uint8_t *map_samples(int fd)
{
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size != (off_t)SAMPLES_BYTES)
		return NULL;
	p = mmap(NULL, SAMPLES_BYTES, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

int flow_map(struct flow_view *v, const char *app, int arena, int tele, int samples)
{
	int r = memfd_map(&v->arena, arena, false);

	if (r < 0)
		return r;
	r = memfd_map_tele(&v->tele, tele, false);
	if (r == 0 && v->tele.slots != v->arena.slots)
		r = -EPROTO;
	if (r < 0) {
		munmap(MW_WORD(v->arena.base), v->arena.bytes);
		return r;
	}
	v->samples = map_samples(samples);
	snprintf(v->app, sizeof(v->app), "%s", app);
	return 0;
}

void flow_unmap(struct flow_view *v)
{
	munmap(MW_WORD(v->arena.base), v->arena.bytes);
	munmap(MW_WORD(v->tele.base), v->tele.bytes);
	if (v->samples)
		munmap((void *)(mw_uintptr)v->samples, SAMPLES_BYTES);
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

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t since(uint64_t last, uint64_t opened, uint64_t now)
{
	if (last < opened)
		last = opened;
	return now > last ? now - last : 0;
}

/* What follows from the record and the time. */
static void finish(const struct flow_view *v, struct flow *out)
{
	uint64_t now = out->f.closed_ns ? out->f.closed_ns : now_ns();

	memcpy(out->app, v->app, sizeof(v->app));
	out->ins = v->ins;
	out->rx_idle_ns = since(out->f.last_rx_ns, out->f.opened_ns, now);
	out->tx_idle_ns = since(out->f.last_tx_ns, out->f.opened_ns, now);
	out->rx_busy_ns = out->f.rx_busy_ns + (out->f.asked_ns ? since(out->f.asked_ns, 0, now) : 0);
	out->rx_rate = rate_of(out->f.rx_bytes, out->rx_busy_ns);
	out->suspect = suspect(out, now);
}

static void read_sample(const struct flow_view *v, uint32_t slot, struct flow *out)
{
	if (!v->samples || !sample_load((const struct sample *)(const void *)(v->samples + SAMPLES_OFFSET) + slot, out->f.id, &out->s))
		memset(&out->s, 0, sizeof(out->s));
}

uint64_t flow_id(const struct flow_view *v, uint32_t slot)
{
	return mw_load_acquire(MW_WORD(&tele_flow(&v->tele, slot)->id));
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
	out->f.option[MW_OPT_RCVTIMEO].app = tele_timeo_ms(mw_load(&s->app.rcvtimeo));
	out->f.option[MW_OPT_SNDTIMEO].app = tele_timeo_ms(mw_load(&s->app.sndtimeo));
	out->unread = between(mw_load(&s->ins.rx_prod), mw_load(&s->app.rx_cons), v->arena.rx_bytes);
	out->unsent = between(mw_load(&s->app.tx_prod), mw_load(&s->ins.tx_cons), v->arena.tx_bytes);
	out->open = true;
	read_sample(v, slot, out);
	mw_fence();
	if (mw_load(&f->id) != id)
		return false;
	finish(v, out);
	return true;
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
	if (mw_load(&e->seq) != n + 1)
		return false;
	if ((uint32_t)out->f.id < MW_SLOTS_MAX)
		read_sample(v, (uint32_t)out->f.id, out); /* the last one, unless the slot's next has one already */
	finish(v, out);
	return true;
}

uint32_t flow_lingers_high(const struct flow_view *v)
{
	const struct samples_head *h = (const struct samples_head *)(const void *)(v->samples + SAMPLES_HEAD);
	uint32_t n = v->samples ? mw_load_acquire(&h->lingers_high) : 0;

	return n < LINGERS ? n : LINGERS;
}

bool flow_read_linger(const struct flow_view *v, uint32_t i, struct flow *out)
{
	struct lingering l;

	if (i >= flow_lingers_high(v) || !linger_load((const struct lingering *)(const void *)(v->samples + LINGERS_OFFSET) + i, &l))
		return false;
	memset(out, 0, sizeof(*out));
	out->f = l.f;
	out->s = l.s;
	out->unread = out->f.rx_unread;
	out->unsent = out->f.tx_unsent;
	finish(v, out);
	return true;
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
