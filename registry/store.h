/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - the registry: which INSs there are. One interface, several places: a directory of this host (dir.h), etcd for several
 * hosts (etcd.h). Used by front/.
 * Trust: what a place holds may be written by anybody who can write there. It is parsed, must be what its key says, and is reported
 * once and ignored if it is not; what was good of that key before stays.
 *
 * A place keeps texts under keys "HOST/APP/INS". It has one descriptor and one time-out for poll, and works only in store_turn.
 */
#ifndef MW_REGISTRY_STORE_H
#define MW_REGISTRY_STORE_H

#include <stddef.h>

#include "registry/entry.h"

enum {
	STORE_ENTRIES_MAX = 64,	/* of one application */
	STORE_SAID_BYTES = 320,
};

struct store;

/* Both are called within store_turn. */
struct store_watch {
	/* An entry came or changed, or, with `now` NULL, is gone: withdrawn, or its owner died. */
	void (*changed)(void *arg, const char *key, const struct entry *now, const char *text, size_t bytes);
	/* A line for a person; each cause once. */
	void (*said)(void *arg, const char *line);
	void *arg;
};

/* Watches the entries of one application. The first call of store_turn tells what there is. */
int store_fd(const struct store *s);
int store_wait_ms(const struct store *s);	/* -1: no need */
void store_turn(struct store *s);

/* All that was written before that moment (clock_ms) is known; 0: the place never answered. What is known stays when it does not answer. */
int64_t store_heard_ms(const struct store *s);

/* Puts a text under a key, or takes it away. It is there when it can be: a place that is away gets the latest of each later.
 * 0 or -errno. */
int store_publish(struct store *s, const char *key, const char *text, size_t bytes);
int store_withdraw(struct store *s, const char *key);

/* What was published here is withdrawn, if that can be done within limit_ms; else it goes when its owner is seen to be dead.
 * NULL is allowed. */
void store_close(struct store *s, int limit_ms);

/* --- for the places --- */

struct store_place {
	int (*wait_ms)(const struct store *s);
	void (*turn)(struct store *s);
	int (*publish)(struct store *s, const char *key, const char *text, size_t bytes);
	int (*withdraw)(struct store *s, const char *key);
	void (*close)(struct store *s, int limit_ms);	/* frees it */
};

enum { STORE_BAD_MAX = 32 };

struct store {
	const struct store_place *place;
	struct store_watch watch;
	char app[ENTRY_NAME_MAX + 1];
	int fd;
	int64_t heard_ms;
	struct store_item {
		char key[ENTRY_KEY_BYTES];
		bool seen;	/* since store_begin */
	} items[STORE_ENTRIES_MAX];
	size_t count;
	char bad[STORE_BAD_MAX][ENTRY_KEY_BYTES + 64]; /* keys that were reported */
	size_t bad_count;
	bool full_said;
};

void store_init(struct store *s, const struct store_place *place, const char *app, const struct store_watch *watch);
/* A text that lies under that key of the place. `who`, if not NULL, says why its writer cannot be the owner. */
void store_feed(struct store *s, const char *key, const char *text, size_t bytes, const char *who);
void store_drop(struct store *s, const char *key);
/* Between these two all that there is is fed; the rest is gone. */
void store_begin(struct store *s);
void store_end(struct store *s);
void store_say(struct store *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
