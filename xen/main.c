// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - mw-xen: `mw xen`, on dom0. A program of its own, because libxenstore is only where Xen is.
 * Trust: the command line is the user's.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/about.h"
#include "lib/std.h"
#include "lib/usage.h"
#include "xen/broker.h"
#include "xen/tool.h"

#define STATUS_PROBLEM 1

static const char help[] =
	"Usage: mw xen setup --pvm DOMAIN --ins DOMAIN... | status [--keys] | remove [--ins DOMAIN...]\n"
	"       mw xen broker OPTIONS NAME\n"
	"       mw xen serve [OPTIONS]\n\n"
	"For a protected virtual machine and its INS domains: prepares XenStore, and keeps them; on dom0, as root.\n\n"
	"  setup       make the keys below /mw, each with its owner and its readers; again is no harm\n"
	"    --pvm DOMAIN  the protected machine, by number or name; may be left out once it is known\n"
	"    --ins DOMAIN  an INS's; repeat it, or name several\n"
	"  status      who is there, and how they are\n"
	"    --keys        every key: permissions (owner first) and value\n"
	"  remove      take the keys of these INS domains away, or all\n"
	"  broker      announce INS domains to `mw frontend`, create and destroy them: `mw xen broker --help`\n"
	"  serve       in the protected machine: what `mw flows` and the rest ask: `mw xen serve --help`\n"
	"  -h, --help  this text\n"
	"  --version   the version of mw-xen, which does it\n";

/* Domains as they were typed: by name or number. */
struct words {
	const char *pvm, *ins[INS_MAX];
};

int complain(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "mw xen: ");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	return STATUS_PROBLEM;
}

static const struct verb {
	const char *name;
	int (*run)(struct store *s, struct wish *w);
} verbs[] = { { "setup", setup }, { "status", status }, { "remove", remove_keys } };

static int domain(struct store *s, const char *word, bool must_run)
{
	int64_t id = store_domain(s, word);

	if (id == -ENOENT && !must_run && strspn(word, "0123456789") == strlen(word) && strlen(word) < 6)
		id = (int64_t)strtoul(word, NULL, 10);
	if (id == 0)
		return complain("domain 0 is dom0, which is neither protected nor an INS's"), NO_DOMAIN;
	if (id == -ENOENT)
		return complain("domain '%.64s' does not run here; see `xl list`", word), NO_DOMAIN;
	if (id < 0)
		return complain("cannot look for domain '%.64s': %s", word, strerror((int)-id)), NO_DOMAIN;
	return (int)id;
}

static int find_domains(struct store *s, struct wish *w, const struct words *words, bool must_run)
{
	w->pvm = words->pvm ? domain(s, words->pvm, true) : NO_DOMAIN;
	if (words->pvm && w->pvm == NO_DOMAIN)
		return STATUS_PROBLEM;
	for (unsigned i = 0; i < w->ins_count; i++) {
		w->ins[i] = domain(s, words->ins[i], must_run);
		if (w->ins[i] == NO_DOMAIN)
			return STATUS_PROBLEM;
	}
	return 0;
}

static int add_ins(struct wish *w, struct words *words, const char *word)
{
	if (w->ins_count == INS_MAX)
		return usage_error("xen", "more than %d INS domains", INS_MAX);
	words->ins[w->ins_count++] = word;
	return 0;
}

/* 0, an exit status, or -1 for help. */
static int options(struct wish *w, struct words *words, const char *verb, int argc, char **argv)
{
	static const struct option longs[] = { { "pvm", 1, NULL, 'p' }, { "ins", 1, NULL, 'i' }, { "keys", 0, NULL, 'k' }, { "help", 0, NULL, 'h' }, { 0 } };
	bool is_setup = !strcmp(verb, "setup"), is_status = !strcmp(verb, "status");
	int c, r = 0;

	while (r == 0 && (c = usage_option("xen", argc, argv, "-:h", longs)) != -1) {
		if (c == 'h')
			return -1;
		if (c == '?')
			return USAGE_STATUS;
		if (c == 'p' && is_setup)
			words->pvm = optarg;
		else if ((c == 'i' && !is_status) || (c == 1 && w->ins_count)) /* --ins A B C */
			r = add_ins(w, words, optarg);
		else if (c == 'k' && is_status)
			w->keys = true;
		else
			r = usage_error("xen", "%s does not take '%s'", verb, c == 1 ? optarg : c == 'k' ? "--keys" : c == 'p' ? "--pvm" : "--ins");
	}
	return r;
}

static int run(const struct verb *v, int argc, char **argv)
{
	static struct words words;
	static struct wish w;
	struct store s;
	int r = options(&w, &words, v->name, argc, argv);

	if (r < 0)
		fputs(help, stdout);
	if (r)
		return r < 0 ? 0 : r;
	r = store_open(&s);
	if (r < 0)
		return complain("cannot reach xenstored: %s; is this dom0, and are you root?", strerror(-r));
	r = find_domains(&s, &w, &words, v->run == setup);
	if (r == 0)
		r = v->run(&s, &w);
	store_close(&s);
	return r;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	int r;

	std_hold();
	if (!strcmp(word, "broker"))
		return broker(argc - 1, argv + 1);
	r = about("mw-xen", help, argc, argv);
	if (r >= 0)
		return r;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(word, verbs[i].name))
			return std_flushed("mw", run(&verbs[i], argc - 1, argv + 1));
	return argc > 1 ? usage_error("xen", "unknown command '%s'", word) : usage_error("xen", "no command");
}
