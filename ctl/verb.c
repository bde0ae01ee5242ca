// SPDX-License-Identifier: Apache-2.0
/*
 * verb.c - `mw close`, `reset`, `block` and the other verbs: orders to an application's telemetry, and what became of them.
 * Trust: the user. An answer is parsed by jansson and looked up by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/registry.h"
#include "ctl/clean.h"
#include "ctl/ctl.h"
#include "ctl/verb.h"
#include "lib/addr.h"
#include "lib/units.h"
#include "telem/options.h"

#define INSS_MAX 64 /* of one application */

struct verb {
	const char *name, *arguments, *text;
	int count;           /* arguments behind NAME; -1: one or more, each an order of its own */
	json_t *(*order)(struct verb_options *o, char **argv);
};

/* --- showing --- */

static const char *text_of(const json_t *o, const char *name)
{
	return clean_string(json_object_get(o, name));
}

static void show_flow(const struct flow_view *v, uint64_t id)
{
	char peer[ADDR_TEXT_BYTES], local[ADDR_TEXT_BYTES];
	struct flow f;

	if ((uint32_t)id < v->tele.slots && flow_read(v, (uint32_t)id, &f) && f.f.id == id)
		printf("  %llu %s -> %s\n", (unsigned long long)id, addr_text(&f.f.peer, peer), addr_text(&f.f.local, local));
	else
		printf("  %llu\n", (unsigned long long)id);
}

struct shown {
	const json_t *flows;
	uint32_t ins;
};

static int show_flows(struct app *a, void *arg)
{
	const struct shown *s = arg;

	for (size_t i = 0; a->view.ins == s->ins && i < json_array_size(s->flows); i++)
		show_flow(&a->view, (uint64_t)json_integer_value(json_array_get(s->flows, i)));
	return 0;
}

static void show_dry_run(const char *name, uint32_t ins, const json_t *a)
{
	const json_t *flows = json_object_get(a, "flows");
	struct shown s = { .flows = flows, .ins = ins };

	printf("%s would hit %d connections\n", text_of(a, "what"), (int)json_integer_value(json_object_get(a, "count")));
	ask_each(name, show_flows, &s);
}

static int show_answer(const char *name, uint32_t ins, json_t *a, const struct verb_options *o)
{
	int ok = json_is_true(json_object_get(a, "ok"));

	if (o->json) {
		clean_print(a);
	} else if (!ok) {
		fprintf(stderr, "mw: %s: %s\n", name, text_of(a, "error"));
	} else if (o->dry_run) {
		show_dry_run(name, ins, a);
	} else {
		printf("%d: %s: %d hit%s\n", (int)json_integer_value(json_object_get(a, "verdict")), text_of(a, "what"),
		       (int)json_integer_value(json_object_get(a, "hit")),
		       json_integer_value(json_object_get(a, "missed")) ? ", some had ended or refused it" : "");
	}
	return ok ? EXIT_OK : EXIT_PROBLEM;
}

/* --- the orders --- */

static json_t *plain(const char *target)
{
	return json_pack("{s:s}", "target", target);
}

static json_t *order_plain(struct verb_options *o, char **argv)
{
	(void)o;
	return plain(argv[0]);
}

static json_t *order_set(struct verb_options *o, char **argv)
{
	char *equals = strchr(argv[1], '=');
	json_t *q = plain(argv[0]);

	(void)o;
	if (!equals)
		return q;
	json_object_set_new(q, "option", json_stringn(argv[1], (size_t)(equals - argv[1])));
	json_object_set_new(q, "value", json_string(equals + 1));
	return q;
}

/* It is telemetry that says what is wrong with another. */
static json_t *number(const char *text)
{
	double v = units_size(text);

	return v < 0 ? json_null() : json_integer((json_int_t)v);
}

static json_t *order_number(struct verb_options *o, char **argv)
{
	json_t *q = plain(argv[0]);

	json_object_set_new(q, "number", number(argv[1]));
	if (o->per) {
		json_object_set_new(q, "per", json_string(o->per));
		json_object_set_new(q, "family", json_string(atoi(o->per) > 32 ? "ip6" : "ip4"));
	}
	if (o->grace > 0)
		json_object_set_new(q, "grace", json_real(o->grace));
	return q;
}

