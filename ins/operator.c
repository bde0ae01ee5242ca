// SPDX-License-Identifier: Apache-2.0
/*
 * operator.c - options that an operator sets on a live socket, a listener, or all: his value is in force, the application's
 * is kept beside it.
 * Trust: telemetry may ask for options of the table below only; their values are checked by the stack, or here.
 *
 * While the operator holds an option, what the application sets is still judged by the stack: it is set, read back and
 * remembered, then the operator's is put back. So the application gets Linux's answers, reads its own value, and has it in
 * force again when the operator takes his away. A connection has its listener's, both of them.
 *
 * The operator's last word on a socket is in force. When it is taken back by its verdict, wherever that is, the wider one
 * comes back: what a connection's listener has of him, else what all sockets have.
 *
 * Three are not the stack's. Blocking calls wait on the doorbell's other end, so their time-outs, and that they are not to
 * wait at all, are words of the slot that the shim acts on before it waits. Who waits already is woken, which is more than
 * Linux does; but not in accept() or connect(), nor a writer behind bytes that were written past the shim. SO_SNDLOWAT,
 * which Linux does not let be set, is how much room makes a full ring writable again.
 *
 * Buffers: the ring is a part of them. With the operator's value it takes no more than that, and the rest of its pages is
 * given back (trim.c).
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "ins/bell.h"
#include "ins/observe.h"
#include "ins/operator.h"
#include "ins/option.h"
#include "ins/slots.h"
#include "ins/state.h"
#include "ins/verb.h"
#include "link/telem.h"

#define VALUE_BYTES    16
#define RING_LIMIT_MIN 4096u
#define NAME_SO_BUF_LOCK 72
#define NO_PAIR        MW_OPT_NUM

enum kind { PLAIN, TEXT, ACKS, BUFFER, LOWAT, SEND_LOWAT, TIMEO, NO_WAIT, OWN_ONLY };

static const struct {
	int level, name;
	uint32_t pair;    /* in the flow record */
	enum kind kind;
	uint32_t bytes;
} options[] = {
	{ SOL_SOCKET, SO_LINGER, MW_OPT_LINGER, PLAIN, sizeof(struct linger) },
	{ SOL_SOCKET, SO_KEEPALIVE, MW_OPT_KEEPALIVE, PLAIN, sizeof(int) },
	{ IPPROTO_TCP, TCP_KEEPIDLE, MW_OPT_KEEPIDLE, PLAIN, sizeof(int) },
	{ IPPROTO_TCP, TCP_KEEPINTVL, MW_OPT_KEEPINTVL, PLAIN, sizeof(int) },
	{ IPPROTO_TCP, TCP_KEEPCNT, MW_OPT_KEEPCNT, PLAIN, sizeof(int) },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, MW_OPT_USER_TIMEOUT, PLAIN, sizeof(int) },
	{ SOL_SOCKET, SO_RCVTIMEO, MW_OPT_RCVTIMEO, TIMEO, sizeof(struct timeval) },
	{ SOL_SOCKET, SO_SNDTIMEO, MW_OPT_SNDTIMEO, TIMEO, sizeof(struct timeval) },
	{ SOL_SOCKET, SO_SNDBUF, NO_PAIR, BUFFER, sizeof(int) },
	{ SOL_SOCKET, SO_RCVBUF, NO_PAIR, BUFFER, sizeof(int) },
	{ SOL_SOCKET, SO_RCVLOWAT, NO_PAIR, LOWAT, sizeof(int) },
	{ SOL_SOCKET, SO_SNDLOWAT, NO_PAIR, SEND_LOWAT, sizeof(int) },
	{ SOL_SOCKET, SO_REUSEADDR, NO_PAIR, PLAIN, sizeof(int) },
	{ SOL_SOCKET, SO_REUSEPORT, NO_PAIR, PLAIN, sizeof(int) },
	{ IPPROTO_TCP, TCP_NODELAY, NO_PAIR, PLAIN, sizeof(int) },
	{ IPPROTO_TCP, TCP_CONGESTION, NO_PAIR, TEXT, VALUE_BYTES },
	{ IPPROTO_TCP, TCP_QUICKACK, NO_PAIR, ACKS, sizeof(int) },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, NO_PAIR, OWN_ONLY, sizeof(int) },
	{ VERB_LEVEL, VERB_NONBLOCK, NO_PAIR, NO_WAIT, sizeof(int) },
};
#define OPTIONS ((int)(sizeof(options) / sizeof(options[0])))
MW_ASSERT(sizeof(options) / sizeof(options[0]) <= 32, "isock.held has a bit for each");

