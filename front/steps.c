// SPDX-License-Identifier: Apache-2.0
/*
 * steps.c - see steps.h.
 * Trust: as in the header.
 */
#include <stdbool.h>
#include <string.h>

#include "front/steps.h"

#define TABLE_FORMAT "inet mwf-%s"
#define NAME_BYTES 128

/* A chain or a map within a table's text. */
struct block {
	const char *text;	/* from the tab before its kind to behind its closing line */
	size_t bytes;
	bool map;
	char name[NAME_BYTES];
};

/* The next one behind *at; false when there is none. One with a name that is none of nft's letters is passed by. */
static bool next_block(const char **at, struct block *b)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-/";

	for (const char *line = *at; *line; line = *at) {
		const char *end = strchr(line, '\n'), *close = strstr(line, "\n\t}\n"), *name;
		size_t n;

		b->map = !strncmp(line, "\tmap ", 5);
		*at = end ? end + 1 : line + strlen(line);
		if (!close || (!b->map && strncmp(line, "\tchain ", 7)))
			continue;
		name = line + (b->map ? 5 : 7);
		n = strspn(name, good);
		if (!n || n >= sizeof(b->name) || strncmp(name + n, " {\n", 3))
			continue;
		memcpy(b->name, name, n);
		b->name[n] = 0;
		b->text = line;
		b->bytes = (size_t)(close + 4 - line);
		*at = line + b->bytes;
		return true;
	}
	return false;
}

static bool has(const char *table, const struct block *wanted, bool same_text)
{
	struct block b;

	while (next_block(&table, &b))
		if (b.map == wanted->map && !strcmp(b.name, wanted->name))
			return !same_text || (b.bytes == wanted->bytes && !memcmp(b.text, wanted->text, b.bytes));
	return false;
}

/* The line that fills the map. */
static void write_fill(FILE *out, const char *name, const char *maps, const char *map)
{
	char start[2 * NAME_BYTES];
	size_t n = (size_t)snprintf(start, sizeof(start), "add element " TABLE_FORMAT " %s {", name, map);

	for (; *maps; maps += strcspn(maps, "\n") + 1)
		if (!strncmp(maps, start, n)) {
			fprintf(out, "%.*s\n", (int)strcspn(maps, "\n"), maps);
			return;
		}
}

static void write_blocks(FILE *out, const char *name, const char *plan, const char *old, bool known)
{
	const char *at = plan;
	bool any = false;
	struct block b;

	while (next_block(&at, &b)) {
		if (has(old, &b, false) != known || (known && (b.map || has(old, &b, true))))
			continue;
		if (!any)
			fprintf(out, "table " TABLE_FORMAT " {\n", name);
		any = true;
		fwrite(b.text, 1, b.bytes, out);
	}
	if (any)
		fputs("}\n", out);
}

static void write_add(FILE *out, const char *name, const char *plan, const char *maps, const char *old)
{
	struct block b;

	write_blocks(out, name, plan, old, false);
	while (next_block(&plan, &b))
		if (b.map && !has(old, &b, false))
			write_fill(out, name, maps, b.name);
}

static void write_switch(FILE *out, const char *name, const char *plan, const char *maps, const char *old)
{
	const char *at = plan;
	struct block b;

	while (next_block(&at, &b)) {
		if (!has(old, &b, false))
			continue;
		if (b.map) {
			fprintf(out, "flush map " TABLE_FORMAT " %s\n", name, b.name);
			write_fill(out, name, maps, b.name);
		} else if (!has(old, &b, true)) {
			fprintf(out, "flush chain " TABLE_FORMAT " %s\n", name, b.name);
		}
	}
	write_blocks(out, name, plan, old, true);
}

/* Maps first: they refer to chains. */
static void write_drop(FILE *out, const char *name, const char *plan, const char *old)
{
	for (int maps = 1; maps >= 0; maps--) {
		const char *at = old;
		struct block b;

		while (next_block(&at, &b))
			if (b.map == (maps == 1) && !has(plan, &b, false))
				fprintf(out, "delete %s " TABLE_FORMAT " %s\n", b.map ? "map" : "chain", name, b.name);
	}
}

void steps_write(FILE *out, enum steps_step step, const char *name, const char *plan, const char *maps, const char *old)
{
	if (step == STEPS_ADD)
		write_add(out, name, plan, maps, old);
	else if (step == STEPS_SWITCH)
		write_switch(out, name, plan, maps, old);
	else
		write_drop(out, name, plan, old);
}
