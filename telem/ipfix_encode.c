// SPDX-License-Identifier: Apache-2.0
/*
 * ipfix_encode.c - flow records to IPFIX messages, by libfixbuf: templates out of THE table in flow.c and the elements that follow
 * from it below.
 * Trust: as in ipfix.h.
 *
 * One template for IPv4, one for IPv6. Forward is the direction of whoever opened the flow; what goes the other way has the
 * same element under RFC 5103's enterprise. octetDeltaCount is what collectors add up: initiatorOctets alone is 0 to nfdump.
 * Export time and sequence number are each collector's own, and written where it is sent.
 */
#include <errno.h>
#include <fixbuf/public.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "chan/msg.h"
#include "link/telem.h"
#include "telem/ipfix.h"

#define REVERSE_PEN 29305 /* RFC 5103 */
#define COLUMNS_MAX 128
#define RECORD_MAX  900   /* bytes: a message must hold one */
#define NAME_MAX_BYTES 40

enum { TID_IP4 = 256, TID_IP6, TID_ELEMENT, TID_DOMAIN, TID_LOSS };

static struct {
	fbInfoModel_t *model;
	fbSession_t *session;
	fbExporter_t *exporter;
	fBuf_t *buf;
	void (*emit)(void *to, struct ipfix_message *m);
	void *to;                  /* of what is in buf */
	struct ipfix_message out;
	char app[64];
	uint32_t domain;
} e;

static GError *error; /* libfixbuf insists on somewhere to say what; that it failed is enough here */

static char names[COLUMNS_MAX][NAME_MAX_BYTES]; /* of our own elements */
static size_t own_count;
static fbInfoElement_t own[COLUMNS_MAX + 1];

/* --- what follows from a flow --- */

/* The peer opened it: it came by a listener, or its datagram was the first. */
static bool by_peer(const struct ipfix_report *r)
{
	const struct mw_flow *f = &r->flow->f;

	if (f->type == MW_TYPE_STREAM)
		return f->listener != 0;
	return f->first_rx_ns && (!f->first_tx_ns || f->first_rx_ns <= f->first_tx_ns);
}

static uint64_t forward(const struct ipfix_report *r)
{
	return by_peer(r) ? r->rx : r->tx;
}

static uint64_t backward(const struct ipfix_report *r)
{
	return by_peer(r) ? r->tx : r->rx;
}

static uint64_t report_kind(const struct ipfix_report *r)
{
	return r->kind;
}

/* The last that was seen of it. */
static uint64_t end_ms(const struct ipfix_report *r)
{
	const struct mw_flow *f = &r->flow->f;
	uint64_t ns = f->closed_ns;

	if (!ns)
		ns = f->last_rx_ns > f->last_tx_ns ? f->last_rx_ns : f->last_tx_ns;
	return (ns > f->opened_ns ? ns : f->opened_ns) / 1000000;
}

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

/* Of one side, as far as a record tells. */
static uint64_t tcp_bits(const struct ipfix_report *r, bool peer)
{
	const struct mw_flow *f = &r->flow->f;
	uint64_t bits = SYN;

	if (f->type != MW_TYPE_STREAM)
		return 0;
	if (peer && f->end == MW_END_REFUSED)
		return 0;
	if (f->state == MW_ST_ESTABLISHED || f->handed_ns || f->first_rx_ns || f->first_tx_ns || f->listener)
		bits |= ACK;
	if (peer ? f->first_rx_ns : f->first_tx_ns)
		bits |= PSH;
	if (peer ? f->peer_fin_ns : f->app_fin_ns || (f->closed_ns && f->end == MW_END_CLOSED))
		bits |= FIN;
	if (peer ? f->end == MW_END_RESET : f->end == MW_END_GATE || (f->end == MW_END_VERB && f->verb == VERB_RESET))
		bits |= RST;
	return bits;
}

static uint64_t forward_bits(const struct ipfix_report *r)
{
	return tcp_bits(r, by_peer(r));
}