struct held {
	uint8_t app[VALUE_BYTES], operator[VALUE_BYTES]; /* app of a BUFFER: the bytes, then SO_BUF_LOCK */
	uint32_t bytes;
	uint32_t pad;
	uint64_t verdict;
};

static struct held (*rows)[sizeof(options) / sizeof(options[0])]; /* of each slot; valid where isock.held says so */

/* For all, those to come too. */
static struct all {
	struct held held[sizeof(options) / sizeof(options[0])];
	uint32_t mask;       /* of those that are set */
	uint32_t has_backlog;
	int backlog;
	uint64_t backlog_verdict;
} *all;

int operator_init(uint32_t slots)
{
	rows = state_block("operator", slots * sizeof(*rows));
	all = state_block("operator all", sizeof(*all));
	return rows && all ? 0 : -ENOMEM;
}

static struct held *row(const struct isock *s, int i)
{
	return &rows[slot_of(s)][i];
}

static bool holds(const struct isock *s, int i)
{
	return s->held >> i & 1;
}

static int find(int level, int name)
{
	if (level == SOL_SOCKET && (name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE))
		name = name == SO_SNDBUFFORCE ? SO_SNDBUF : SO_RCVBUF;
	for (int i = 0; i < OPTIONS; i++)
		if (options[i].level == level && options[i].name == name)
			return i;
	return -1;
}

static int as_int(const uint8_t *v)
{
	int n;

	memcpy(&n, v, sizeof(n));
	return n;
}

/* --- what the flow record says --- */

static int64_t milliseconds(const uint8_t *v)
{
	struct timeval t;

	memcpy(&t, v, sizeof(t));
	if (t.tv_sec > INT32_MAX / 1000 - 1)
		return INT32_MAX - 1;
	return t.tv_sec * 1000 + (t.tv_usec + 999) / 1000;
}

static int32_t number(int i, const uint8_t *v)
{
	struct linger l;

	if (options[i].kind == TIMEO)
		return (int32_t)milliseconds(v);
	if (options[i].pair != MW_OPT_LINGER)
		return as_int(v);
	memcpy(&l, v, sizeof(l));
	return l.l_onoff ? l.l_linger : MW_OPT_OFF;
}

static void note_operator(struct isock *s, int i)
{
	if (options[i].pair != NO_PAIR)
		flow_of(s)->option[options[i].pair].operator = holds(s, i) ? number(i, row(s, i)->operator) : MW_OPT_UNSET;
}

/* --- the stack's --- */

static bool is_stacks(int i)
{
	return options[i].kind != TIMEO && options[i].kind != NO_WAIT && options[i].kind != SEND_LOWAT;
}

static int buf_lock(struct isock *s)
{
	int v = 0;
	uint32_t n = sizeof(v);

	return ins.stack->getopt(s->tcp, SOL_SOCKET, NAME_SO_BUF_LOCK, &v, &n) < 0 ? 0 : v;
}

static void read_stack(struct isock *s, int i, uint8_t v[VALUE_BYTES])
{
	uint32_t n = options[i].bytes;
	int lock;

	memset(v, 0, VALUE_BYTES);
	ins.stack->getopt(s->tcp, options[i].level, options[i].name, v, &n);
	if (options[i].kind == BUFFER) {
		lock = buf_lock(s);
		memcpy(v + sizeof(int), &lock, sizeof(lock));
	}
}

static int put_stack(struct isock *s, int i, const void *v, uint32_t n)
{
	int r = ins.stack->setopt(s->tcp, options[i].level, options[i].name, v, n);

	for (int k = 0; k < s->extra_count && r == 0; k++)
		ins.stack->setopt(s->extra[k], options[i].level, options[i].name, v, n);
	return r;
}

/* As it was: Linux tells twice what was set, and a buffer that nobody had set grows by itself. */
static int put_buffer(struct isock *s, int i, const uint8_t *app)
{
	int mine = options[i].name == SO_SNDBUF ? 1 : 2, half = as_int(app) / 2, lock;
	int r = put_stack(s, i, &half, sizeof(half));

	lock = (buf_lock(s) & ~mine) | (as_int(app + sizeof(int)) & mine);
	ins.stack->setopt(s->tcp, SOL_SOCKET, NAME_SO_BUF_LOCK, &lock, sizeof(lock));
	return r;
}

