// SPDX-License-Identifier: Apache-2.0
/*
 * order.c - see order.h.
 * Trust: as in the header.
 */
#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "lib/prefix.h"
#include "telem/gate.h"
#include "telem/options.h"
#include "telem/order.h"
#include "telem/target.h"

#define TTL_MAX_S 315360000.0 /* ten years */

static bool bad(char why[FILTER_WHY_BYTES], const char *text)
{
	snprintf(why, FILTER_WHY_BYTES, "%s", text);
	return false;
}

/* The member's text, or `missing`; NULL when it is no text, or longer than that. */
static const char *text_of(json_t *q, const char *name, size_t max, const char *missing)
{
	json_t *m = json_object_get(q, name);

	if (!m)
		return missing;
	return json_is_string(m) && json_string_length(m) < max && strlen(json_string_value(m)) == json_string_length(m)
		       ? json_string_value(m) : NULL;
}

/* Seconds as nanoseconds; 0 when there are none. */
static bool span_of(json_t *q, const char *name, uint64_t *ns)
{
	json_t *m = json_object_get(q, name);
	double s = json_number_value(m);

	*ns = 0;
	if (!m)
		return true;
	if (!json_is_number(m) || !isfinite(s) || s < 0 || s > TTL_MAX_S)
		return false;
	*ns = (uint64_t)(s * 1e9);
	return true;
}

static bool number_of(json_t *q, uint64_t max, uint64_t *n)
{
	json_t *m = json_object_get(q, "number");

	if (!json_is_integer(m) || json_integer_value(m) < 0 || (uint64_t)json_integer_value(m) > max)
		return false;
	*n = (uint64_t)json_integer_value(m);
	return true;
}

static bool parse_set(struct order *o, json_t *q, char why[FILTER_WHY_BYTES])
{
	const char *name = text_of(q, "option", 32, NULL), *value = text_of(q, "value", VERDICT_VALUE, NULL);
	const struct sockopt *d = name ? option_named(name) : NULL;
	int n;

	if (!d)
		return bad(why, "option: no such option; `mw set --help` lists them");
	n = value ? option_parse(d, value, o->v.value) : -1;
	if (n < 0) {
		snprintf(why, FILTER_WHY_BYTES, "value: %s is %s", d->name, d->help);
		return false;
	}
	o->v.level = d->level;
	o->v.name = d->number;
	o->v.bytes = (uint32_t)n;
	snprintf(o->v.what, sizeof(o->v.what), "%s=%s", d->name, value);
	return true;
}

static bool parse_block(struct order *o, char why[FILTER_WHY_BYTES])
{
	struct prefix p;

	if (prefix_parse(&p, o->v.target) < 0)
		return bad(why, "target: an address or a prefix is needed, as in 192.0.2.0/24");
	if (p.bits == 0)
		return bad(why, "target: that would be everybody");
	o->v.addr = p.addr;
	o->v.prefix = p.bits;
	prefix_text(&p, o->v.target);
	return true;
}

/* All ports, or one. "per": bits of the peers that count as one, for IPv4 or IPv6. */
static bool parse_cap(struct order *o, json_t *q, char why[FILTER_WHY_BYTES])
{
	const char *per = text_of(q, "per", 8, "32");
	struct target t;
	char *end;
	unsigned long bits = per ? strtoul(per, &end, 10) : 999;
	bool six = text_of(q, "family", 8, NULL) && !strcmp(text_of(q, "family", 8, ""), "ip6");

	if (!per || *end || bits < 1 || bits > (six ? 128 : 32))
		return bad(why, "per: 1 to 32 bits, with family ip6 1 to 128");
	if (target_parse(&t, o->v.target, why) < 0 || (t.kind != TARGET_ALL && (t.kind != TARGET_PORT || !t.port))) {
		target_free(&t);
		return bad(why, "target: all, or a port, as in :80");
	}
	if (t.kind == TARGET_PORT)
		snprintf(o->v.target, sizeof(o->v.target), ":%u", t.port);
	o->v.addr.port = (uint16_t)t.port;
	if (!number_of(q, 1000000, &o->v.number))
		return bad(why, "number: how many connections at most");
	o->v.addr.family = six ? MW_FAMILY_IP6 : MW_FAMILY_IP4;
	o->v.prefix = (uint32_t)bits;
	snprintf(o->v.what, sizeof(o->v.what), "cap %llu per /%u of %s", (unsigned long long)o->v.number, o->v.prefix, six ? "IPv6" : "IPv4");
	return true;
}