static uint64_t backward_bits(const struct ipfix_report *r)
{
	return tcp_bits(r, !by_peer(r));
}

/* RFC 7012's registry: 2 still active, 3 its end was seen, 4 forced: a verb, the gate, or the whole application's end. */
static uint64_t end_reason(const struct ipfix_report *r)
{
	const struct mw_flow *f = &r->flow->f;

	if (f->verdict || f->end == MW_END_VERB || f->end == MW_END_GATE || f->end == MW_END_QUARANTINE)
		return 4;
	if (r->kind != IPFIX_CLOSE)
		return 2;
	return f->closed_ns ? 3 : 4;
}

static uint64_t flow_direction(const struct ipfix_report *r)
{
	return by_peer(r) ? 0 : 1; /* ingress, egress */
}

static uint64_t biflow_direction(const struct ipfix_report *r)
{
	(void)r;
	return 1; /* forward is the initiator's */
}

/* What is not a field, but follows from fields. */
static const struct derived {
	const char *name;             /* of our own */
	uint32_t pen;
	uint16_t id, bytes;
	uint64_t (*value)(const struct ipfix_report *r);
	const char *help;
} derived[] = {
	{ "report", IPFIX_PEN, 100, 1, report_kind, "why this record: 1 opened, 2 active time-out, 3 verdict, 4 closed" },
	{ NULL, 0, 1, 8, forward, NULL },             /* octetDeltaCount */
	{ NULL, REVERSE_PEN, 1, 8, backward, NULL },
	{ NULL, 0, 231, 8, forward, NULL },           /* initiatorOctets */
	{ NULL, 0, 232, 8, backward, NULL },          /* responderOctets */
	{ NULL, 0, 153, 8, end_ms, NULL },            /* flowEndMilliseconds */
	{ NULL, 0, 6, 1, forward_bits, NULL },        /* tcpControlBits */
	{ NULL, REVERSE_PEN, 6, 1, backward_bits, NULL },
	{ NULL, 0, 136, 1, end_reason, NULL },        /* flowEndReason */
	{ NULL, 0, 61, 1, flow_direction, NULL },     /* flowDirection */
	{ NULL, 0, 239, 1, biflow_direction, NULL },  /* biflowDirection */
};
#define DERIVED (sizeof(derived) / sizeof(derived[0]))

/* --- what a field is --- */

static uint16_t field_bytes(const struct flow_field *d, bool ip6)
{
	switch (d->type) {
	case FLOW_COUNT:
	case FLOW_TIME:
	case FLOW_SPAN:
		return 8;
	case FLOW_NUMBER:
	case FLOW_SIGNED:
	case FLOW_MSEC:
	case FLOW_USEC:
	case FLOW_SUSPECT:
		return 4;
	case FLOW_ADDR:
		return ip6 ? 16 : 4;
	case FLOW_PORT:
		return 2;
	case FLOW_STATE:
	case FLOW_END:
	case FLOW_TYPE:
	case FLOW_HEAD:
	case FLOW_KERNEL:
	case FLOW_TIMER:
		return 1;
	case FLOW_TEXT:
	case FLOW_COMMAND:
		break; /* not exported */
	}
	return 0;
}

static uint8_t field_type(const struct flow_field *d)
{
	switch (d->type) {
	case FLOW_COUNT:
	case FLOW_SPAN:
		return FB_UINT_64;
	case FLOW_TIME:
		return FB_DT_MILSEC;
	case FLOW_NUMBER:
	case FLOW_MSEC:
	case FLOW_USEC:
	case FLOW_SUSPECT:
		return FB_UINT_32;
	case FLOW_SIGNED:
		return FB_INT_32;
	default:
		return FB_UINT_8;
	}
}