/* Linux keeps the time of a linger that is set to off. */
static int put_linger(struct isock *s, int i, const uint8_t *app)
{
	struct linger on;

	memcpy(&on, app, sizeof(on));
	on.l_onoff = 1;
	put_stack(s, i, &on, sizeof(on));
	return put_stack(s, i, app, sizeof(on));
}

/* Fewer bytes than before may be enough now, and readers have armed for more. */
static void enough_now(struct isock *s)
{
	struct mw_ring r;

	arena_rx(&ins.view, slot_of(s), &r);
	if (s->type == MW_TYPE_STREAM && s->rx_prod != mw_load_acquire(&shared_of(s)->app.rx_cons) && bell_enough(s, &r))
		bell_wake(s);
}

static uint32_t ring_limit(const struct isock *s, int i, uint32_t ring_bytes)
{
	uint32_t v = holds(s, i) ? (uint32_t)as_int(row(s, i)->operator) : ring_bytes;

	return v >= ring_bytes ? 0 : v < RING_LIMIT_MIN ? RING_LIMIT_MIN : v;
}

static void limit_ring(struct isock *s, int i)
{
	if (options[i].name == SO_RCVBUF) {
		s->rx_limit = ring_limit(s, i, ins.view.rx_bytes);
		option_show_lowat(s);
		enough_now(s);
	} else {
		s->tx_limit = ring_limit(s, i, ins.view.tx_bytes);
		mw_store_release(&shared_of(s)->names.tx_limit, s->tx_limit);
	}
	ready_mark(&ins.view, slot_of(s)); /* there may be room now: it is served in this loop */
	s->flags |= F_DIRTY;
	ins.trim_due = true;
}

/* --- the shim's --- */

static uint32_t timeo_word(const struct isock *s, int name)
{
	int i = find(SOL_SOCKET, name);

	return holds(s, i) ? (uint32_t)milliseconds(row(s, i)->operator) + 1 : 0;
}

static void tell_shim(struct isock *s)
{
	struct mw_slot *m = shared_of(s);
	int i = find(VERB_LEVEL, VERB_NONBLOCK);
	uint32_t now = (mw_load(&m->names.timeo) | MW_TIMEO_NO_WAIT) + 1;

	mw_store(&m->names.rcvtimeo, timeo_word(s, SO_RCVTIMEO));
	mw_store(&m->names.sndtimeo, timeo_word(s, SO_SNDTIMEO));
	mw_store_release(&m->names.timeo, now | (holds(s, i) && as_int(row(s, i)->operator) ? MW_TIMEO_NO_WAIT : 0));
	bell_wake(s);
}

static int64_t app_us(const struct isock *s, int i)
{
	struct mw_slot *m = shared_of(s);
	uint64_t us = options[i].name == SO_RCVTIMEO ? mw_load(&m->app.rcvtimeo) : mw_load(&m->app.sndtimeo);

	return us && us <= INT64_MAX ? (int64_t)us - 1 : 0;
}

static void read_timeo(const struct isock *s, int i, uint8_t v[VALUE_BYTES])
{
	int64_t us = app_us(s, i);
	struct timeval t = { .tv_sec = us / 1000000, .tv_usec = us % 1000000 };

	memcpy(v, &t, sizeof(t));
}

/* --- any --- */

static void in_force(struct isock *s, int i)
{
	note_operator(s, i);
	switch (options[i].kind) {
	case BUFFER:
		if (s->type == MW_TYPE_STREAM)
			limit_ring(s, i);
		break;
	case TIMEO:
	case NO_WAIT:
		tell_shim(s);
		break;
	case SEND_LOWAT:
		s->sndlowat = holds(s, i) ? as_int(row(s, i)->operator) : 0;
		break;
	case LOWAT:
		option_was_set(s, options[i].level, options[i].name);
		bell_ring_later(s);
		enough_now(s);
		break;
	default:
		option_was_set(s, options[i].level, options[i].name);
	}
}

static int check_own(int i, const uint8_t *v)
{
	struct timeval t;

	if (options[i].kind != TIMEO)
		return as_int(v) < 0 ? -EINVAL : 0;
	memcpy(&t, v, sizeof(t));
	return t.tv_sec < 0 || t.tv_usec < 0 || t.tv_usec >= 1000000 ? -EDOM : 0;
}

