// SPDX-License-Identifier: Apache-2.0
/*
 * filter.c - see filter.h. Parsed by descent into a list of steps, which a stack of truths runs through.
 * Trust: as in the header.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/prefix.h"
#include "telem/diag.h"
#include "telem/filter.h"

#define STEPS_MAX 128 /* comparisons and connectives */
#define DEPTH_MAX 32  /* parentheses and nots within each other */

#define TEXT_BYTES 64

enum operator { EQ, NE, LT, LE, GT, GE };
enum step_kind { COMPARE, AND, OR, NOT };

struct step {
	enum step_kind kind;
	enum operator op;
	const struct flow_field *field;
	bool none;             /* compared with `none` */
	int64_t number;        /* counts; nanoseconds; a name's number */
	struct prefix prefix;
	char text[TEXT_BYTES];
};

struct filter {
	int count;
	struct step steps[STEPS_MAX];
};

struct parser {
	struct filter *f;
	const char *text, *at;
	char *why;
	int depth;
	bool failed;
};

/* Of a text's first bytes those that are shown: no character in part, or the whole is no JSON. */
static int shown(const char *text, size_t max)
{
	size_t n = strnlen(text, max);

	while (n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80)
		n--;
	return (int)n;
}

static void fail(struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct parser *p, const char *format, ...)
{
	const char *at = *p->at ? p->at : "the end";
	va_list ap;
	int n;

	if (p->failed)
		return;
	p->failed = true;
	n = snprintf(p->why, FILTER_WHY_BYTES, "at '%.*s': ", shown(at, 20), at);
	va_start(ap, format);
	vsnprintf(p->why + n, FILTER_WHY_BYTES - (size_t)n, format, ap);
	va_end(ap);
}

static void skip(struct parser *p)
{
	while (isspace((unsigned char)*p->at))
		p->at++;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("_.:/-%[]", c));
}

/* The next word, without taking it; 0: there is none. */
static size_t word(struct parser *p)
{
	size_t n = 0;

	skip(p);
	while (is_word(p->at[n]))
		n++;
	return n;
}

static bool take_word(struct parser *p, const char *w)
{
	size_t n = word(p);

	if (n != strlen(w) || strncmp(p->at, w, n) != 0)
		return false;
	p->at += n;
	return true;
}

static bool take(struct parser *p, const char *sign)
{
	skip(p);
	if (strncmp(p->at, sign, strlen(sign)) != 0)
		return false;
	p->at += strlen(sign);
	return true;
}

static struct step *add(struct parser *p, enum step_kind kind)
{
	struct step *s = p->f->count < STEPS_MAX ? &p->f->steps[p->f->count] : NULL;

	if (!s) {
		fail(p, "the expression is too long");
		return NULL;
	}
	p->f->count++;
	s->kind = kind;
	return s;
}

/* --- values --- */

static bool is_number(enum flow_type t)
{
	return t == FLOW_COUNT || t == FLOW_NUMBER || t == FLOW_SIGNED || t == FLOW_PORT;
}

static bool is_span(enum flow_type t)
{
	return t == FLOW_TIME || t == FLOW_SPAN || t == FLOW_MSEC || t == FLOW_USEC;
}

static bool is_text(enum flow_type t)
{
	return t == FLOW_TEXT || t == FLOW_COMMAND;
}

/* What a suffix multiplies by; 0: it is none of that kind. */
static double unit(const char *suffix, size_t n, bool span)
{
	static const struct {
		const char *name;
		bool span;
		double factor;
	} units[] = { { "", false, 1 }, { "k", false, 1 << 10 }, { "K", false, 1 << 10 }, { "M", false, 1 << 20 },
		      { "G", false, 1 << 30 }, { "", true, 1e9 }, { "us", true, 1e3 }, { "ms", true, 1e6 }, { "s", true, 1e9 },
		      { "m", true, 60e9 }, { "h", true, 3600e9 }, { "d", true, 86400e9 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].span == span && strlen(units[i].name) == n && !strncmp(units[i].name, suffix, n))
			return units[i].factor;
	return 0;
}

static void parse_number(struct parser *p, struct step *s, const char *text)
{
	bool span = is_span(s->field->type);
	double v, factor;
	char *end;

	if (!isdigit((unsigned char)text[0]) && !(text[0] == '-' && isdigit((unsigned char)text[1]))) {
		fail(p, "%s is compared with a number%s", s->field->name, span ? " of seconds (or with us, ms, m, h, d behind it)" : "");
		return;
	}
	v = strtod(text, &end);
	factor = unit(end, strlen(end), span);
	if (factor == 0 || v * factor > 9e18 || v * factor < -9e18) {
		fail(p, "%s is compared with a number%s", s->field->name, span ? " and us, ms, s, m, h or d" : " and k, M or G");
		return;
	}
	s->number = (int64_t)(v * factor);
}