static uint32_t field_flags(const struct flow_field *d)
{
	uint32_t units = !strcmp(d->unit, "bytes") ? FB_UNITS_OCTETS : d->type == FLOW_SPAN ? FB_UNITS_NANOSECONDS :
			 d->type == FLOW_TIME || d->type == FLOW_MSEC || !strcmp(d->unit, "ms") ? FB_UNITS_MILLISECONDS :
			 d->type == FLOW_USEC ? FB_UNITS_MICROSECONDS : !strcmp(d->unit, "s") ? FB_UNITS_SECONDS : 0;

	switch (d->type) {
	case FLOW_TIME:
		return FB_IE_F_ENDIAN | FB_IE_DEFAULT | units;
	case FLOW_STATE:
	case FLOW_END:
	case FLOW_HEAD:
	case FLOW_KERNEL:
	case FLOW_TIMER:
		return FB_IE_F_ENDIAN | FB_IE_IDENTIFIER;
	case FLOW_SUSPECT:
		return FB_IE_F_ENDIAN | FB_IE_FLAGS;
	default:
		return FB_IE_F_ENDIAN | FB_IE_QUANTITY | units;
	}
}

/* "rx_bytes" is mwRxBytes. */
static char *own_name(const char *field)
{
	char *name = names[own_count], *p = name + 2;
	bool big = true;

	memcpy(name, "mw", 2);
	for (; *field && p < name + NAME_MAX_BYTES - 1; field++) {
		if (*field != '_')
			*p++ = (char)(big && *field >= 'a' && *field <= 'z' ? *field - 'a' + 'A' : *field);
		big = *field == '_';
	}
	return name;
}

static void add_own(const char *field, uint16_t id, uint16_t bytes, uint32_t flags, uint8_t type, const char *help)
{
	fbInfoElement_t *x = &own[own_count];

	x->ref.name = own_name(field);
	x->ent = IPFIX_PEN;
	x->num = id;
	x->len = bytes;
	x->flags = flags;
	x->type = type;
	x->description = help;
	own_count++;
}

static void add_own_elements(void)
{
	for (size_t i = 0; i < DERIVED; i++)
		if (derived[i].name)
			add_own(derived[i].name, derived[i].id, derived[i].bytes, FB_IE_F_ENDIAN | FB_IE_IDENTIFIER, FB_UINT_8,
				derived[i].help);
	for (size_t i = 0; i < flow_field_count && own_count < COLUMNS_MAX; i++) {
		const struct flow_field *d = &flow_fields[i];

		if (d->element.id && d->element.pen == IPFIX_PEN)
			add_own(d->name, d->element.id, field_bytes(d, false), field_flags(d), field_type(d), d->help);
	}
	fbInfoModelAddElementArray(e.model, own);
}

/* --- templates --- */

/* Ours and the collector's are the same: libfixbuf only changes the byte order. */
static bool append(fbTemplate_t *t, uint32_t pen, uint16_t id, uint16_t bytes)
{
	fbInfoElement_t x = { .ent = pen, .num = id, .len = bytes };

	return fbTemplateAppend(t, &x, &error);
}

static bool flow_template(fbTemplate_t *t, bool ip6)
{
	for (size_t i = 0; i < flow_field_count; i++) {
		const struct flow_element *x = &flow_fields[i].element;

		if (x->id && !append(t, x->pen, ip6 && x->id6 ? x->id6 : x->id, field_bytes(&flow_fields[i], ip6)))
			return false;
	}
	for (size_t i = 0; i < DERIVED; i++)
		if (!append(t, derived[i].pen, derived[i].id, derived[i].bytes))
			return false;
	return true;
}

static bool add(bool internal, uint16_t tid, fbTemplate_t *t)
{
	bool good = fbSessionAddTemplate(e.session, internal, tid, t, &error) == tid;

	g_clear_error(&error);
	return good;
}

static bool add_both(uint16_t tid, fbTemplate_t *t)
{
	return t && add(true, tid, t) && add(false, tid, t);
}

struct domain_record {
	uint32_t id;
	uint8_t pad[4];
	fbVarfield_t name;
};

struct loss_record {
	uint32_t process;
	uint8_t pad[4];
	uint64_t not_sent;
};