/* On the stream lane the doorbell's other end has it, which is out of reach once it is handed over. */
static bool out_of_reach(const struct isock *s, int i)
{
	return s->flags & F_STREAM && s->state != MW_ST_LISTEN &&
	       (options[i].kind == TIMEO || options[i].kind == NO_WAIT || options[i].kind == LOWAT);
}

static int hold(struct isock *s, int i, const uint8_t *v, uint32_t n, uint64_t verdict)
{
	struct held *h = row(s, i);
	uint8_t before[VALUE_BYTES] = { 0 };
	int r;

	if (s->tcp < 0)
		return -ESTALE;
	if (out_of_reach(s, i))
		return -EOPNOTSUPP;
	if (options[i].kind == TEXT ? !n || n > VALUE_BYTES : n != options[i].bytes)
		return -EINVAL;
	if (!holds(s, i) && !(s->holding >> i & 1)) {
		if (is_stacks(i))
			read_stack(s, i, before);
		if (options[i].kind == LOWAT && s->lowat > 1)
			memcpy(before, &s->lowat, sizeof(s->lowat));
		memcpy(h->app, before, sizeof(before));
		mw_order();
		s->holding |= 1u << i; /* a worker that does this again shall not take the operator's value for it */
		mw_order();
	}
	r = is_stacks(i) ? put_stack(s, i, v, n) : check_own(i, v);
	if (r < 0) {
		s->holding &= ~(1u << i);
		return r;
	}
	memset(h->operator, 0, sizeof(h->operator));
	memcpy(h->operator, v, n);
	h->bytes = n;
	h->verdict = verdict;
	mw_order();
	s->held |= 1u << i;
	s->holding &= ~(1u << i);
	in_force(s, i);
	return 0;
}

static int put_back(struct isock *s, int i)
{
	const uint8_t *app = row(s, i)->app;

	if (s->tcp < 0 || !is_stacks(i))
		return 0;
	if (options[i].kind == BUFFER)
		return put_buffer(s, i, app);
	return options[i].pair == MW_OPT_LINGER ? put_linger(s, i, app) : put_stack(s, i, app, options[i].bytes);
}

/* What else of the operator's concerns it. NULL: nothing. */
static const struct held *wider(const struct isock *s, int i)
{
	uint64_t listener = flow_of(s)->listener, verdict = row(s, i)->verdict;
	const struct isock *l = slots_find((uint32_t)listener, (uint32_t)(listener >> 32));

	if (l && holds(l, i) && options[i].kind != OWN_ONLY && row(l, i)->verdict != verdict)
		return row(l, i);
	return all->mask >> i & 1 && all->held[i].verdict != verdict ? &all->held[i] : NULL;
}

/* It stays held when the stack refuses what the application had: set with a privilege that we lack. */
static int let_go(struct isock *s, int i)
{
	const struct held *w = wider(s, i);
	int r;

	if (w && hold(s, i, w->operator, w->bytes, w->verdict) == 0)
		return 0;
	r = put_back(s, i);
	if (r < 0)
		return r;
	s->held &= ~(1u << i);
	in_force(s, i);
	return 0;
}

/* --- the verbs --- */

int operator_set(struct isock *s, const struct verb_msg *m, const uint8_t *value)
{
	int i = find(m->level, m->name), r;

	if (i < 0)
		return -ENOPROTOOPT;
	if (m->flags & VERB_UNDO)
		return -EINVAL;
	r = hold(s, i, value, m->bytes, m->verdict);
	if (r == 0)
		verb_acted(s, m->verb, m->verdict);
	return r;
}

/* What that verdict set, wherever it is in force: sockets had it from their listener too. The wider one is again. */
static int undo(int i, struct verb_msg *m)
{
	int r = 0;

	if (all->held[i].verdict == m->verdict)
		all->mask &= ~(1u << i);
	for (uint32_t at = 0; at < observe_header()->slots_high; at++) {
		struct isock *s = sock_at(at);
		int one = s->gen & 1 && holds(s, i) && row(s, i)->verdict == m->verdict ? let_go(s, i) : -ENOENT;

		if (one == 0)
			verb_acted(s, m->verb, m->verdict);
		m->number += one == 0;
		r = one < 0 && one != -ENOENT ? one : r;
	}
	return m->number ? 0 : r;
}

