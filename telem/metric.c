// SPDX-License-Identifier: Apache-2.0
/*
 * metric.c - see metric.h.
 * Trust: as in the header.
 *
 * Counters and histograms are the INS's totals, so they are exact however many connections come and go between two looks. Gauges
 * of sockets are made by looking at all slots, at most twenty times a second.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "chan/msg.h"
#include "telem/metric.h"
#include "telem/peers.h"
#include "telem/policy.h"
#include "telem/suspect.h"

#define SCAN_NS 50000000u

static const char *const lost_names[LOST_NUM] = { "ring", "control", "audit", "ipfix", "netflow" };
static const char *const refused_names[REFUSED_NUM] = { "control", "metrics", "netflow" };
static const char *const result_names[] = { "ok", "ended", "failed" };
#define RESULTS (sizeof(result_names) / sizeof(result_names[0]))

struct metric {
	const char *name;      /* of the family; a counter's samples have _total behind it, an info's _info */
	enum metric_type type;
	const char *unit;      /* "", or what the name ends with */
	const char *labels;    /* beside app and ins, for the manual */
	const char *help;
	void (*write)(struct metric_text *t, const struct metric *m);
	size_t at;             /* where write finds it; in struct mw_tele for most */
};

static struct {
	uint64_t lost[LOST_NUM], refused[REFUSED_NUM], verbs[VERB_NUM][RESULTS];
	uint64_t verdicts[VERB_NUM][VERDICT_FAILED + 1];
	uint64_t started_ns, scrapes;
	uint32_t worker;       /* whose processor time is counted */
	uint64_t before_ns;    /* of those before it, as last seen */
	uint64_t worker_ns;
} own;

/* What all slots say together. */
static struct {
	uint64_t at_ns;
	uint64_t sockets[MW_TRAFFIC_TYPES][MW_ST_NUM];
	uint64_t heads[MW_HEAD_NUM];
	uint64_t in_kernel, in_ins, in_app, oldest_ns, unread, unsent, memory, zero_window;
	uint64_t suspects[SUSPECT_NUM];
} scan;

void metric_lost(enum metric_lost what, uint64_t count)
{
	own.lost[what] += count;
}

void metric_refused(enum metric_refused what)
{
	own.refused[what]++;
}

void metric_verb(uint32_t verb, int32_t status)
{
	if (verb < VERB_NUM)
		own.verbs[verb][status == 0 ? 0 : status == -ESTALE ? 1 : 2]++;
}

void metric_verdict(uint32_t verb, uint32_t status)
{
	if (verb < VERB_NUM && status <= VERDICT_FAILED)
		own.verdicts[verb][status]++;
}

void metric_init(void)
{
	own.started_ns = loop_now_ns();
}

/* --- looking at all slots --- */

static void waits(uint64_t since_ns, uint64_t *count)
{
	++*count;
	if (scan.at_ns > since_ns && scan.at_ns - since_ns > scan.oldest_ns)
		scan.oldest_ns = scan.at_ns - since_ns;
}

static void scan_flow(const struct flow *f)
{
	bool accepted = f->f.listener && f->f.state == MW_ST_ESTABLISHED;

	if (f->f.state < MW_ST_NUM)
		scan.sockets[f->f.type % MW_TRAFFIC_TYPES][f->f.state]++;
	if ((accepted || f->f.state == MW_ST_HELD) && f->f.head < MW_HEAD_NUM)
		scan.heads[f->f.head]++;
	if (accepted && !f->f.handed_ns)
		waits(f->f.opened_ns, &scan.in_ins);
	else if (accepted && !f->f.pid)
		waits(f->f.opened_ns, &scan.in_app);
	if (f->f.state == MW_ST_LISTEN)
		scan.in_kernel += f->s.backlog;
	scan.memory += f->s.mem;
	scan.zero_window += f->s.zero_since_ns != 0;
	for (uint32_t i = 0; i < SUSPECT_NUM; i++)
		scan.suspects[i] += f->suspect >> i & 1;
	scan.unread += f->unread;
	scan.unsent += f->unsent;
}

