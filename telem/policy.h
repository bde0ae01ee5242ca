/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - verdicts: what an operator decided, to whom it was done, how long it holds, and how it is undone.
 * Used inside telem/.
 * Trust: orders are parsed by order.c; a target is text of anybody's. What the INS answers is counted, no more.
 *
 * Verdicts are kept in a memory file of the broker's, so that they outlive a telemetry process: those that hold go on holding in
 * the INS meanwhile. An order with the key of an earlier one that still holds (the same prefix to block, the same option of the
 * same target, the same port's cap) replaces it.
 */
#ifndef MW_TELEM_POLICY_H
#define MW_TELEM_POLICY_H

#include "telem/filter.h"
#include "telem/target.h"
#include "telem/telem.h"

#define VERDICTS        4096u
#define MINRATES        64u /* verdicts of VERB_MINRATE that may hold */
#define VERDICT_TARGET  192u
#define VERDICT_WHAT    64u
#define VERDICT_WHO     48u
#define VERDICT_WHY     96u
#define VERDICT_VALUE   32u
#define POLICY_MAGIC    0x3259434c4f50574dULL /* "MWPOLCY2" */

enum verdict_status {
	VERDICT_NONE,
	VERDICT_RUNNING,  /* the INS has not answered for all yet */
	VERDICT_ENDING,   /* nor for its undoing */
	VERDICT_DONE,     /* nothing of it lasts */
	VERDICT_HOLDS,    /* until it is undone, replaced, or expires */
	VERDICT_EXPIRED, VERDICT_UNDONE, VERDICT_REPLACED,
	VERDICT_FAILED,   /* error says why */
};

struct verdict {
	uint64_t id;            /* 1, 2, ...; never used again */
	uint64_t made_ns, expires_ns, ended_ns; /* CLOCK_REALTIME; 0: never, not yet */
	uint64_t due_ns;        /* CLOCK_MONOTONIC: what expires_ns says, whoever sets the clock meanwhile */
	uint64_t number;        /* CAP: connections; BACKLOG; MINRATE: bytes a second */
	uint64_t grace_ns;      /* MINRATE */
	struct mw_addr addr;    /* BLOCK, CAP: of which `prefix` bits count. CAP: family, and the port or 0 */
	uint32_t prefix;
	uint32_t verb;          /* VERB_ */
	uint32_t status;        /* enum verdict_status */
	uint32_t hits, missed;  /* sockets that it acted on; that had ended by then, or refused it */
	int32_t error;          /* the first refusal's errno, or 0 */
	int32_t level, name;    /* SET */
	uint32_t bytes;
	uint8_t value[VERDICT_VALUE];
	char target[VERDICT_TARGET], what[VERDICT_WHAT], who[VERDICT_WHO], why[VERDICT_WHY]; /* NUL-terminated */
};

/* An order: a verdict with target, verb, what, who, why and whatever the verb needs filled in. */
struct order {
	struct verdict v;
	uint64_t ttl_ns;        /* 0: as long as the INS lives */
	bool dry_run;           /* says whom it would hit */
};

/* `why` is NULL when it was taken; v is valid during the call. flows: whom it hit, or would. Called exactly once. */
typedef void policy_done(void *arg, const struct verdict *v, const char *why, const uint64_t *flows, uint32_t count);

policy_done policy_ignore;  /* nobody waits for the answer */
int policy_init(void);
void policy_order(const struct order *o, policy_done *fn, void *arg);
void policy_undo(uint64_t id, const char *who, policy_done *fn, void *arg);
/* Those that are kept: all that hold, and others, the oldest first but for what has held long. fn returns false to end: then so does this. */
bool policy_each(bool (*fn)(const struct verdict *v, void *arg), void *arg);
const char *verdict_status_name(uint32_t status);
const char *verb_name(uint32_t verb);
const char *verdict_error(int32_t error); /* of a verdict's `error` */
uint32_t verb_named(const char *name); /* 0: there is none */

/* dry.c: the answer to an order that says whom it would hit */
void dry_run(const struct order *o, const struct target *t, policy_done *fn, void *arg);

/* audit.c: one line for each change of a verdict; a line that cannot be written is said, once */
void audit(const struct verdict *v, const char *event);

/* minrate.c: verdicts of VERB_MINRATE that hold, looked at twice a second */
void minrate_watch(void);

#endif