int operator_set_all(struct verb_msg *m, const uint8_t *value)
{
	int i = find(m->level, m->name), r = 0;

	m->number = 0;
	if (i < 0)
		return -ENOPROTOOPT;
	if (m->flags & VERB_UNDO)
		return undo(i, m);
	if (m->bytes > VALUE_BYTES)
		return -EINVAL;
	for (uint32_t at = 0; at < observe_header()->slots_high; at++) {
		struct isock *s = sock_at(at);
		int one = s->gen & 1 ? operator_set(s, m, value) : -ESTALE;

		m->number += one == 0;
		r = one < 0 && one != -ESTALE ? one : r;
	}
	if (r < 0 && !m->number)
		return r; /* it fits none */
	memcpy(all->held[i].operator, value, m->bytes);
	all->held[i].bytes = m->bytes;
	all->held[i].verdict = m->verdict;
	all->mask |= 1u << i;
	return 0;
}

/* What the application has not been told yet; each is told here once. */
static int get_error(struct isock *s)
{
	const struct mw_flow *f = flow_of(s);
	int e = s->error_told || mw_load(&shared_of(s)->app.flags) & MW_APP_ERROR_TAKEN ? 0 : f->error;

	s->error_told |= e != 0;
	return e;
}

static int get_own(struct isock *s, int i, uint8_t *v)
{
	int n = 0;

	if (holds(s, i))
		memcpy(v, row(s, i)->operator, options[i].bytes);
	else if (options[i].kind == TIMEO)
		read_timeo(s, i, v);
	else if (options[i].kind == SEND_LOWAT)
		memcpy(v, &(int){ 1 }, sizeof(n));
	else
		memcpy(v, &n, sizeof(n));
	return 0;
}

/* What a new TCP socket has. */
static int get_new(int i, struct verb_msg *m, uint8_t *value)
{
	int h = ins.stack->socket(MW_FAMILY_IP4, MW_TYPE_STREAM), r;

	if (h < 0)
		return h;
	r = ins.stack->getopt(h, options[i].level, options[i].name, value, &m->bytes);
	ins.stack->close(h);
	return r;
}

static int get_all(int i, struct verb_msg *m, uint8_t *value)
{
	if (i < 0)
		return -ENOPROTOOPT;
	if (!(all->mask >> i & 1))
		return is_stacks(i) ? get_new(i, m, value) : -ENODATA;
	m->bytes = m->bytes < all->held[i].bytes ? m->bytes : all->held[i].bytes;
	memcpy(value, all->held[i].operator, m->bytes);
	return 0;
}

int operator_get(struct isock *s, struct verb_msg *m, uint8_t *value)
{
	int i = find(m->level, m->name), e;

	if (!s)
		return get_all(i, m, value);
	if (m->level == SOL_SOCKET && m->name == SO_ERROR) {
		e = get_error(s);
		memcpy(value, &e, sizeof(e));
		m->bytes = sizeof(e);
		return 0;
	}
	if (i < 0 && (m->level != IPPROTO_TCP || m->name != TCP_INFO))
		return -ENOPROTOOPT;
	if (stack_handle(s) < 0)
		return -ESTALE;
	if (i >= 0 && (!is_stacks(i) || (options[i].kind == ACKS && holds(s, i)))) { /* Linux's own word on acks is of this moment */
		m->bytes = options[i].bytes;
		return get_own(s, i, value);
	}
	if (i >= 0 && options[i].kind == LOWAT && s->lowat > 1) {
		m->bytes = sizeof(s->lowat);
		memcpy(value, &s->lowat, sizeof(s->lowat));
		return 0;
	}
	return ins.stack->getopt(stack_handle(s), m->level, m->name, value, &m->bytes);
}

/* --- the application's side --- */

void operator_app_set(struct isock *s, int level, int name)
{
	int i = find(level, name);
	uint8_t v[VALUE_BYTES];

	if (i < 0 || !is_stacks(i) || s->tcp < 0)
		return;
	if (!holds(s, i) && options[i].pair == NO_PAIR)
		return;
	read_stack(s, i, v);
	if (options[i].pair != NO_PAIR)
		flow_of(s)->option[options[i].pair].app = number(i, v);
	if (!holds(s, i))
		return;
	if (options[i].pair == MW_OPT_LINGER && !as_int(v)) /* the time is the operator's */
		memcpy(v + sizeof(int), row(s, i)->app + sizeof(int), sizeof(int));
	memcpy(row(s, i)->app, v, sizeof(v));
	put_stack(s, i, row(s, i)->operator, row(s, i)->bytes);
}