/* The i-th value's name. */
static const char *name_of(enum flow_type type, uint32_t i)
{
	static char text[FLOW_SUSPECT_BYTES];

	switch (type) {
	case FLOW_STATE:
		return flow_state_name(i);
	case FLOW_END:
		return flow_end_name(i);
	case FLOW_HEAD:
		return flow_head_name(i);
	case FLOW_KERNEL:
		return diag_state_name(i);
	case FLOW_TIMER:
		return flow_timer_name(i);
	case FLOW_SUSPECT:
		return flow_suspect_text(1u << i, text);
	default:
		return flow_type_name(i);
	}
}

static void parse_name(struct parser *p, struct step *s, const char *text)
{
	for (uint32_t i = 0; i < 32; i++) {
		if (strcmp(name_of(s->field->type, i), text) != 0)
			continue;
		s->number = s->field->type == FLOW_SUSPECT ? 1u << i : i;
		return;
	}
	fail(p, "%s has no value %.30s", s->field->name, text);
}

static void parse_value(struct parser *p, struct step *s)
{
	size_t n = word(p);
	char text[TEXT_BYTES];

	if (n == 0 || n >= sizeof(text)) {
		fail(p, "a value is missing");
		return;
	}
	memcpy(text, p->at, n);
	text[n] = 0;
	if (!strcmp(text, "none") && s->field->type != FLOW_END && s->field->type != FLOW_HEAD)
		s->none = true;
	else if (s->field->type == FLOW_ADDR) {
		if (prefix_parse(&s->prefix, text) < 0)
			fail(p, "%s is compared with an address or a prefix", s->field->name);
	} else if (is_number(s->field->type) || is_span(s->field->type))
		parse_number(p, s, text);
	else if (is_text(s->field->type))
		memcpy(s->text, text, n + 1);
	else
		parse_name(p, s, text);
	if (!p->failed)
		p->at += n;
	if (s->op > NE && (s->none || (!is_number(s->field->type) && !is_span(s->field->type))))
		fail(p, "%s is compared with = and != alone", s->field->name);
}

/* --- grammar --- */

static const struct flow_field *field(struct parser *p)
{
	size_t n = word(p);

	for (size_t i = 0; i < flow_field_count; i++) {
		const struct flow_field *d = &flow_fields[i];

		if (strlen(d->name) != n || strncmp(d->name, p->at, n) != 0)
			continue;
		p->at += n;
		return d;
	}
	fail(p, n ? "no such field; mw-flows(5) lists them" : "a field is missing");
	return NULL;
}

static enum operator operator(struct parser *p)
{
	if (take(p, "!="))
		return NE;
	if (take(p, "<="))
		return LE;
	if (take(p, ">="))
		return GE;
	if (take(p, "<"))
		return LT;
	if (take(p, ">"))
		return GT;
	if (take(p, "==") || take(p, "="))
		return EQ;
	fail(p, "an operator is missing: = != < <= > >=");
	return EQ;
}

static void comparison(struct parser *p)
{
	const struct flow_field *d = field(p);
	struct step *s = d ? add(p, COMPARE) : NULL;

	if (!s)
		return;
	s->field = d;
	s->op = operator(p);
	if (!p->failed)
		parse_value(p, s);
}

static void expression(struct parser *p);

static void factor(struct parser *p)
{
	if (++p->depth > DEPTH_MAX) {
		fail(p, "the expression is too deep");
		return;
	}
	skip(p);
	if (take_word(p, "not") || (strncmp(p->at, "!=", 2) != 0 && take(p, "!"))) {
		factor(p);
		add(p, NOT);
	} else if (take(p, "(")) {
		expression(p);
		if (!take(p, ")"))
			fail(p, "a ) is missing");
	} else {
		comparison(p);
	}
	p->depth--;
}

static void term(struct parser *p)
{
	factor(p);
	while (!p->failed && (take_word(p, "and") || take(p, "&&"))) {
		factor(p);
		add(p, AND);
	}
}

static void expression(struct parser *p)
{
	term(p);
	while (!p->failed && (take_word(p, "or") || take(p, "||"))) {
		term(p);
		add(p, OR);
	}
}

