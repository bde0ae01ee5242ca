// SPDX-License-Identifier: Apache-2.0
/*
 * flow_json.c - flows and events as JSON objects. Times are seconds since the epoch, null when not yet.
 * Trust: as in flow.h. A text that is not plain ASCII (a command may call itself anything) has '?' for what is not.
 *
 * They are written without jansson's objects in between: thousands are told each second.
 */
#include <string.h>

#include "lib/addr.h"
#include "telem/diag.h"
#include "telem/flow.h"

struct out {
	char *at;
	size_t left;
};

static void put(struct out *o, const char *text, size_t n)
{
	if (n > o->left)
		n = o->left;
	memcpy(o->at, text, n);
	o->at += n;
	o->left -= n;
}

static void put_text(struct out *o, const char *text)
{
	put(o, text, strlen(text));
}

static void put_quoted(struct out *o, const char *text)
{
	put(o, "\"", 1);
	for (; *text; text++)
		put(o, *text < ' ' || *text > '~' || *text == '"' || *text == '\\' ? "?" : text, 1);
	put(o, "\"", 1);
}

static void put_string(struct out *o, const char *text)
{
	if (*text)
		put_quoted(o, text);
	else
		put_text(o, "null");
}

/* At least so many digits. */
static void put_digits(struct out *o, uint64_t n, int least)
{
	char text[20], *p = text + sizeof(text);

	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n || text + sizeof(text) - p < least);
	put(o, p, (size_t)(text + sizeof(text) - p));
}

static void put_number(struct out *o, uint64_t n)
{
	put_digits(o, n, 1);
}

static void put_signed(struct out *o, int32_t n)
{
	if (n < 0)
		put(o, "-", 1);
	put_number(o, (uint64_t)(n < 0 ? -(int64_t)n : n));
}

static void put_seconds(struct out *o, uint64_t ns)
{
	put_number(o, ns / 1000000000u);
	put(o, ".", 1);
	put_digits(o, ns % 1000000000u, 9);
}

/* Eight bytes. */
static void put_long(struct out *o, enum flow_type type, const void *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	if (type == FLOW_COUNT)
		put_number(o, n);
	else if (type == FLOW_TIME && !n)
		put_text(o, "null");
	else
		put_seconds(o, n);
}

static void put_value(struct out *o, const struct flow_field *d, const void *p)
{
	char text[FLOW_SUSPECT_BYTES];
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	switch (d->type) {
	case FLOW_COUNT:
	case FLOW_TIME:
	case FLOW_SPAN:
		put_long(o, d->type, p);
		break;
	case FLOW_NUMBER:
		put_number(o, n);
		break;
	case FLOW_SIGNED:
		if ((int32_t)n == MW_OPT_UNSET)
			put_text(o, "null");
		else
			put_signed(o, (int32_t)n);
		break;
	case FLOW_MSEC:
		put_seconds(o, n * 1000000ull);
		break;
	case FLOW_USEC:
		put_seconds(o, n * 1000ull);
		break;
	case FLOW_TEXT:
		put_string(o, p);
		break;
	case FLOW_COMMAND:
		put_string(o, comm_of(n, text));
		break;
	case FLOW_SUSPECT:
		put_quoted(o, flow_suspect_text(n, text));
		break;
	case FLOW_KERNEL:
		put_quoted(o, diag_state_name(n));
		break;
	case FLOW_TIMER:
		put_quoted(o, flow_timer_name(n));
		break;
	case FLOW_ADDR:
		put_quoted(o, addr_text_ip(p, text));
		break;
	case FLOW_PORT:
		put_number(o, ((const struct mw_addr *)p)->port);
		break;
	case FLOW_STATE:
		put_quoted(o, flow_state_name(n));
		break;
	case FLOW_END:
		put_quoted(o, flow_end_name(n));
		break;
	case FLOW_TYPE:
		put_quoted(o, flow_type_name(n));
		break;
	case FLOW_HEAD:
		put_quoted(o, flow_head_name(n));
		break;
	}
}

static void name_of(struct out *o, const char *name)
{
	put(o, ",\"", 2);
	put_text(o, name);
	put(o, "\":", 2);
}

size_t flow_line(const char *event, const struct flow *f, char line[FLOW_LINE_BYTES])
{
	struct out o = { line, FLOW_LINE_BYTES };

	put_text(&o, "{\"event\":");
	put_quoted(&o, event);
	for (const struct flow_field *d = flow_fields; d < flow_fields + flow_field_count; d++) {
		name_of(&o, d->name);
		if (flow_has(f, d))
			put_value(&o, d, (const uint8_t *)f + d->offset);
		else
			put_text(&o, "null");
	}
	put(&o, "}\n", 2);
	return FLOW_LINE_BYTES - o.left;
}

static struct mw_addr end(const uint8_t addr[16], uint16_t port, uint8_t family)
{
	struct mw_addr a = { .port = port, .family = family };

	memcpy(a.addr, addr, sizeof(a.addr));
	return a;
}

static void field_text(struct out *o, const char *name, const char *text)
{
	name_of(o, name);
	put_quoted(o, text);
}

static void field_number(struct out *o, const char *name, uint64_t n)
{
	name_of(o, name);
	put_number(o, n);
}

static void field_end(struct out *o, const char *name, const char *port, const struct mw_addr *a)
{
	char text[ADDR_TEXT_BYTES];

	field_text(o, name, addr_text_ip(a, text));
	field_number(o, port, a->port);
}

static void field_time(struct out *o, const char *name, uint64_t ns)
{
	name_of(o, name);
	put_long(o, FLOW_TIME, &ns);
}

size_t flow_event_line(const char *app, const struct mw_event *e, char line[FLOW_LINE_BYTES])
{
	struct mw_addr local = end(e->local, e->local_port, e->local_family), peer = end(e->peer, e->peer_port, e->peer_family);
	struct out o = { line, FLOW_LINE_BYTES };

	put_text(&o, "{\"event\":");
	put_quoted(&o, flow_event_name(e->kind));
	field_text(&o, "app", app);
	field_number(&o, "id", e->id);
	field_number(&o, "extra", e->extra);
	field_text(&o, "proto", flow_type_name(e->type));
	field_end(&o, "peer", "peer_port", &peer);
	field_end(&o, "local", "local_port", &local);
	field_number(&o, "pid", e->pid);
	field_number(&o, "rx_bytes", e->rx_bytes);
	field_number(&o, "tx_bytes", e->tx_bytes);
	field_text(&o, "state", flow_state_name(e->state));
	name_of(&o, "error");
	put_signed(&o, e->error);
	field_number(&o, "verdict", e->verdict);
	field_time(&o, "time", e->time_ns);
	field_time(&o, "opened", e->opened_ns);
	put(&o, "}\n", 2);
	return FLOW_LINE_BYTES - o.left;
}