void operator_app_get(struct isock *s, int level, int name, uint8_t *at, int32_t length)
{
	int i = find(level, name);

	if (i < 0 || !is_stacks(i) || !holds(s, i) || length <= 0)
		return;
	memcpy(at, row(s, i)->app, (uint32_t)length < options[i].bytes ? (uint32_t)length : options[i].bytes);
}

/* --- sockets to come --- */

void operator_new(struct isock *s)
{
	for (int i = 0; all->mask >> i; i++)
		if (all->mask >> i & 1)
			hold(s, i, all->held[i].operator, all->held[i].bytes, all->held[i].verdict);
}

void operator_accepted(const struct isock *l, struct isock *s)
{
	memcpy(flow_of(s)->option, flow_of(l)->option, sizeof(flow_of(s)->option));
	for (int i = 0; l->held >> i; i++) {
		const struct held *h = row(l, i);

		if (!holds(l, i) || options[i].kind == OWN_ONLY)
			continue;
		if (is_stacks(i))
			put_stack(s, i, h->operator, h->bytes);
		*row(s, i) = *h;
		s->held |= 1u << i;
		in_force(s, i);
	}
}

void operator_door(const struct isock *l, int app_end)
{
	static const int names[] = { SO_RCVTIMEO, SO_SNDTIMEO };
	int i = find(VERB_LEVEL, VERB_NONBLOCK), on = 1;

	if (!(l->flags & F_STREAM) || !l->held)
		return;
	if (holds(l, i) && as_int(row(l, i)->operator))
		ioctl(app_end, FIONBIO, &on);
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		i = find(SOL_SOCKET, names[k]);
		if (holds(l, i))
			setsockopt(app_end, SOL_SOCKET, names[k], row(l, i)->operator, sizeof(struct timeval));
	}
}

/* Linux acknowledges at once, or not, for a while only: said again behind each byte that came. */
void operator_acks(struct isock *s)
{
	static int i = -1;

	if (i < 0)
		i = find(IPPROTO_TCP, TCP_QUICKACK);
	if (holds(s, i))
		put_stack(s, i, row(s, i)->operator, row(s, i)->bytes);
}

/* --- backlog --- */

static int listen_all(struct isock *l, int n)
{
	int r = ins.stack->listen(l->tcp, n);

	for (int k = 0; k < l->extra_count && r == 0; k++)
		ins.stack->listen(l->extra[k], n);
	return r;
}

/* What the operator said of all listeners, or -1. */
static int common_backlog(void)
{
	return all->has_backlog ? all->backlog : -1;
}

static int backlog_of(const struct verb_msg *m)
{
	return m->number > INT32_MAX ? INT32_MAX : (int)m->number;
}

int operator_backlog(struct isock *l, const struct verb_msg *m)
{
	int n = m->flags & VERB_UNDO ? common_backlog() : backlog_of(m), r;

	if (l->state != MW_ST_LISTEN)
		return -EINVAL;
	r = listen_all(l, n < 0 ? l->backlog : n);
	if (r < 0)
		return r;
	l->op_backlog = n;
	l->backlog_verdict = m->flags & VERB_UNDO ? all->backlog_verdict : m->verdict;
	verb_acted(l, m->verb, m->verdict);
	return 0;
}

/* Undone is what that verdict set, wherever that is in force. */
int operator_backlog_all(struct verb_msg *m)
{
	bool undo = m->flags & VERB_UNDO;
	uint64_t hit = 0;

	if (!undo || all->backlog_verdict == m->verdict) {
		all->backlog = undo ? 0 : backlog_of(m);
		all->has_backlog = !undo;
		all->backlog_verdict = undo ? 0 : m->verdict;
	}
	for (uint32_t at = 0; at < observe_header()->slots_high; at++) {
		struct isock *l = sock_at(at);

		if (l->gen & 1 && (!undo || (l->op_backlog >= 0 && l->backlog_verdict == m->verdict)))
			hit += operator_backlog(l, m) == 0;
	}
	m->number = hit;
	return 0;
}

int operator_listen(struct isock *l, int backlog)
{
	l->backlog = backlog;
	if (l->state != MW_ST_LISTEN) {
		l->op_backlog = common_backlog();
		l->backlog_verdict = all->backlog_verdict;
	}
	return l->op_backlog < 0 ? backlog : l->op_backlog;
}