static const struct verb verbs[] = {
	{ "close", "TARGET...", "Ends connections: the peer gets what was sent so far and an end, the application a reset.", -1, order_plain },
	{ "reset", "TARGET...", "Resets connections, to both sides at once.", -1, order_plain },
	{ "block", "PREFIX...", "Refuses an address or a prefix: new connections and those that are there.", -1, order_plain },
	{ "unblock", "PREFIX...", "Ends such a block.", -1, order_plain },
	{ "set", "TARGET OPTION=VALUE", "Sets a socket option. The application's own setting waits until this one is undone.", 2, order_set },
	{ "cap", "all|:PORT NUMBER", "At most NUMBER connections for each peer, or each group of --per bits.", 2, order_number },
	{ "backlog", "all|:PORT NUMBER", "Another backlog for a listener, or for all, those to come too.", 2, order_number },
	{ "minrate", "TARGET BYTES", "Resets peers that owe bytes and bring fewer than so many a second for longer than --grace.", 2, order_number },
};

static void help(const struct verb *v)
{
	printf("Usage: mw %s [OPTIONS] NAME %s\n\n%s\n\n", v->name, v->arguments, v->text);
	if (strstr(v->arguments, "TARGET"))
		printf("TARGET: a connection's id (`mw flows --json`); an address or prefix of peers; :PORT; all; or an expression over the\n"
		       "fields of a flow, as in 'head = partial and opened > 10s'. mw(1) has the grammar.\n\n");
	printf("  --ttl TIME    until then, as in 90s, 10m, 2h (default: until it is undone)\n"
	       "  --why TEXT    for the audit log\n"
	       "  --dry-run     says whom it would hit, and does nothing\n"
	       "  --json        the answer as a JSON object\n");
	if (!strcmp(v->name, "cap"))
		printf("  --per BITS    peers whose first BITS are the same count as one (default: 32; above 32: IPv6)\n");
	if (!strcmp(v->name, "minrate"))
		printf("  --grace TIME  how long a peer may be slower (default: 10s)\n");
	printf("  -h, --help    this text\n");
	if (strcmp(v->name, "set") != 0)
		return;
	printf("\nOptions:\n");
	for (uint32_t i = 0; i < option_count; i++)
		printf("  %-13s %s\n", options[i].name, options[i].help);
}

/* The request's only answer, shown. Takes q. */
static int give_one(const char *name, uint32_t ins, const struct verb_options *o, json_t *q)
{
	json_t *a = link_answer(name, ins, q);
	int r = a ? show_answer(name, ins, a, o) : EXIT_PROBLEM;

	json_decref(a);
	return r;
}

/* Each INS has telemetry of its own, and carries out for its own connections. Takes q. */
static int give(const char *name, const struct verb_options *o, json_t *q)
{
	uint32_t numbers[INSS_MAX];
	size_t n = o->ins ? 1 : ask_numbers(name, numbers, INSS_MAX);
	int r = n ? EXIT_OK : EXIT_PROBLEM;

	if (o->ins)
		numbers[0] = (uint32_t)(o->ins - 1);
	for (size_t i = 0; i < n; i++) {
		int one = give_one(name, numbers[i], o, json_incref(q));

		r = one ? one : r;
	}
	json_decref(q);
	return r;
}

/* What is one INS's is said with its number, as in 2/4294967301, if there are several. The text behind it; NULL: it is said. */
static const char *which_ins(const char *command, const char *name, const char *text, struct verb_options *o)
{
	size_t digits = strspn(text, "0123456789"), count;
	bool given = digits && text[digits] == '/' && strspn(text + digits + 1, "0123456789") == strlen(text + digits + 1);
	unsigned long number = strtoul(text, NULL, 10);
	uint32_t numbers[INSS_MAX];

	o->ins = 0;
	if (!digits || (text[digits] && !given))
		return text;
	count = ask_numbers(name, numbers, INSS_MAX);
	if (!given && count < 2)
		return text;
	if (!given) {
		usage_error(command, "%s has several INSs: write the number of one before it, as in %u/%s", name, numbers[0], text);
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		if (numbers[i] != number)
			continue;
		o->ins = 1 + (long)number;
		return text + digits + 1;
	}
	usage_error(command, "%s has no INS %.*s: `mw ins list` tells", name, (int)digits, text);
	return NULL;
}