/* An options template: one scope of 4 bytes, one value. Inside, 4 bytes between them. */
static bool options_template(uint16_t tid, uint16_t scope, uint16_t value, uint16_t bytes)
{
	fbTemplate_t *in = fbTemplateAlloc(e.model), *out = fbTemplateAlloc(e.model);

	if (!append(in, 0, scope, 4) || !append(in, 0, 210, 4) || !append(in, 0, value, bytes) || !append(out, 0, scope, 4) ||
	    !append(out, 0, value, bytes))
		return false;
	fbTemplateSetOptionsScope(out, 1);
	return add(true, tid, in) && add(false, tid, out);
}

static bool templates(void)
{
	fbTemplate_t *four = fbTemplateAlloc(e.model), *six = fbTemplateAlloc(e.model);

	return flow_template(four, false) && add_both(TID_IP4, four) && flow_template(six, true) && add_both(TID_IP6, six) &&
	       add_both(TID_ELEMENT, fbInfoElementAllocTypeTemplate(e.model, &error)) &&
	       options_template(TID_DOMAIN, 149, 300, FB_IE_VARLEN) && options_template(TID_LOSS, 144, 166, 8);
}

/* FNV-1a: so that two applications of one machine are two domains to a collector that knows it by its address. */
static uint32_t domain_of(const char *app)
{
	uint32_t h = 2166136261u;

	for (; *app; app++)
		h = (h ^ (uint8_t)*app) * 16777619u;
	return h ? h : 1;
}

int ipfix_encode_init(const char *app, uint32_t ins, void (*emit)(void *to, struct ipfix_message *m))
{
	e.emit = emit;
	e.domain = domain_of(app) + ins; /* of the same application, but another process */
	strncpy(e.app, app, sizeof(e.app) - 1);
	e.model = fbInfoModelAlloc();
	add_own_elements();
	e.session = fbSessionAlloc(e.model);
	fbSessionSetDomain(e.session, e.domain);
	if (!templates())
		return -EINVAL;
	e.exporter = fbExporterAllocBuffer(e.out.data, sizeof(e.out.data));
	e.buf = fBufAllocForExport(e.session, e.exporter);
	fBufSetAutomaticMode(e.buf, FALSE);
	return 0;
}

/* --- messages --- */

static bool in_buf; /* something is in the message that is being made */

void ipfix_encode_flush(void)
{
	if (!in_buf)
		return;
	in_buf = false;
	if (fBufEmit(e.buf, &error)) {
		e.out.bytes = (uint16_t)fbExporterGetMsgLen(e.exporter);
		e.emit(e.to, &e.out);
	}
	e.out.records = 0;
}

bool ipfix_encode_is_flows(const uint8_t *message)
{
	uint16_t set = (uint16_t)(message[16] << 8 | message[17]);

	return set == TID_IP4 || set == TID_IP6;
}

/*
 * What one put into the message. False when it is full, and the same is to be tried in the next. libfixbuf also calls a message
 * full that is not begun, when a template comes first: three times is once more than is ever needed.
 */
static bool fits(gboolean good, uint16_t records)
{
	static int tries;

	g_clear_error(&error);
	if (!good && ++tries < 3) {
		ipfix_encode_flush();
		return false;
	}
	tries = 0;
	in_buf |= good;
	e.out.records = (uint16_t)(e.out.records + (good ? records : 0));
	return true;
}

static bool write_record(uint16_t tid, void *record, size_t bytes)
{
	return fBufSetInternalTemplate(e.buf, tid, &error) && fBufSetExportTemplate(e.buf, tid, &error) &&
	       fBufAppend(e.buf, record, bytes, &error);
}

static void put_record(uint16_t tid, void *record, size_t bytes)
{
	while (!fits(write_record(tid, record, bytes), 1))
		;
}

static void put_template(uint16_t tid)
{
	while (!fits(fbSessionExportTemplate(e.session, tid, &error), 0))
		;
}

