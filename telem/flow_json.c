// SPDX-License-Identifier: Apache-2.0
/*
 * flow_json.c - flows and events as JSON objects. Times are seconds since the epoch, null when not yet.
 * Trust: as in flow.h.
 */
#include <string.h>

#include "lib/addr.h"
#include "telem/flow.h"

static json_t *time_json(uint64_t ns)
{
	return ns ? json_real((double)ns / 1e9) : json_null();
}

static json_t *field_json(const struct flow *f, const struct flow_field *d)
{
	const void *p = (const uint8_t *)f + d->offset;
	char text[ADDR_TEXT_BYTES];
	uint64_t u64 = 0;
	uint32_t u32 = 0;

	if (d->type == FLOW_COUNT || d->type == FLOW_TIME || d->type == FLOW_SPAN)
		memcpy(&u64, p, sizeof(u64));
	else
		memcpy(&u32, p, sizeof(u32));
	switch (d->type) {
	case FLOW_COUNT:
		return json_integer((json_int_t)u64);
	case FLOW_NUMBER:
		return json_integer(u32);
	case FLOW_SIGNED:
		return (int32_t)u32 == MW_OPT_UNSET ? json_null() : json_integer((int32_t)u32);
	case FLOW_TIME:
		return time_json(u64);
	case FLOW_SPAN:
		return json_real((double)u64 / 1e9);
	case FLOW_ADDR:
		return json_string(addr_text_ip(p, text));
	case FLOW_PORT:
		return json_integer(((const struct mw_addr *)p)->port);
	case FLOW_STATE:
		return json_string(flow_state_name(u32));
	case FLOW_TYPE:
		return json_string(flow_type_name(u32));
	case FLOW_END:
		return json_string(flow_end_name(u32));
	case FLOW_HEAD:
		return json_string(flow_head_name(u32));
	}
	return json_null();
}

json_t *flow_json(const char *app, const char *event, const struct flow *f)
{
	json_t *o = json_object();

	json_object_set_new(o, "event", json_string(event));
	json_object_set_new(o, "app", json_string(app));
	for (size_t i = 0; i < flow_field_count; i++)
		json_object_set_new(o, flow_fields[i].name, field_json(f, &flow_fields[i]));
	return o;
}

static struct mw_addr end(const uint8_t addr[16], uint16_t port, uint8_t family)
{
	struct mw_addr a = { .port = port, .family = family };

	memcpy(a.addr, addr, sizeof(a.addr));
	return a;
}

json_t *flow_event_json(const char *app, const struct mw_event *e)
{
	struct mw_addr local = end(e->local, e->local_port, e->local_family), peer = end(e->peer, e->peer_port, e->peer_family);
	char local_text[ADDR_TEXT_BYTES], peer_text[ADDR_TEXT_BYTES];
	json_t *o = json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:i,s:s,s:i,s:i,s:I,s:I,s:s,s:i,s:I}", "event", flow_event_name(e->kind), "app", app,
			      "id", (json_int_t)e->id, "extra", (json_int_t)e->extra, "proto", flow_type_name(e->type), "peer",
			      addr_text_ip(&peer, peer_text), "peer_port", peer.port, "local", addr_text_ip(&local, local_text),
			      "local_port", local.port, "pid", (int)e->pid, "rx_bytes", (json_int_t)e->rx_bytes, "tx_bytes",
			      (json_int_t)e->tx_bytes, "state", flow_state_name(e->state), "error", e->error, "verdict",
			      (json_int_t)e->verdict);

	json_object_set_new(o, "time", time_json(e->time_ns));
	json_object_set_new(o, "opened", time_json(e->opened_ns));
	return o;
}
