// SPDX-License-Identifier: Apache-2.0
/*
 * store.c - see store.h.
 * Trust: as in the header.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "registry/store.h"

void store_init(struct store *s, const struct store_place *place, const char *app, const struct store_watch *watch)
{
	s->place = place;
	s->watch = *watch;
	snprintf(s->app, sizeof(s->app), "%s", app);
	s->fd = -1;
}

int store_fd(const struct store *s)
{
	return s->fd;
}

int store_wait_ms(const struct store *s)
{
	return s->place->wait_ms(s);
}

void store_turn(struct store *s)
{
	s->place->turn(s);
}

int64_t store_heard_ms(const struct store *s)
{
	return s->heard_ms;
}

int store_publish(struct store *s, const char *key, const char *text, size_t bytes)
{
	return s->place->publish(s, key, text, bytes);
}

int store_withdraw(struct store *s, const char *key)
{
	return s->place->withdraw(s, key);
}

void store_close(struct store *s, int limit_ms)
{
	if (s)
		s->place->close(s, limit_ms);
}

void store_say(struct store *s, const char *format, ...)
{
	char line[STORE_SAID_BYTES];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	for (char *c = line; *c; c++) /* of a foreign text at most a key */
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 127)
			*c = '?';
	if (s->watch.said)
		s->watch.said(s->watch.arg, line);
}

static struct store_item *find(struct store *s, const char *key)
{
	for (size_t i = 0; i < s->count; i++)
		if (!strcmp(s->items[i].key, key))
			return &s->items[i];
	return NULL;
}

static size_t find_bad(const struct store *s, const char *key)
{
	size_t i = 0;

	while (i < s->bad_count && strncmp(s->bad[i], key, sizeof(s->bad[i]) - 1))
		i++;
	return i;
}

static void report_bad(struct store *s, const char *key, const char *why)
{
	if (find_bad(s, key) < s->bad_count || s->bad_count == STORE_BAD_MAX)
		return;
	snprintf(s->bad[s->bad_count++], sizeof(s->bad[0]), "%s", key);
	store_say(s, "the registry's entry %.*s is ignored: %s%s", ENTRY_KEY_BYTES + 40, key, why,
		  s->bad_count == STORE_BAD_MAX ? "; of further ones nothing is said" : "");
}

static void forget_bad(struct store *s, const char *key)
{
	size_t i = find_bad(s, key);

	if (i < s->bad_count && i != --s->bad_count)
		memcpy(s->bad[i], s->bad[s->bad_count], sizeof(s->bad[0]));
}

static struct store_item *find_or_add(struct store *s, const char *key)
{
	struct store_item *item = find(s, key);

	if (item)
		return item;
	if (s->count == STORE_ENTRIES_MAX) {
		if (!s->full_said)
			store_say(s, "the registry has more than %d INSs of %s; the others are ignored", STORE_ENTRIES_MAX, s->app);
		s->full_said = true;
		return NULL;
	}
	item = &s->items[s->count++];
	memset(item, 0, sizeof(*item));
	snprintf(item->key, sizeof(item->key), "%s", key);
	return item;
}

void store_feed(struct store *s, const char *key, const char *text, size_t bytes, const char *who)
{
	static struct entry e;
	char own[ENTRY_KEY_BYTES], why[ENTRY_WHY_BYTES];
	struct store_item *item = find(s, key);

	if (item)
		item->seen = true; /* what was good stays as long as there is anything */
	if (who) {
		report_bad(s, key, who);
		return;
	}
	if (entry_parse(&e, text, bytes, why) < 0) {
		report_bad(s, key, why);
		return;
	}
	entry_key(own, &e);
	if (strcmp(own, key) || strcmp(e.app, s->app)) {
		report_bad(s, key, "it says that it is another's");
		return;
	}
	forget_bad(s, key);
	item = find_or_add(s, key);
	if (!item)
		return;
	item->seen = true;
	s->watch.changed(s->watch.arg, key, &e, text, bytes);
}

void store_drop(struct store *s, const char *key)
{
	struct store_item *item = find(s, key);
	char gone[ENTRY_KEY_BYTES];

	forget_bad(s, key);
	if (!item)
		return;
	memcpy(gone, item->key, sizeof(gone));
	if (item != &s->items[--s->count])
		*item = s->items[s->count];
	s->watch.changed(s->watch.arg, gone, NULL, NULL, 0);
}

void store_begin(struct store *s)
{
	for (size_t i = 0; i < s->count; i++)
		s->items[i].seen = false;
}

void store_end(struct store *s)
{
	for (size_t i = s->count; i-- > 0;)
		if (!s->items[i].seen)
			store_drop(s, s->items[i].key);
}