static void look(void)
{
	uint64_t now = loop_now_ns();
	uint32_t n = flow_slots_high(&telem.flows);
	struct flow f;

	if (scan.at_ns && now >= scan.at_ns && now - scan.at_ns < SCAN_NS)
		return;
	memset(&scan, 0, sizeof(scan));
	scan.at_ns = now;
	for (uint32_t i = 0; i < n; i++)
		if (flow_read(&telem.flows, i, &f))
			scan_flow(&f);
}

/* --- one metric --- */

static const char *type_name(uint32_t type)
{
	return type ? flow_type_name(type) : "none"; /* it could not be made */
}

static struct mw_tele *tele(void)
{
	return (struct mw_tele *)(mw_uintptr)tele_header(&telem.flows.tele);
}

static uint64_t total(size_t at)
{
	return mw_load((const uint64_t *)(const void *)((const uint8_t *)tele() + at));
}

static void put(struct metric_text *t, const struct metric *m, const char *labels, uint64_t value)
{
	metric_text_value(t, m->name, m->type, m->unit, labels, value);
}

static void write_total(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", total(m->at));
}

static void write_times(struct metric_text *t, const struct metric *m)
{
	struct mw_times times = { .sum_ns = total(m->at + offsetof(struct mw_times, sum_ns)) };

	for (uint32_t i = 0; i <= MW_BOUNDS; i++)
		times.bucket[i] = total(m->at + i * sizeof(uint64_t));
	metric_text_times(t, m->name, &times);
}

static void write_by_proto(struct metric_text *t, const struct metric *m)
{
	char labels[32];

	for (uint32_t i = 1; i < MW_TRAFFIC_TYPES; i++) {
		snprintf(labels, sizeof(labels), "proto=\"%s\"", type_name(i));
		put(t, m, labels, total(m->at + i * sizeof(struct mw_traffic)));
	}
}

static void write_ended(struct metric_text *t, const struct metric *m)
{
	char labels[64];

	for (uint32_t type = 0; type < MW_TRAFFIC_TYPES; type++) {
		for (uint32_t end = 1; end < MW_END_NUM; end++) {
			snprintf(labels, sizeof(labels), "proto=\"%s\",reason=\"%s\"", type_name(type), flow_end_name(end));
			put(t, m, labels, total(m->at + (type * MW_END_ROOM + end) * sizeof(uint64_t)));
		}
	}
}

static void write_sockets(struct metric_text *t, const struct metric *m)
{
	char labels[64];

	for (uint32_t type = 1; type < MW_TRAFFIC_TYPES; type++) {
		for (uint32_t state = MW_ST_OPEN; state < MW_ST_NUM; state++) {
			snprintf(labels, sizeof(labels), "proto=\"%s\",state=\"%s\"", type_name(type), flow_state_name(state));
			put(t, m, labels, scan.sockets[type][state]);
		}
	}
}

static void write_heads(struct metric_text *t, const struct metric *m)
{
	char labels[32];

	for (uint32_t i = 0; i < MW_HEAD_NUM; i++) {
		snprintf(labels, sizeof(labels), "header=\"%s\"", flow_head_name(i));
		put(t, m, labels, scan.heads[i]);
	}
}

static void write_suspects(struct metric_text *t, const struct metric *m)
{
	char name[FLOW_SUSPECT_BYTES], labels[FLOW_SUSPECT_BYTES + 16];

	for (uint32_t i = 0; i < SUSPECT_NUM; i++) {
		snprintf(labels, sizeof(labels), "reason=\"%s\"", flow_suspect_text(1u << i, name));
		put(t, m, labels, scan.suspects[i]);
	}
}

static void write_queue(struct metric_text *t, const struct metric *m)
{
	put(t, m, "stage=\"kernel\"", scan.in_kernel);
	put(t, m, "stage=\"ins\"", scan.in_ins);
	put(t, m, "stage=\"application\"", scan.in_app);
}