/* What the elements are goes first: a template that names them earlier is read as bytes, and shown in the wrong order. */
void ipfix_encode_announce(void *to, uint64_t not_sent)
{
	struct domain_record domain = { .id = e.domain, .name = { .buf = (uint8_t *)e.app, .len = strlen(e.app) } };
	struct loss_record loss = { .process = (uint32_t)getpid(), .not_sent = not_sent };

	ipfix_encode_flush();
	e.to = to;
	put_template(TID_ELEMENT);
	for (size_t i = 0; i < own_count; i++)
		while (!fits(fbInfoElementWriteOptionsRecord(e.buf, fbInfoModelGetElementByID(e.model, own[i].num, own[i].ent),
							     TID_ELEMENT, TID_ELEMENT, &error), 1))
			;
	put_template(TID_DOMAIN);
	put_record(TID_DOMAIN, &domain, sizeof(domain));
	put_template(TID_LOSS);
	put_record(TID_LOSS, &loss, sizeof(loss));
	put_template(TID_IP4);
	put_template(TID_IP6);
	ipfix_encode_flush();
	e.to = NULL;
}

/* --- records --- */

static bool is_ip6(const struct mw_addr *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return a->family == MW_FAMILY_IP6 && memcmp(a->addr, mapped, sizeof(mapped));
}

static size_t put(uint8_t *to, uint64_t value, uint16_t bytes)
{
	uint32_t u32 = (uint32_t)value;
	uint16_t u16 = (uint16_t)value;
	uint8_t u8 = (uint8_t)value;

	memcpy(to, bytes == 8 ? (void *)&value : bytes == 4 ? (void *)&u32 : bytes == 2 ? (void *)&u16 : (void *)&u8, bytes);
	return bytes;
}

static size_t put_address(uint8_t *to, const struct mw_addr *a, bool ip6)
{
	uint32_t four;

	if (ip6) {
		memcpy(to, a->addr, 16);
		return 16;
	}
	memcpy(&four, a->addr + (a->family == MW_FAMILY_IP6 ? 12 : 0), sizeof(four));
	return put(to, ntohl(four), 4);
}

static uint64_t protocol(uint32_t type)
{
	return type == MW_TYPE_STREAM ? IPPROTO_TCP : type == MW_TYPE_DGRAM ? IPPROTO_UDP : IPPROTO_UDPLITE;
}

static size_t put_field(uint8_t *to, const struct flow_field *d, const struct ipfix_report *r, bool ip6)
{
	const void *p = (const uint8_t *)r->flow + d->offset;
	const struct mw_addr *a = p;
	uint16_t bytes = field_bytes(d, ip6);
	uint64_t u64 = 0;
	uint32_t u32 = 0;

	if ((d->type == FLOW_ADDR || d->type == FLOW_PORT) && !by_peer(r))
		a = a == &r->flow->f.peer ? &r->flow->f.local : &r->flow->f.peer;
	if (d->type == FLOW_ADDR)
		return put_address(to, a, ip6);
	if (d->type == FLOW_PORT)
		return put(to, a->port, bytes);
	if (bytes == 8)
		memcpy(&u64, p, sizeof(u64));
	else
		memcpy(&u32, p, sizeof(u32));
	if (d->type == FLOW_TIME)
		return put(to, u64 / 1000000, bytes);
	if (d->type == FLOW_TYPE)
		return put(to, protocol(u32), bytes);
	return put(to, bytes == 8 ? u64 : u32, bytes);
}

void ipfix_encode_flow(const struct ipfix_report *r)
{
	bool ip6 = is_ip6(r->flow->f.peer.family ? &r->flow->f.peer : &r->flow->f.local);
	uint8_t record[RECORD_MAX];
	size_t n = 0;

	for (size_t i = 0; i < flow_field_count && n + 16 <= sizeof(record); i++)
		if (flow_fields[i].element.id)
			n += put_field(record + n, &flow_fields[i], r, ip6);
	for (size_t i = 0; i < DERIVED && n + 8 <= sizeof(record); i++)
		n += put(record + n, derived[i].value(r), derived[i].bytes);
	put_record(ip6 ? TID_IP6 : TID_IP4, record, n);
}