/* A port, and struct gate_settings. */
static bool parse_gate(struct order *o, json_t *q, char why[FILTER_WHY_BYTES])
{
	struct gate_settings g;
	struct target t;
	const char *wrong = gate_settings_read(q, &g);

	if (target_parse(&t, o->v.target, why) < 0 || t.kind != TARGET_PORT || !t.port) {
		target_free(&t);
		return bad(why, "target: a port, as in :80");
	}
	if (wrong)
		return bad(why, wrong);
	o->v.number = t.port;
	o->v.bytes = sizeof(g);
	memcpy(o->v.value, &g, sizeof(g));
	snprintf(o->v.target, sizeof(o->v.target), ":%u", t.port);
	gate_settings_text(&g, o->v.what, sizeof(o->v.what));
	return true;
}

static bool parse_rest(struct order *o, json_t *q, char why[FILTER_WHY_BYTES])
{
	switch (o->v.verb) {
	case VERB_SET:
		return parse_set(o, q, why);
	case VERB_BLOCK:
	case VERB_UNBLOCK:
		return parse_block(o, why);
	case VERB_CAP:
		return parse_cap(o, q, why);
	case VERB_GATE:
		return parse_gate(o, q, why);
	case VERB_BACKLOG:
		if (!number_of(q, 65535, &o->v.number))
			return bad(why, "number: the backlog, 0 to 65535");
		snprintf(o->v.what, sizeof(o->v.what), "backlog %llu", (unsigned long long)o->v.number);
		return true;
	case VERB_MINRATE:
		if (!number_of(q, 1ull << 40, &o->v.number) || !o->v.number)
			return bad(why, "number: bytes a second");
		if (!span_of(q, "grace", &o->v.grace_ns) || !o->v.grace_ns)
			return bad(why, "grace: seconds that a peer may be slower");
		snprintf(o->v.what, sizeof(o->v.what), "minrate %llu after %.1f s", (unsigned long long)o->v.number,
			 (double)o->v.grace_ns / 1e9);
		return true;
	}
	return true;
}

bool order_parse(struct order *o, json_t *q, const char *who, char why[FILTER_WHY_BYTES])
{
	const char *verb = text_of(q, "verb", 32, NULL), *target = text_of(q, "target", VERDICT_TARGET, NULL);
	const char *reason = text_of(q, "why", VERDICT_WHY, "");

	memset(o, 0, sizeof(*o));
	o->v.verb = verb ? verb_named(verb) : 0;
	if (!o->v.verb)
		return bad(why, "verb: no such verb");
	if (!target)
		return bad(why, "target: a text is needed, of at most 191 bytes");
	if (!reason)
		return bad(why, "why: a text of at most 95 bytes");
	if (!span_of(q, "ttl", &o->ttl_ns))
		return bad(why, "ttl: seconds");
	o->dry_run = json_is_true(json_object_get(q, "dry_run"));
	snprintf(o->v.target, sizeof(o->v.target), "%s", target);
	snprintf(o->v.what, sizeof(o->v.what), "%s", verb);
	snprintf(o->v.who, sizeof(o->v.who), "%s", who);
	snprintf(o->v.why, sizeof(o->v.why), "%s", reason);
	return parse_rest(o, q, why);
}

static json_t *time_json(uint64_t ns)
{
	return ns ? json_real((double)ns / 1e9) : json_null();
}

json_t *verdict_json(const struct verdict *v)
{
	json_t *o = json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:i}", "verdict", (json_int_t)v->id, "verb", verb_name(v->verb), "what",
			      v->what, "target", v->target, "status", verdict_status_name(v->status), "who", v->who, "why", v->why, "hit",
			      (int)v->hits, "missed", (int)v->missed, "error", v->error);

	json_object_set_new(o, "made", time_json(v->made_ns));
	json_object_set_new(o, "expires", time_json(v->expires_ns));
	json_object_set_new(o, "ended", time_json(v->ended_ns));
	return o;
}
