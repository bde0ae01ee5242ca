// SPDX-License-Identifier: Apache-2.0
/*
 * follow_fuzz.c - libFuzzer target: whatever a telemetry says to `mw flows --follow`, in whatever pieces.
 * Trust: none. A byte of 1 ends a piece. What a person reads is whole lines of text, each an event as it came, and no close.
 */
#include <stdio.h>

static int told(const char *text, FILE *to);
static int told_letter(int c);
#define fputs   told
#define putchar told_letter
#include "ctl/follow.c"
#undef fputs
#undef putchar

#include "test/fuzz/input.h"

static struct followed followed;
static size_t told_lines;

/* --- what mw has beside it --- */

static int told(const char *text, FILE *to)
{
	must(to == stdout && !strncmp(text, "{\"event\":\"", 10) && strncmp(text, "{\"event\":\"close\"", 16) != 0);
	for (; *text; text++)
		must(*text >= 0x20 && *text <= 0x7e);
	return 0;
}

static int told_letter(int c)
{
	must(c == '\n');
	told_lines++;
	return c;
}

int ask(const char *name, void (*fn)(struct app *a, void *arg), void *arg)
{
	(void)name, (void)fn, (void)arg;
	return -ENOENT;
}

int ask_each(const char *name, int (*fn)(struct app *a, void *arg), void *arg)
{
	(void)name, (void)fn, (void)arg;
	return 0;
}

size_t ask_entries(const char *name, void (*fn)(uint32_t ins, const char *path, void *arg), void *arg)
{
	(void)name, (void)fn, (void)arg;
	return 0;
}

void app_free(struct app *a)
{
	(void)a;
}

int control_follow(const char *name, uint32_t ins, bool samples)
{
	(void)name, (void)ins, (void)samples;
	return -1;
}

int registry_each(void (*fn)(const char *name, void *arg), void *arg)
{
	(void)fn, (void)arg;
	return 0;
}

void flows_json(const char *event, const struct flow *f)
{
	(void)event, (void)f;
}

/* --- the target --- */

/* As hear() does, when so much has come; true: it does not fit, and the connection is ended. */
static bool comes(const uint8_t *bytes, size_t n)
{
	if (n > sizeof(followed.in) - followed.in_bytes)
		return true;
	memcpy(followed.in + followed.in_bytes, bytes, n);
	followed.in_bytes += n;
	lines(&followed);
	must(!memchr(followed.in, '\n', followed.in_bytes));
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *end = data + n, *at = data, *to;
	size_t ends = 0;

	json = true;
	followed.in_bytes = told_lines = 0;
	for (size_t i = 0; i < n; i++)
		ends += data[i] == '\n';
	for (; at < end; at = to + 1) {
		to = memchr(at, 1, (size_t)(end - at));
		to = to ? to : end;
		if (comes(at, (size_t)(to - at)))
			break;
	}
	must(told_lines <= ends);
	return 0;
}