struct filter *filter_parse(const char *text, char why[FILTER_WHY_BYTES])
{
	struct parser p = { .f = calloc(1, sizeof(struct filter)), .text = text, .at = text, .why = why };

	why[0] = 0;
	if (!p.f) {
		snprintf(why, FILTER_WHY_BYTES, "no memory");
		return NULL;
	}
	if (strlen(text) > FILTER_TEXT_MAX)
		fail(&p, "the expression is too long");
	skip(&p);
	if (*p.at && !p.failed)
		expression(&p);
	skip(&p);
	if (*p.at && !p.failed)
		fail(&p, "`and` or `or` is missing");
	if (!p.failed)
		return p.f;
	free(p.f);
	return NULL;
}

void filter_free(struct filter *f)
{
	free(f);
}

bool filter_sampled(const struct filter *f)
{
	for (int i = 0; i < f->count; i++)
		if (f->steps[i].kind == COMPARE && flow_sampled(f->steps[i].field))
			return true;
	return false;
}

/* --- matching --- */

/* The field's value as it is compared. False: there is none. */
static bool value_of(const struct step *s, const struct flow *flow, uint64_t now_ns, int64_t *v)
{
	const void *at = (const uint8_t *)flow + s->field->offset;
	uint64_t u64 = 0;
	uint32_t u32 = 0;

	if (!flow_has(flow, s->field))
		return false;
	memcpy(&u32, at, sizeof(u32));
	switch (s->field->type) {
	case FLOW_COUNT:
	case FLOW_SPAN:
		memcpy(&u64, at, sizeof(u64));
		*v = u64 > INT64_MAX ? INT64_MAX : (int64_t)u64;
		return true;
	case FLOW_TIME:
		memcpy(&u64, at, sizeof(u64));
		*v = (int64_t)(now_ns - u64);
		return u64 != 0;
	case FLOW_PORT:
		*v = ((const struct mw_addr *)at)->port;
		return *v != 0;
	case FLOW_SIGNED:
		*v = (int32_t)u32;
		return *v != MW_OPT_UNSET;
	case FLOW_ADDR:
		return ((const struct mw_addr *)at)->family != MW_FAMILY_NONE;
	case FLOW_MSEC:
		*v = u32 * 1000000LL;
		return true;
	case FLOW_USEC:
		*v = u32 * 1000LL;
		return true;
	case FLOW_SUSPECT:
		*v = u32;
		return u32 != 0;
	default:
		*v = u32;
		return true;
	}
}

static bool same_text(const struct step *s, const struct flow *flow)
{
	const void *at = (const uint8_t *)flow + s->field->offset;
	char text[32];
	const char *is = at;
	uint32_t pid;

	if (s->field->type == FLOW_COMMAND) {
		memcpy(&pid, at, sizeof(pid));
		is = comm_of(pid, text);
	}
	return !strcmp(is, s->text);
}

static bool compare(const struct step *s, const struct flow *flow, uint64_t now_ns)
{
	int64_t v = 0;
	bool some = value_of(s, flow, now_ns, &v), same;

	if (s->none || !some)
		return s->none ? some == (s->op == NE) : s->op == NE;
	if (s->field->type == FLOW_ADDR) {
		const struct mw_addr *a = (const void *)((const uint8_t *)flow + s->field->offset);

		return prefix_has(&s->prefix, a) == (s->op == EQ);
	}
	if (is_text(s->field->type))
		return same_text(s, flow) == (s->op == EQ);
	same = s->field->type == FLOW_SUSPECT ? v & s->number : v == s->number;
	switch (s->op) {
	case EQ:
		return same;
	case NE:
		return !same;
	case LT:
		return v < s->number;
	case LE:
		return v <= s->number;
	case GT:
		return v > s->number;
	case GE:
		return v >= s->number;
	}
	return false;
}

bool filter_match(const struct filter *f, const struct flow *flow, uint64_t now_ns)
{
	bool truth[STEPS_MAX] = { false };
	int n = 0;

	for (int i = 0; i < f->count; i++) {
		const struct step *s = &f->steps[i];

		if (s->kind == COMPARE) {
			truth[n++] = compare(s, flow, now_ns);
		} else if (s->kind == NOT) {
			truth[n - 1] = !truth[n - 1];
		} else {
			n--;
			truth[n - 1] = s->kind == AND ? truth[n - 1] && truth[n] : truth[n - 1] || truth[n];
		}
	}
	return n == 0 || truth[0];
}