int verb_give(const char *verb, const char *name, const struct verb_options *o, json_t *q)
{
	json_object_set_new(q, "do", json_string("order"));
	json_object_set_new(q, "verb", json_string(verb));
	json_object_set_new(q, "why", json_string(o->why ? o->why : ""));
	json_object_set_new(q, "dry_run", json_boolean(o->dry_run));
	if (o->ttl > 0)
		json_object_set_new(q, "ttl", json_real(o->ttl));
	return give(name, o, q);
}

int verb_option(const char *verb, struct verb_options *o, int c)
{
	unsigned long n;
	char *end;

	switch (c) {
	case 't':
		o->ttl = units_span(optarg);
		return o->ttl > 0 ? 0 : usage_error(verb, "--ttl is a time as in 90s or 10m, not '%s'", optarg);
	case 'g':
		o->grace = units_span(optarg);
		return o->grace > 0 ? 0 : usage_error(verb, "--grace is a time as in 10s, not '%s'", optarg);
	case 'p':
		o->per = optarg;
		n = strtoul(optarg, &end, 10);
		return optarg[0] >= '1' && optarg[0] <= '9' && !*end && n <= 128 ? 0
			: usage_error(verb, "--per is a number of bits from 1 to 128, not '%s'", optarg);
	case 'w':
		o->why = optarg;
		return 0;
	case 'd':
		o->dry_run = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	}
	return EXIT_USAGE;
}

int cmd_verb(int argc, char **argv)
{
	static const struct option longs[] = { { "ttl", 1, NULL, 't' },	   { "why", 1, NULL, 'w' },  { "dry-run", 0, NULL, 'd' },
					       { "json", 0, NULL, 'j' },   { "grace", 1, NULL, 'g' }, { "per", 1, NULL, 'p' },
					       { "help", 0, NULL, 'h' },   { NULL, 0, NULL, 0 } };
	struct verb_options o = { .grace = 0 };
	const struct verb *v = verbs;
	uint32_t first;
	int c, r = 0, left;

	while (strcmp(v->name, argv[0]) != 0)
		v++;
	if (!strcmp(v->name, "minrate"))
		o.grace = 10;
	while ((c = usage_option(v->name, argc, argv, ":h", longs)) != -1) {
		if (c == 'h') {
			help(v);
			return EXIT_OK;
		}
		r = verb_option(v->name, &o, c);
		if (r)
			return r;
	}
	if (o.per && strcmp(v->name, "cap") != 0)
		return usage_error(v->name, "--per is for `mw cap`");
	if (o.grace > 0 && strcmp(v->name, "minrate") != 0)
		return usage_error(v->name, "--grace is for `mw minrate`");
	left = argc - optind - 1;
	if (v->count < 0 ? left < 1 : left != v->count)
		return usage_error(v->name, "takes NAME %s", v->arguments);
	if (!ask_numbers(argv[optind], &first, 1))
		return EXIT_PROBLEM;
	for (int i = 1; i <= (v->count < 0 ? left : 1); i++) {
		const char *target = which_ins(v->name, argv[optind], argv[optind + i], &o);
		int one = EXIT_USAGE;

		if (target) {
			argv[optind + i] = (char *)(uintptr_t)target;
			one = verb_give(v->name, argv[optind], &o, v->order(&o, argv + optind + i));
		}

		r = one ? one : r;
	}
	return r;
}

/* --- mw list, mw undo --- */

