// SPDX-License-Identifier: Apache-2.0
/*
 * gate.c - see gate.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chan/msg.h"
#include "lib/addr.h"
#include "telem/gate.h"
#include "telem/telem.h"

struct request {
	gate_answer *fn;
	void *arg;
	json_t *gates;       /* an object for each listener */
	uint32_t left;       /* answers that are still to come, and one while it is being sent */
	int status;
};

static void finish(struct request *r)
{
	json_t *o;

	if (--r->left)
		return;
	o = json_pack("{s:b,s:o}", "ok", r->status == 0, "gates", r->gates);
	if (r->status)
		json_object_set_new(o, "error", json_string(strerror(-r->status)));
	r->fn(r->arg, o);
	free(r);
}

static void add(struct request *r, uint64_t id, const struct verb_gate *g)
{
	char text[ADDR_TEXT_BYTES] = "";
	struct flow f;
	uint16_t port = 0;

	if (flow_read(&telem.flows, (uint32_t)id % telem.flows.tele.slots, &f) && f.f.id == id) {
		addr_text_ip(&f.f.local, text);
		port = f.f.local.port;
	}
	json_array_append_new(r->gates, json_pack("{s:I,s:s,s:i,s:s,s:f,s:I,s:I,s:I,s:I,s:I}", "id", (json_int_t)id, "local", text,
			      "port", port, "mode", gate_mode_name(g->settings.mode), "deadline", g->settings.deadline_ms / 1000.0, "limit",
			      (json_int_t)g->settings.limit_bytes, "per_peer", (json_int_t)g->settings.per_peer, "held", (json_int_t)g->held,
			      "passed", (json_int_t)g->passed, "dropped", (json_int_t)g->dropped));
}

static void answered(void *arg, const struct verb_msg *m, const uint8_t *value)
{
	struct request *r = arg;
	struct verb_gate g;

	if (m->status == 0 && m->bytes == sizeof(g)) {
		memcpy(&g, value, sizeof(g));
		add(r, (uint64_t)m->gen << 32 | m->slot, &g);
	} else if (m->status != -ESTALE && m->status != -EOPNOTSUPP && r->status == 0) { /* it listens no more */
		r->status = m->status ? m->status : -EPROTO;
	}
	finish(r);
}

static void ask(struct request *r, uint64_t id)
{
	struct verb_msg m = { .verb = VERB_GATE, .slot = (uint32_t)id, .gen = (uint32_t)(id >> 32) };

	r->left++;
	if (verbs_ask(&m, NULL, answered, r) == 0)
		return;
	r->left--;
	r->status = -ENOMEM;
}

void gate_list(gate_answer *fn, void *arg)
{
	uint32_t high = flow_slots_high(&telem.flows);
	struct request *r = calloc(1, sizeof(*r));
	struct flow f;

	if (!r) {
		fn(arg, json_pack("{s:b,s:s}", "ok", 0, "error", "no memory"));
		return;
	}
	*r = (struct request){ .fn = fn, .arg = arg, .gates = json_array(), .left = 1 };
	for (uint32_t i = 0; i < high; i++)
		if (flow_read(&telem.flows, i, &f) && f.f.state == MW_ST_LISTEN && f.f.type == MW_TYPE_STREAM)
			ask(r, f.f.id);
	finish(r);
}

/* --- orders --- */

/* A number of the request's, times that; GATE_KEEP when it is not there. False: it is none. */
static bool number(const json_t *q, const char *name, double times, uint32_t *value)
{
	const json_t *n = json_object_get(q, name);
	double d = json_number_value(n) * times;

	*value = GATE_KEEP;
	if (!n)
		return true;
	if (!json_is_number(n) || !(d >= 0 && d < GATE_KEEP))
		return false;
	*value = (uint32_t)(d + 0.5);
	return true;
}

const char *gate_settings_read(const json_t *q, struct gate_settings *g)
{
	const json_t *mode = json_object_get(q, "mode");

	g->mode = json_is_string(mode) ? gate_mode(json_string_value(mode)) : GATE_KEEP;
	if (g->mode == GATE_KEEP)
		return "mode: none, data, http, tls or auto";
	if (!number(q, "deadline", 1000, &g->deadline_ms) || !number(q, "limit", 1, &g->limit_bytes) ||
	    !number(q, "per_peer", 1, &g->per_peer) || !gate_ok(g))
		return "deadline: 0.001 to 3600 s; limit: 1 to 65536 bytes; per_peer: 0 to 65536";
	return NULL;
}

static size_t add_text(char *text, size_t n, size_t bytes, const char *format, double value, bool given)
{
	int r = given && n < bytes ? snprintf(text + n, bytes - n, format, value) : 0;

	return r > 0 ? n + (size_t)r : n;
}

void gate_settings_text(const struct gate_settings *g, char *text, size_t bytes)
{
	size_t n = (size_t)snprintf(text, bytes, "gate %s", gate_mode_name(g->mode));

	n = add_text(text, n, bytes, ", %g s", g->deadline_ms / 1000.0, g->deadline_ms != GATE_KEEP);
	n = add_text(text, n, bytes, ", %.0f bytes", g->limit_bytes, g->limit_bytes != GATE_KEEP);
	add_text(text, n, bytes, ", %.0f a peer", g->per_peer, g->per_peer != GATE_KEEP);
}