static void write_oldest(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", scan.oldest_ns);
}

static void write_unread(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", scan.unread);
}

static void write_unsent(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", scan.unsent);
}

static void write_memory(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", scan.memory);
}

static void write_zero_window(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", scan.zero_window);
}

static void write_slots(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", telem.flows.tele.slots);
}

static struct mw_arena *arena(void)
{
	return (struct mw_arena *)(mw_uintptr)arena_header(&telem.flows.arena);
}

static void write_started(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", mw_load(&arena()->started_ns));
}

static void write_sleeping(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", mw_load(&arena()->sleeping) != 0);
}

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec s = { 0 };

	clock_gettime(clock, &s);
	return (uint64_t)s.tv_sec * 1000000000u + (uint64_t)s.tv_nsec;
}

static void write_upgrades(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", mw_load(&tele()->upgrades));
}

static void write_workers(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", mw_load(&tele()->workers));
}

static void write_ins_cpu(struct metric_text *t, const struct metric *m)
{
	uint32_t pid = mw_load(&tele()->worker_pid);
	clockid_t clock;

	if (pid != own.worker) { /* another took over */
		own.before_ns += own.worker_ns;
		own.worker_ns = 0;
		own.worker = pid;
	}
	if (pid && clock_getcpuclockid((pid_t)pid, &clock) == 0)
		own.worker_ns = cpu_ns(clock);
	put(t, m, "", own.before_ns + own.worker_ns);
}

static void write_own_cpu(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", cpu_ns(CLOCK_PROCESS_CPUTIME_ID));
}

static void write_own_started(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", own.started_ns);
}

static void write_scrapes(struct metric_text *t, const struct metric *m)
{
	put(t, m, "", own.scrapes);
}

static void write_lost(struct metric_text *t, const struct metric *m)
{
	char labels[32];

	for (uint32_t i = 0; i < LOST_NUM; i++) {
		snprintf(labels, sizeof(labels), "what=\"%s\"", lost_names[i]);
		put(t, m, labels, own.lost[i]);
	}
}

static void write_refused(struct metric_text *t, const struct metric *m)
{
	char labels[32];

	for (uint32_t i = 0; i < REFUSED_NUM; i++) {
		snprintf(labels, sizeof(labels), "server=\"%s\"", refused_names[i]);
		put(t, m, labels, own.refused[i]);
	}
}

/* A question is no verb. */
static bool is_verb(uint32_t verb)
{
	return *verb_name(verb) != '?';
}

static void write_verbs(struct metric_text *t, const struct metric *m)
{
	char labels[48];

	for (uint32_t verb = 1; verb < VERB_NUM; verb++) {
		for (uint32_t i = 0; i < RESULTS && is_verb(verb); i++) {
			snprintf(labels, sizeof(labels), "verb=\"%s\",result=\"%s\"", verb_name(verb), result_names[i]);
			put(t, m, labels, own.verbs[verb][i]);
		}
	}
}

static void write_changes(struct metric_text *t, const struct metric *m)
{
	char labels[48];

	for (uint32_t verb = 1; verb < VERB_NUM; verb++) {
		for (uint32_t i = VERDICT_DONE; i <= VERDICT_FAILED && is_verb(verb); i++) {
			snprintf(labels, sizeof(labels), "verb=\"%s\",status=\"%s\"", verb_name(verb), verdict_status_name(i));
			put(t, m, labels, own.verdicts[verb][i]);
		}
	}
}

static bool count_holding(const struct verdict *v, void *holding)
{
	if (v->status == VERDICT_HOLDS && v->verb < VERB_NUM)
		((uint64_t *)holding)[v->verb]++;
	return true;
}

