/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member.h - one INS as the frontend sees it: alive, serving, wanted. No system call. Used inside front/.
 * Trust: the entry is the INS's host's word, so it is asked whether it serves.
 */
#ifndef MW_FRONT_MEMBER_H
#define MW_FRONT_MEMBER_H

#include "registry/entry.h"

enum {
	MEMBER_MISSES = 2,	/* heartbeats, or probes one after the other */
};

struct member {
	char key[ENTRY_KEY_BYTES];
	struct entry e;
	int64_t beat_ms;	/* when its heartbeat last changed, by our clock */
	unsigned passed, failed;/* probes, one after the other */
	bool probed, serves;	/* probed: at least once, or it has nothing to probe */
	bool in;		/* it gets new connections */
	int64_t out_ms;		/* since when not */
	unsigned weight;
	const char *why;	/* not */
	bool told;		/* that it is not in, once until it is again */
	bool news;		/* to be told once the rules are so */
	/* probe.c's */
	int fd;			/* -1: none under way */
	int64_t probe_ms, late_ms;
};

/* The entry came or changed. True: its address did, and a probe that is under way asks the old one. */
bool member_take(struct member *m, const struct entry *e, int64_t now_ms);

/* A probe's end. */
void member_probed(struct member *m, bool good);

/* NULL: it gets new connections. Else why not. heard_ms: of the registry (store.h). */
const char *member_refusal(const struct member *m, int64_t heard_ms, int64_t heartbeat_ms);

/* What is probed: the first TCP port that clients can have, or NULL. */
const struct entry_port *member_probe_port(const struct member *m);

#endif
