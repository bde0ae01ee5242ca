// SPDX-License-Identifier: Apache-2.0
/*
 * layout_test.c - the channel's layout, field by field, against chan/layout.golden.
 * Trust: none; no input but the golden file. Run at the project's root, or with the file as argument.
 *
 * Prints where every field lies and fails on any difference, so that the layout never changes unannounced;
 * MW_UPDATE_GOLDEN=1 rewrites the file. Fails too when a struct has bytes that no listed field covers: then
 * a field is missing below, or the compiler padded, which wire.h forbids.
 */
#include <stdio.h>
#include <stdlib.h>

#include "chan/arena.h"
#include "chan/door.h"
#include "chan/msg.h"
#include "chan/tele.h"

#define GOLDEN "chan/layout.golden"

struct field {
	const char *type, *name;
	size_t at, bytes, type_bytes;
};

#define F(t, f) { #t, #f, offsetof(struct t, f), sizeof(((struct t *)0)->f), sizeof(struct t) }

static const struct field fields[] = {
	F(mw_addr, addr), F(mw_addr, scope_id), F(mw_addr, flowinfo), F(mw_addr, family), F(mw_addr, port),
	F(mw_addr, pad),

	F(mw_slot_ins, gen), F(mw_slot_ins, state), F(mw_slot_ins, cookie), F(mw_slot_ins, nonce),
	F(mw_slot_ins, family), F(mw_slot_ins, type), F(mw_slot_ins, want_seed), F(mw_slot_ins, bell_busy), F(mw_slot_ins, lane), F(mw_slot_ins, lowat),
	F(mw_slot_ins, urgent_inline), F(mw_slot_ins, rx_drop_from),
	F(mw_slot_ins, rx_prod), F(mw_slot_ins, rx_rung), F(mw_slot_ins, rx_space_event), F(mw_slot_ins, tx_cons),
	F(mw_slot_ins, rx_state), F(mw_slot_ins, error), F(mw_slot_ins, rx_told), F(mw_slot_ins, rx_urgent), F(mw_slot_ins, rx_drop_to),

	F(mw_slot_app, rx_cons), F(mw_slot_app, rx_event), F(mw_slot_app, rx_taken), F(mw_slot_app, rx_lock),
	F(mw_slot_app, pid), F(mw_slot_app, seeded), F(mw_slot_app, timeo), F(mw_slot_app, rcvtimeo), F(mw_slot_app, sndtimeo), F(mw_slot_app, tx_event),
	F(mw_slot_app, tx_prod), F(mw_slot_app, tx_lock),
	F(mw_slot_app, flags), F(mw_slot_app, tx_urgent), F(mw_slot_app, rx_waits), F(mw_slot_app, rx_woken),
	F(mw_slot_app, pad2),

	F(mw_slot_names, local), F(mw_slot_names, peer), F(mw_slot_names, refused),
	F(mw_slot_names, timeo), F(mw_slot_names, rcvtimeo), F(mw_slot_names, sndtimeo), F(mw_slot_names, tx_limit), F(mw_slot_names, pad0),
	F(mw_slot_names, pad1),

	F(mw_slot, ins), F(mw_slot, app), F(mw_slot, names),

	F(mw_arena, magic), F(mw_arena, version), F(mw_arena, slots), F(mw_arena, rx_bytes), F(mw_arena, tx_bytes),
	F(mw_arena, arena_bytes), F(mw_arena, started_ns), F(mw_arena, pad0), F(mw_arena, sleeping),
	F(mw_arena, slots_high), F(mw_arena, pad1), F(mw_arena, refused), F(mw_arena, app_violations),
	F(mw_arena, pad2), F(mw_arena, ready_top),

	F(mw_door, magic), F(mw_door, version), F(mw_door, slots), F(mw_door, pad0), F(mw_door, req_prod), F(mw_door, rep_cons),
	F(mw_door, event_armed), F(mw_door, pad1), F(mw_door, req_cons), F(mw_door, rep_prod), F(mw_door, spare), F(mw_door, state), F(mw_door, heartbeat),
	F(mw_door, violations), F(mw_door, pad2), F(mw_door, app_sleeping), F(mw_door, pad3), F(mw_door, up_top),

	F(mw_req_grant, rx_pages), F(mw_req_grant, tx_pages), F(mw_req_revoke, pad), F(mw_req_verb, pad),

	F(mw_option_pair, app), F(mw_option_pair, operator),

	F(mw_flow, id), F(mw_flow, opened_ns), F(mw_flow, handed_ns), F(mw_flow, first_rx_ns), F(mw_flow, last_rx_ns),
	F(mw_flow, first_tx_ns), F(mw_flow, last_tx_ns), F(mw_flow, peer_fin_ns), F(mw_flow, app_fin_ns),
	F(mw_flow, app_close_ns), F(mw_flow, closed_ns), F(mw_flow, rx_bytes), F(mw_flow, tx_bytes), F(mw_flow, rx_calls),
	F(mw_flow, tx_calls), F(mw_flow, rx_silence_ns), F(mw_flow, tx_silence_ns), F(mw_flow, turns), F(mw_flow, head_ns),
	F(mw_flow, cookie), F(mw_flow, listener), F(mw_flow, verdict), F(mw_flow, rx_unread), F(mw_flow, tx_unsent),
	F(mw_flow, local), F(mw_flow, peer), F(mw_flow, pid), F(mw_flow, state), F(mw_flow, end), F(mw_flow, error),
	F(mw_flow, type), F(mw_flow, head), F(mw_flow, head_bytes), F(mw_flow, verdicts), F(mw_flow, verb), F(mw_flow, pad1),
	F(mw_flow, option), F(mw_flow, asked_ns), F(mw_flow, rx_busy_ns), F(mw_flow, pad2),

	F(mw_event, seq), F(mw_event, time_ns), F(mw_event, id), F(mw_event, extra), F(mw_event, opened_ns),
	F(mw_event, rx_bytes), F(mw_event, tx_bytes), F(mw_event, verdict), F(mw_event, local), F(mw_event, peer),
	F(mw_event, local_port), F(mw_event, peer_port), F(mw_event, local_family), F(mw_event, peer_family),
	F(mw_event, kind), F(mw_event, type), F(mw_event, pid), F(mw_event, verb), F(mw_event, state), F(mw_event, error),
	F(mw_event, pad),

	F(mw_tele, magic), F(mw_tele, version), F(mw_tele, slots), F(mw_tele, tele_bytes), F(mw_tele, pad0),
	F(mw_tele, event_next), F(mw_tele, log_next), F(mw_tele, slots_high), F(mw_tele, pad1), F(mw_tele, violations),
	F(mw_tele, heartbeat), F(mw_tele, sockets), F(mw_tele, heartbeat_ns), F(mw_tele, opened), F(mw_tele, seen),
	F(mw_tele, ended), F(mw_tele, traffic), F(mw_tele, times), F(mw_tele, worker_pid), F(mw_tele, workers), F(mw_tele, upgrades), F(mw_tele, pad3), F(mw_tele, pad2),
	F(mw_traffic, rx_bytes), F(mw_traffic, tx_bytes), F(mw_traffic, rx_calls), F(mw_traffic, tx_calls),
	F(mw_times, bucket), F(mw_times, sum_ns),

	F(mw_log_entry, seq), F(mw_log_entry, flow),

	F(mw_req_hello, version), F(mw_req_hello, pad),
	F(mw_req_socket, cookie), F(mw_req_socket, family), F(mw_req_socket, type), F(mw_req_socket, lane),
	F(mw_req_listen, backlog), F(mw_req_listen, pad),
	F(mw_req_option, level), F(mw_req_option, name), F(mw_req_option, bytes), F(mw_req_option, have),
	F(mw_req_option, absent), F(mw_req_option, pad),
	F(mw_req_flush, tag), F(mw_req_flush, pad), F(mw_req_shutdown, how), F(mw_req_shutdown, pad),
	F(mw_req_urgent, what), F(mw_req_urgent, byte),
	F(mw_req, op), F(mw_req, bytes), F(mw_req, seq), F(mw_req, slot), F(mw_req, gen), F(mw_req, u),
	F(mw_reply, op), F(mw_reply, bytes), F(mw_reply, seq), F(mw_reply, status), F(mw_reply, slot),
	F(mw_reply, gen), F(mw_reply, value_bytes), F(mw_reply, length),
	F(mw_accepted, slot), F(mw_accepted, gen), F(mw_accepted, ins), F(mw_accepted, pad), F(mw_accepted, peer),
	F(mw_roster, high), F(mw_roster, home), F(mw_roster, pad), F(mw_roster, state),
	F(mw_dgram, kind), F(mw_dgram, flags), F(mw_dgram, tag), F(mw_dgram, control_bytes), F(mw_dgram, pad),
	F(mw_dgram, peer), F(mw_dgram, control),
	F(mw_control, bytes), F(mw_control, level), F(mw_control, type),
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

#define N(n) { #n, n }

static const struct {
	const char *name;
	uint64_t value;
} numbers[] = {
	N(MW_MAGIC), N(MW_VERSION), N(MW_SLOTS_MAX), N(MW_RING_BYTES_MIN), N(MW_RING_BYTES_MAX), N(MW_LOG_ENTRIES),
	N(MW_READY_OFFSET), N(MW_READY_BYTES), N(MW_SLOT_OFFSET),
	N(MW_TELE_MAGIC), N(MW_TELE_VERSION), N(MW_EVENTS), N(MW_EVENTS_OFFSET), N(MW_LOG_OFFSET), N(MW_FLOWS_OFFSET), N(MW_FLOW_STRIDE),
	N(MW_FAMILY_NONE), N(MW_FAMILY_IP4), N(MW_FAMILY_IP6), N(MW_TYPE_STREAM), N(MW_TYPE_DGRAM), N(MW_TYPE_LITE),
	N(MW_ST_FREE), N(MW_ST_OPEN), N(MW_ST_LISTEN), N(MW_ST_CONNECTING), N(MW_ST_ESTABLISHED), N(MW_ST_CLOSING),
	N(MW_ST_CLOSED), N(MW_ST_HELD), N(MW_ST_NUM),
	N(MW_END_NONE), N(MW_END_CLOSED), N(MW_END_RESET), N(MW_END_REFUSED), N(MW_END_QUARANTINE), N(MW_END_VERB), N(MW_END_GATE), N(MW_END_NUM),
	N(MW_EV_CREATE), N(MW_EV_BIND), N(MW_EV_ACCEPT), N(MW_EV_CONNECT), N(MW_EV_RECV), N(MW_EV_SEND), N(MW_EV_CLOSE), N(MW_EV_LISTEN),
	N(MW_EV_HANDED), N(MW_EV_FIN), N(MW_EV_HEAD), N(MW_EV_VERB), N(MW_EV_GATE), N(MW_EV_NUM),
	N(MW_TRAFFIC_TYPES), N(MW_BOUNDS), N(MW_END_ROOM), N(MW_EV_ROOM),
	N(MW_TIME_HANDED), N(MW_TIME_FIRST_RX), N(MW_TIME_FIRST_TX), N(MW_TIME_HEAD), N(MW_TIME_LIFE), N(MW_TIME_NUM),
	N(MW_HEAD_NONE), N(MW_HEAD_PARTIAL), N(MW_HEAD_COMPLETE), N(MW_HEAD_OTHER), N(MW_HEAD_NUM),
	N(MW_RX_FIN), N(MW_RX_ERROR),
	N(MW_APP_CORK), N(MW_APP_NODELAY), N(MW_APP_SHUT_WR), N(MW_APP_SHUT_RD), N(MW_APP_ERROR_TAKEN),
	N(MW_APP_SNDBUF_SET), N(MW_APP_NODELAY_SET), N(MW_APP_LINGER_SET), N(MW_APP_LINGERS),
	N(MW_REFUSED_DGRAM), N(MW_REFUSED_RAW), N(MW_REFUSED_PACKET),
	N(MW_REFUSED_OTHER), N(MW_REFUSED_NUM),
	N(MW_OP_HELLO), N(MW_OP_SOCKET), N(MW_OP_BIND), N(MW_OP_LISTEN), N(MW_OP_CONNECT), N(MW_OP_SETSOCKOPT),
	N(MW_OP_GETSOCKOPT), N(MW_OP_STREAM), N(MW_LANE_STREAM), N(MW_OP_FLUSH), N(MW_OP_SHUTDOWN), N(MW_OP_IOCTL), N(MW_OP_AGAIN), N(MW_OP_URGENT), N(MW_OP_NUM), N(MW_VALUE_MAX),
	N(MW_DG_DATA), N(MW_DG_ERROR), N(MW_DGF_MORE), N(MW_DGF_DONTROUTE), N(MW_DGF_CONFIRM), N(MW_DGF_CTRUNC),
	N(MW_DG_PLACES), N(MW_DG_DIGITS), N(MW_DGRAM_CONTROL), N(MW_DGRAM_PAYLOAD),
};

static bool same_type(const struct field *a, const struct field *b)
{
	return strcmp(a->type, b->type) == 0;
}

/* Every struct's fields follow each other without a hole. */
static int uncovered_bytes(void)
{
	int holes = 0;

	for (size_t i = 0; i < FIELDS; i++) {
		const struct field *f = &fields[i];
		bool first = i == 0 || !same_type(f, f - 1);
		bool last = i + 1 == FIELDS || !same_type(f, f + 1);
		size_t want = first ? 0 : f[-1].at + f[-1].bytes;

		if (f->at != want) {
			fprintf(stderr, "%s: bytes %zu to %zu before .%s are in no field listed here\n",
				f->type, want, f->at, f->name);
			holes++;
		}
		if (last && f->at + f->bytes != f->type_bytes) {
			fprintf(stderr, "%s: bytes after .%s are in no field listed here\n", f->type, f->name);
			holes++;
		}
	}
	return holes;
}

static void print_layout(FILE *to)
{
	const uint32_t slots = 128, rx = 65536, tx = 4096;
	const mw_uintptr base = MW_PAGE; /* only added to, never read */
	struct mw_view v = { .base = MW_PEER((void *)base), .slots = slots, .rx_bytes = rx, .tx_bytes = tx };
	struct mw_ring r;

	fprintf(to, "# The channel's layout: struct, field, offset, bytes. Written by test/unit/layout_test.c.\n");
	for (size_t i = 0; i < FIELDS; i++) {
		if (i == 0 || !same_type(&fields[i], &fields[i - 1]))
			fprintf(to, "%s %zu\n", fields[i].type, fields[i].type_bytes);
		fprintf(to, "  .%s %zu %zu\n", fields[i].name, fields[i].at, fields[i].bytes);
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		fprintf(to, "%s %llu\n", numbers[i].name, (unsigned long long)numbers[i].value);
	fprintf(to, "arena of %u slots, rx %u, tx %u: %llu\n", slots, rx, tx,
		(unsigned long long)arena_bytes(slots, rx, tx));
	for (uint32_t slot = 0; slot < slots; slot += slots - 1) {
		fprintf(to, "  slot %u %llu\n", slot, (unsigned long long)((mw_uintptr)arena_slot(&v, slot) - base));
		arena_rx(&v, slot, &r);
		fprintf(to, "  rx %u %llu\n", slot, (unsigned long long)((mw_uintptr)r.data - base));
		arena_tx(&v, slot, &r);
		fprintf(to, "  tx %u %llu\n", slot, (unsigned long long)((mw_uintptr)r.data - base));
	}
}

/* Prints each line that differs; lines are compared by number. */
static int differences(char *have, FILE *golden)
{
	char want[256], *next, *line = have;
	int count = 0;

	for (; *line; line = next) {
		next = strchr(line, '\n');
		*next++ = 0;
		if (!fgets(want, sizeof(want), golden))
			want[0] = 0;
		want[strcspn(want, "\n")] = 0;
		if (strcmp(want, line) == 0)
			continue;
		fprintf(stderr, "golden: %s\n   now: %s\n", want, line);
		count++;
	}
	for (; fgets(want, sizeof(want), golden); count++)
		fprintf(stderr, "golden: %s   now: nothing\n", want);
	return count;
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : GOLDEN;
	bool update = getenv("MW_UPDATE_GOLDEN") != NULL;
	char *have = NULL;
	size_t bytes = 0;
	FILE *mem = open_memstream(&have, &bytes), *golden;
	int count;

	if (!mem || uncovered_bytes())
		return 1;
	print_layout(mem);
	fclose(mem);
	fputs(have, stdout);
	golden = fopen(path, update ? "w" : "r");
	if (!golden) {
		perror(path);
		return 1;
	}
	if (update)
		return fputs(have, golden) < 0 || fclose(golden) ? 1 : 0;
	count = differences(have, golden);
	if (count)
		fprintf(stderr, "%s: %d lines differ; if the layout was meant to change, say so in PROTOCOL.md, "
			"raise MW_VERSION if it was ever released, and run with MW_UPDATE_GOLDEN=1\n", path, count);
	fclose(golden);
	free(have);
	return count ? 1 : 0;
}