static void show_verdict(const json_t *v, bool json)
{
	double expires = json_real_value(json_object_get(v, "expires"));
	char until[32] = "-";
	time_t t = (time_t)expires;
	struct tm tm;

	if (json) {
		clean_print(v);
		return;
	}
	if (expires > 0 && localtime_r(&t, &tm))
		strftime(until, sizeof(until), "%m-%d %H:%M:%S", &tm);
	printf("%6d %-9s %-32.32s %-28.28s %6d %-15s %s\n", (int)json_integer_value(json_object_get(v, "verdict")), text_of(v, "status"),
	       text_of(v, "what"), text_of(v, "target"), (int)json_integer_value(json_object_get(v, "hit")), until, text_of(v, "why"));
}

/* Takes --json and --help alone: 1 when --json was given, 0, or -1 with the exit code in *status. */
static int json_option(int argc, char **argv, const char *text, int *status)
{
	static const struct option longs[] = { { "json", 0, NULL, 'j' }, { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int c, json = 0;

	while ((c = usage_option(argv[0], argc, argv, ":h", longs)) == 'j')
		json = 1;
	if (c == -1)
		return json;
	*status = EXIT_OK;
	if (c == 'h')
		fputs(text, stdout);
	else
		*status = EXIT_USAGE;
	return -1;
}

static int list_one(const char *name, uint32_t ins, bool json, bool several)
{
	struct link l;
	json_t *v;

	if (link_open(&l, name, ins) || link_send(&l, json_pack("{s:s}", "do", "list")))
		return EXIT_PROBLEM;
	while ((v = link_line(&l)) && !json_object_get(v, "ok")) {
		if (several && !json)
			printf("%3u ", ins);
		json_object_set_new(v, "ins", json_integer(ins));
		show_verdict(v, json);
		json_decref(v);
	}
	fclose(l.f);
	json_decref(v);
	return v ? EXIT_OK : EXIT_PROBLEM;
}

int cmd_list(int argc, char **argv)
{
	uint32_t numbers[INSS_MAX];
	size_t n;
	int status, json = json_option(argc, argv, "Usage: mw list [--json] NAME\n\nLists what was ordered for the application NAME: what holds, "
						   "and what did.\n\n  --json      one JSON object a line\n  -h, --help  this text\n", &status);

	if (json < 0)
		return status;
	if (argc - optind != 1)
		return usage_error("list", "takes the name of an application");
	n = ask_numbers(argv[optind], numbers, INSS_MAX);
	if (!json && n)
		printf("%s%6s %-9s %-32s %-28s %6s %-15s %s\n", n > 1 ? "INS " : "", "ID", "STATUS", "WHAT", "TARGET", "HIT", "UNTIL", "WHY");
	status = n ? EXIT_OK : EXIT_PROBLEM;
	for (size_t i = 0; i < n; i++)
		status = list_one(argv[optind], numbers[i], json, n > 1) ? EXIT_PROBLEM : status;
	return status;
}

static int undo(const char *name, const char *text, struct verb_options *o)
{
	char *end;
	unsigned long long id;

	text = which_ins("undo", name, text, o);
	if (!text)
		return EXIT_USAGE;
	id = strtoull(text, &end, 10);

	if (*end || end == text)
		return usage_error("undo", "a verdict's id is a number (`mw list`), not '%s'", text);
	return give(name, o, json_pack("{s:s,s:I}", "do", "undo", "verdict", (json_int_t)id));
}

int cmd_undo(int argc, char **argv)
{
	int r = EXIT_OK, json = json_option(argc, argv, "Usage: mw undo [--json] NAME VERDICT...\n\nUndoes what was ordered: `mw list NAME` has the "
							"numbers. What was ended stays ended.\n\n  --json      the answer as a JSON object\n"
							"  -h, --help  this text\n", &r);
	struct verb_options o = { .json = json > 0 };
	uint32_t first;

	if (json < 0)
		return r;
	if (argc - optind < 2)
		return usage_error("undo", "takes the name of an application, and numbers of verdicts");
	if (!ask_numbers(argv[optind], &first, 1))
		return EXIT_PROBLEM;
	for (int i = optind + 1; i < argc; i++) {
		int one = undo(argv[optind], argv[i], &o);

		r = one ? one : r;
	}
	return r;
}