static void write_holding(struct metric_text *t, const struct metric *m)
{
	uint64_t holding[VERB_NUM] = { 0 };
	char labels[32];

	policy_each(count_holding, holding);
	for (uint32_t verb = 1; verb < VERB_NUM; verb++) {
		snprintf(labels, sizeof(labels), "verb=\"%s\"", verb_name(verb));
		if (is_verb(verb))
			put(t, m, labels, holding[verb]);
	}
}

static void write_build(struct metric_text *t, const struct metric *m)
{
	put(t, m, "version=\"" MW_RELEASE "\"", 1);
}

/* --- the table --- */

#define METRIC(name, type, unit, labels, help, write, at) { "mwcomms_" name, METRIC_##type, unit, labels, help, write, at }
#define TELE(member) offsetof(struct mw_tele, member)

static const struct metric metrics[] = {
	METRIC("build", INFO, "", "version", "What runs.", write_build, 0),
	METRIC("start_time_seconds", GAUGE, "seconds", "", "When the INS was started, since the epoch.", write_started, 0),
	METRIC("sockets", GAUGE, "", "proto, state", "Sockets now.", write_sockets, 0),
	METRIC("sockets_max", GAUGE, "", "", "Sockets that there can be at a time.", write_slots, 0),
	METRIC("sockets_opened", COUNTER, "", "", "Sockets ever.", write_total, TELE(opened)),
	METRIC("sockets_ended", COUNTER, "", "proto, reason", "Sockets that have ended, and why.", write_ended, TELE(ended)),
	METRIC("connections_accepted", COUNTER, "", "", "Connections accepted by the INS.", write_total, TELE(seen[MW_EV_ACCEPT])),
	METRIC("connections_handed", COUNTER, "", "", "Of these, put into the application's accept queue.", write_total, TELE(seen[MW_EV_HANDED])),
	METRIC("connections_connected", COUNTER, "", "", "Connections that the application made.", write_total, TELE(seen[MW_EV_CONNECT])),
	METRIC("received_bytes", COUNTER, "bytes", "proto", "From the network.", write_by_proto, TELE(traffic[0].rx_bytes)),
	METRIC("sent_bytes", COUNTER, "bytes", "proto", "To the network.", write_by_proto, TELE(traffic[0].tx_bytes)),
	METRIC("receives", COUNTER, "", "proto", "Receive calls that moved bytes; datagrams.", write_by_proto, TELE(traffic[0].rx_calls)),
	METRIC("sends", COUNTER, "", "proto", "Send calls that moved bytes; datagrams.", write_by_proto, TELE(traffic[0].tx_calls)),
	METRIC("unread_bytes", GAUGE, "bytes", "", "Received and not yet read by the application, of all sockets.", write_unread, 0),
	METRIC("unsent_bytes", GAUGE, "bytes", "", "Written by the application and not yet taken by the stack, of all sockets.", write_unsent, 0),
	METRIC("accept_queue_connections", GAUGE, "", "stage", "Connections that the application has not taken: in the kernel's queue, held in the INS, in the application's queue.", write_queue, 0),
	METRIC("accept_queue_oldest_seconds", GAUGE, "seconds", "", "How long the oldest of these has waited, since the accept by the INS.", write_oldest, 0),
	METRIC("socket_memory_bytes", GAUGE, "bytes", "", "Memory of the kernel's that is charged to TCP sockets.", write_memory, 0),
	METRIC("zero_window_connections", GAUGE, "", "", "Connections whose peer has closed its window.", write_zero_window, 0),
	METRIC("suspect_connections", GAUGE, "", "reason", "Connections that deserve a look, as in the field suspect of mw flows; one may have several reasons.", write_suspects, 0),
	METRIC("header_connections", GAUGE, "", "header", "Accepted connections now, by the state of their first header.", write_heads, 0),
	METRIC("connection_handed_seconds", HISTOGRAM, "seconds", "le", "From the accept by the INS to the application's accept queue.", write_times, TELE(times[MW_TIME_HANDED])),
	METRIC("connection_first_received_seconds", HISTOGRAM, "seconds", "le", "From the accept to the first byte from the peer.", write_times, TELE(times[MW_TIME_FIRST_RX])),
	METRIC("connection_first_sent_seconds", HISTOGRAM, "seconds", "le", "From the accept to the first byte to the peer.", write_times, TELE(times[MW_TIME_FIRST_TX])),
	METRIC("connection_header_seconds", HISTOGRAM, "seconds", "le", "From the accept to the end of the first header.", write_times, TELE(times[MW_TIME_HEAD])),
	METRIC("connection_duration_seconds", HISTOGRAM, "seconds", "le", "From the accept to the end of the connection.", write_times, TELE(times[MW_TIME_LIFE])),
	METRIC("violations", COUNTER, "", "", "Sockets quarantined because the application broke the channel's rules.", write_total, TELE(violations)),
	METRIC("mitigations", COUNTER, "", "", "Times that a verb acted on a socket.", write_total, TELE(seen[MW_EV_VERB])),
	METRIC("verdicts", GAUGE, "", "verb", "Verdicts that hold.", write_holding, 0),
	METRIC("verdict_changes", COUNTER, "", "verb, status", "Verdicts that came to this status.", write_changes, 0),
	METRIC("verbs", COUNTER, "", "verb, result", "Verbs that the INS has answered; ended: that socket was gone.", write_verbs, 0),
	METRIC("ins_loops", COUNTER, "", "", "The INS's heartbeat: rounds of its loop.", write_total, TELE(heartbeat)),
	METRIC("ins_last_loop_timestamp_seconds", GAUGE, "seconds", "", "When the last of these began, since the epoch.", write_total, TELE(heartbeat_ns)),
	METRIC("ins_workers", COUNTER, "", "", "Workers that the INS has started: all but the first took over from one that died, or from another program's.", write_workers, 0),
	METRIC("ins_upgrades", COUNTER, "", "", "Of these, the latter.", write_upgrades, 0),
	METRIC("ins_sleeping", GAUGE, "", "", "1: the INS waits for something to do.", write_sleeping, 0),
	METRIC("ins_cpu_seconds", COUNTER, "seconds", "", "Processor time of the INS: its rate is the share of a core.", write_ins_cpu, 0),
	METRIC("telemetry_cpu_seconds", COUNTER, "seconds", "", "Processor time of mw-telem.", write_own_cpu, 0),
	METRIC("telemetry_start_time_seconds", GAUGE, "seconds", "", "When mw-telem was started, since the epoch: its own counters begin again with it.", write_own_started, 0),
	METRIC("telemetry_events", COUNTER, "", "", "Events made by the INS, while somebody wanted them.", write_total, TELE(event_next)),
	METRIC("telemetry_lost", COUNTER, "", "what", "What went by: events too fast for mw-telem (ring) or for a client (control), lines of the audit log (audit), records that an IPFIX collector did not get (ipfix), messages for a NetFlow client that was dropped (netflow).", write_lost, 0),
	METRIC("telemetry_clients_refused", COUNTER, "", "server", "Clients over the limit, those of the metrics that took too long, those of NetFlow that are not allowed.", write_refused, 0),
	METRIC("telemetry_scrapes", COUNTER, "", "", "Times that these metrics were read.", write_scrapes, 0),
};

/* What other INSs' telemetry says of it. */
static void write_others(struct metric_text *t, const struct metric *m)
{
	char family[64];

	snprintf(family, sizeof(family), "%s%s", m->name, metric_text_suffix(m->type));
	peers_samples(t->out, family);
}

void metric_write(struct metric_text *t)
{
	t->app = telem.app;
	t->ins = telem.flows.ins;
	own.scrapes++;
	look();
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		metric_text_head(t, metrics[i].name, metrics[i].type, metrics[i].unit, metrics[i].help);
		metrics[i].write(t, &metrics[i]);
		if (!t->alone)
			write_others(t, &metrics[i]);
	}
	metric_text_end(t);
}
