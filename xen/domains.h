/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domains.h - the INS domains, as their keys tell, and their entries in the registry (registry/entry.h). Used by xen/broker.c.
 * Trust: which domains there are, and the keys address, drain and made, are dom0's. The rest is what each says of itself: it can make itself
 * look well or unwell, and gets no address that is not of the pool, nor one that was given to another, nor a port that is not published.
 */
#ifndef MW_XEN_DOMAINS_H
#define MW_XEN_DOMAINS_H

#include <jansson.h>

#include "lib/seldom.h"
#include "xen/broker.h"
#include "xen/store.h"
#include "xen/values.h"

enum { DOMAINS_MAX = 64 };

struct domain {
	int id;
	char name[64], address[POOL_TEXT_BYTES], ports[STORE_VALUE_MAX]; /* address "": none yet */
	enum entry_state state;
	uint64_t heartbeat;
	double beat;		/* when that changed: s of this host's clock */
	int64_t seen_ms, beat_ms, drained_ms, busy_ms; /* first seen; its heartbeat changed; drained, and when it last had connections */
	bool present, made, drain, was_up, load_known;
	struct values_load load;
	char told[160];		/* the last complaint */
	struct seldom said;
	char *entry;		/* what is in the registry; NULL: nothing */
	/* broker.c's */
	bool ending;
	int64_t try_ms;
};

int domains_directory(const char *name); /* where entries are. 0 or -errno */
void domains_init(struct store *s, const struct broker_options *o);

/* Reads all keys, sweeps up those of domains that are gone, writes entries. 0 or -errno: xenstored is not there. */
int domains_look(void);

/* Entries that another broker left of domains that are gone are taken away. */
void domains_tidy(void);

size_t domains_count(void);
struct domain *domains_at(size_t i);
struct domain *domains_find(int64_t id);
bool domains_have(const char *address);
unsigned domains_serving(void); /* that get new connections */

json_t *domains_entry(const struct domain *d); /* a new reference; NULL: it has no address yet */

/* Writes one of dom0's keys of it. 0 or -errno. */
int domains_put(int id, const char *key, const char *value);
int domains_drain(struct domain *d);

#endif
