// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - mw-xen: `mw xen`, on dom0. A program of its own, because libxenstore is only where Xen is.
 * Trust: the command line is the user's.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/broker.h"
#include "xen/tool.h"

#define STATUS_PROBLEM 1
#define STATUS_USAGE   2

static void help(FILE *f)
{
	fprintf(f, "Usage: mw xen setup --pvm DOMAIN --ins DOMAIN... | status [--keys] | remove [--ins DOMAIN...]\n"
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
		   "  serve       in the protected machine: what `mw flows` and the rest ask: `mw xen serve --help`\n");
}

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

static const struct {
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
		return complain("domain '%s' does not run here; see `xl list`", word), NO_DOMAIN;
	if (id < 0)
		return complain("cannot look for domain '%s': %s", word, strerror((int)-id)), NO_DOMAIN;
	return (int)id;
}

static int add_ins(struct store *s, struct wish *w, const char *word, bool must_run)
{
	int id;

	if (w->ins_count == INS_MAX)
		return complain("more than %d INS domains", INS_MAX);
	id = domain(s, word, must_run);
	if (id == NO_DOMAIN)
		return STATUS_PROBLEM;
	w->ins[w->ins_count++] = id;
	return 0;
}

/* 0, an exit status, or -1 for help. */
static int options(struct store *s, struct wish *w, const char *verb, int argc, char **argv)
{
	static const struct option longs[] = { { "pvm", 1, NULL, 'p' }, { "ins", 1, NULL, 'i' }, { "keys", 0, NULL, 'k' }, { "help", 0, NULL, 'h' }, { 0 } };
	bool is_setup = !strcmp(verb, "setup"), is_status = !strcmp(verb, "status");
	int c, r = 0;

	w->pvm = NO_DOMAIN;
	while (r == 0 && (c = getopt_long(argc, argv, "-h", longs, NULL)) != -1) {
		if (c == 'h')
			return -1;
		if (c == 'p' && is_setup)
			r = (w->pvm = domain(s, optarg, true)) == NO_DOMAIN ? STATUS_PROBLEM : 0;
		else if ((c == 'i' && !is_status) || (c == 1 && w->ins_count)) /* --ins A B C */
			r = add_ins(s, w, optarg, is_setup);
		else if (c == 'k' && is_status)
			w->keys = true;
		else
			r = STATUS_USAGE;
	}
	if (r == STATUS_USAGE)
		fprintf(stderr, "see `mw xen --help`\n");
	return r;
}

int main(int argc, char **argv)
{
	static char name[] = "mw xen";
	static struct wish w;
	struct store s;
	int r, verb = -1;

	if (argc > 1 && !strcmp(argv[1], "broker"))
		return broker(argc - 1, argv + 1);
	for (int i = 0; i < 3 && argc > 1; i++)
		if (!strcmp(argv[1], verbs[i].name))
			verb = i;
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return help(stdout), 0;
	if (verb < 0)
		return help(stderr), STATUS_USAGE;
	r = store_open(&s);
	if (r < 0)
		return complain("cannot reach xenstored: %s; is this dom0, and are you root?", strerror(-r));
	argv[1] = name;
	r = options(&s, &w, verbs[verb].name, argc - 1, argv + 1);
	if (r < 0)
		help(stdout);
	r = r < 0 ? 0 : r ? r : verbs[verb].run(&s, &w);
	store_close(&s);
	return r;
}
