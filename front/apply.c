// SPDX-License-Identifier: Apache-2.0
/*
 * apply.c - see apply.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/apply.h"
#include "front/front.h"
#include "front/steps.h"
#include "front/table.h"
#include "lib/clock.h"

#define NO_MEMORY "no memory for the rules"
#define LOOK_MS 2000		/* is the table still there? */
#define AGAIN_MS 1000		/* what was refused is tried again, then less often */
#define AGAIN_MAX_MS 30000

static struct {
	struct table table;
	char *text, *maps;	/* the table in the kernel, NULL: none; what its maps hold, NULL: not ours yet */
	char refused[TABLE_WHY_BYTES];
	int64_t look_ms, try_ms, again_ms;
} a = { .again_ms = AGAIN_MS };

static void refused(const char *why)
{
	if (strcmp(a.refused, why))
		frontend_say("%s", why);
	snprintf(a.refused, sizeof(a.refused), "%s", why);
	a.again_ms = a.again_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS : a.again_ms * 2;
	a.try_ms = clock_ms() + a.again_ms;
}

/* --- a plan's texts --- */

/* 0: the table; -1: what its maps get; 1: what they get in place of what they have. The caller's to free. */
static char *text_of(const struct rules *r, int which)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);
	int err;

	if (!out) {
		refused(NO_MEMORY);
		return NULL;
	}
	err = which ? rules_write_maps(out, r, which > 0) : rules_write_table(out, r);
	if (fclose(out) == 0 && err == 0)
		return text;
	if (err == -ENOSPC && strcmp(a.refused, "many")) {
		snprintf(a.refused, sizeof(a.refused), "many");
		frontend_say("more than %d ports are published; what was forwarded stays", RULES_PORTS_MAX);
	}
	free(text);
	return NULL;
}

/* The caller's to free. False: there are none. */
static bool texts_of(const struct rules *r, char **table, char **maps)
{
	*table = text_of(r, 0);
	*maps = *table ? text_of(r, -1) : NULL;
	if (*maps)
		return true;
	free(*table);
	return false;
}

bool apply_print(const struct rules *r)
{
	char *table, *maps;

	if (!texts_of(r, &table, &maps))
		return false;
	printf("%s%s", table, maps);
	free(table);
	free(maps);
	return true;
}

/* --- into the kernel --- */

/* One transaction; nothing to do is done. */
static int commit(char *text, bool whole, char why[TABLE_WHY_BYTES])
{
	int r = 0;

	if (!text) {
		snprintf(why, TABLE_WHY_BYTES, NO_MEMORY);
		r = -ENOMEM;
	} else if (*text) {
		r = table_apply(&a.table, text, whole, why);
	}
	free(text);
	return r;
}

static char *step_text(enum steps_step step, const char *table, const char *maps)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	steps_write(out, step, a.table.name, table, maps, a.text);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static int commit_steps(const char *table, const char *maps, char why[TABLE_WHY_BYTES])
{
	int r = 0;

	for (enum steps_step step = STEPS_ADD; r == 0 && step < STEPS_COUNT; step++)
		r = commit(step_text(step, table, maps), false, why);
	return r;
}

static int commit_whole(const char *table, const char *maps, char why[TABLE_WHY_BYTES])
{
	char *text;

	return commit(asprintf(&text, "%s%s", table, maps) < 0 ? NULL : text, true, why);
}

static void accepted(char *table, char *maps)
{
	if (a.refused[0])
		frontend_say("the rules are in force again");
	a.refused[0] = 0;
	a.again_ms = AGAIN_MS;
	free(a.text);
	free(a.maps);
	a.text = table;
	a.maps = maps;
}

/* Takes both texts. What is there may be of another version, so that steps lead nowhere: then all anew. */
static void change(const struct rules *r, char *table, char *maps)
{
	char why[TABLE_WHY_BYTES];
	int err = -ENOENT;

	if (a.text)
		err = !strcmp(a.text, table) ? commit(text_of(r, 1), false, why) : commit_steps(table, maps, why);
	if (err < 0)
		err = commit_whole(table, maps, why);
	if (err == 0) {
		accepted(table, maps);
		return;
	}
	free(table);
	free(maps);
	refused(why);
	free(a.text);
	a.text = table_text(&a.table); /* as far as it came */
}

void apply_rules(const struct rules *r)
{
	char *table, *maps;

	if (!texts_of(r, &table, &maps))
		return;
	if (!(a.text && a.maps && !strcmp(table, a.text) && !strcmp(maps, a.maps))) {
		change(r, table, maps);
		return;
	}
	free(table);
	free(maps);
}

bool apply_is_due(int64_t now_ms)
{
	return now_ms >= a.try_ms;
}

bool apply_is_done(void)
{
	return a.maps;
}

/* --- what is there --- */

int apply_open(const char *name)
{
	return table_open(&a.table, name);
}

const char *apply_find(void)
{
	a.text = table_text(&a.table);
	return a.text;
}

void apply_look(int64_t now_ms)
{
	if (now_ms < a.look_ms)
		return;
	a.look_ms = now_ms + LOOK_MS;
	if (!a.text || table_is_there(&a.table))
		return;
	frontend_say("somebody removed table inet mwf-%s; it is made again", a.table.name);
	free(a.text);
	a.text = NULL;
}

int apply_close(bool remove)
{
	char why[TABLE_WHY_BYTES];
	int r = remove ? table_remove(&a.table, why) : 0;

	if (r < 0)
		frontend_say("%s", why);
	table_close(&a.table);
	free(a.text);
	free(a.maps);
	return r;
}
