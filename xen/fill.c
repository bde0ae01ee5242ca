// SPDX-License-Identifier: Apache-2.0
/*
 * fill.c - see fill.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/fill.h"

#define TEMPLATE_MAX 65536

static char *read_file(const char *path, char why[FILL_WHY_BYTES])
{
	char *text = malloc(TEMPLATE_MAX + 1);
	FILE *in = text ? fopen(path, "re") : NULL;
	size_t n = in ? fread(text, 1, TEMPLATE_MAX + 1, in) : 0;

	if (!in || ferror(in))
		snprintf(why, FILL_WHY_BYTES, "the template %.200s cannot be read: %s", path, strerror(errno));
	else if (n > TEMPLATE_MAX || memchr(text, 0, n))
		snprintf(why, FILL_WHY_BYTES, "the template %.200s is no configuration for xl", path);
	else
		why[0] = 0;
	if (in)
		fclose(in);
	if (text && !why[0]) {
		text[n] = 0;
		return text;
	}
	free(text);
	return NULL;
}

/* The replacement that begins there, and how long the word is; NULL: none. */
static const char *value_at(const char *text, const struct fill *f, size_t *bytes)
{
	const struct {
		const char *word, *value;
	} words[] = { { "@name@", f->name }, { "@image@", f->image }, { "@ip@", f->ip }, { "@gw@", f->gw } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		*bytes = strlen(words[i].word);
		if (!strncmp(text, words[i].word, *bytes) && words[i].value)
			return words[i].value;
	}
	return NULL;
}

static bool has(const char *text, const char *word, const char *path, char why[FILL_WHY_BYTES])
{
	if (strstr(text, word))
		return true;
	snprintf(why, FILL_WHY_BYTES, "the template %.200s has no %s, so each domain would be the same one", path, word);
	return false;
}

char *fill_template(const char *path, const struct fill *f, char why[FILL_WHY_BYTES])
{
	char *text = read_file(path, why), *out = NULL;
	size_t bytes, skip;
	FILE *to;

	if (!text)
		return NULL;
	if (!f->gw && strstr(text, "@gw@"))
		snprintf(why, FILL_WHY_BYTES, "the template %.200s has @gw@: say --gateway ADDRESS", path);
	else if (has(text, "@name@", path, why) && has(text, "@ip@", path, why) && (to = open_memstream(&out, &bytes))) {
		for (const char *at = text; *at; at += skip) {
			const char *value = value_at(at, f, &skip);

			if (!value)
				skip = 1;
			fprintf(to, "%.*s", value ? (int)strlen(value) : 1, value ? value : at);
		}
		fclose(to);
	}
	free(text);
	return out;
}
