// SPDX-License-Identifier: Apache-2.0
/*
 * policy.c - see policy.h.
 * Trust: as in the header. The table of verdicts is our own memory; it is checked once, when a new process finds it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/prefix.h"
#include "telem/policy.h"
#include "telem/target.h"

#define TICK_MS 100          /* how late an expiry may be */

struct store {
	uint64_t magic;
	uint64_t last;             /* verdicts ever: number n is at (n - 1) % VERDICTS */
	uint64_t ins;              /* number + 1 of the INS that carries them out; 0: none has yet */
	uint64_t pad[5];
	struct verdict list[VERDICTS];
};
MW_ASSERT(sizeof(struct store) <= POLICY_BYTES, "the verdicts fit their memory");

/* One verdict while the INS carries it out, or undoes it. */
struct run {
	struct verdict *v;
	uint32_t after;            /* the status that it has then */
	uint32_t left;             /* answers to come; and 1 while questions are still being asked */
	uint32_t hits, missed;
	int32_t error;
	uint32_t count;
	uint64_t *flows;           /* whom it hit */
	policy_done *fn;
	void *arg;
};

static struct store *store;
static uint32_t runs[VERDICTS]; /* of each place: an INS may answer for a verdict long after another has replaced it */
static struct timer expiry;

static const struct {
	const char *name;
	bool lasts, undoable;
} verbs[] = {
	[VERB_CLOSE] = { "close", false, false }, [VERB_RESET] = { "reset", false, false }, [VERB_SET] = { "set", true, true },
	[VERB_BLOCK] = { "block", true, true },   [VERB_UNBLOCK] = { "unblock", false, false }, [VERB_CAP] = { "cap", true, true },
	[VERB_GATE] = { "gate", true, true },     [VERB_BACKLOG] = { "backlog", true, true }, [VERB_MINRATE] = { "minrate", true, true },
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

const char *verb_name(uint32_t verb)
{
	return verb < VERBS && verbs[verb].name ? verbs[verb].name : "?";
}

uint32_t verb_named(const char *name)
{
	for (uint32_t i = 0; i < VERBS; i++)
		if (verbs[i].name && !strcmp(verbs[i].name, name))
			return i;
	return 0;
}

const char *verdict_status_name(uint32_t status)
{
	static const char *const names[] = { "none", "running", "ending", "done", "holds", "expired", "undone", "replaced", "failed" };

	return status < sizeof(names) / sizeof(names[0]) ? names[status] : "?";
}

const char *verdict_error(int32_t error)
{
	return error == ESTALE ? "that connection has ended" : error == EOPNOTSUPP ? "such a socket has no connection" : strerror(error);
}

static struct verdict *find(uint64_t id)
{
	struct verdict *v = &store->list[(id - 1) % VERDICTS];

	return id && v->id == id ? v : NULL;
}

bool policy_each(bool (*fn)(const struct verdict *v, void *arg), void *arg)
{
	for (uint64_t i = 0; i < VERDICTS; i++) {
		const struct verdict *v = &store->list[(store->last + i) % VERDICTS];

		if (v->id && !fn(v, arg))
			return false;
	}
	return true;
}

static bool is_under_way(const struct verdict *v)
{
	return v->status == VERDICT_RUNNING || v->status == VERDICT_ENDING;
}

/* An option of one socket ends with it. */
static bool is_over(const struct verdict *v)
{
	char why[FILTER_WHY_BYTES];
	struct target t;
	struct flow f;
	bool one;

	if (v->verb != VERB_SET || target_parse(&t, v->target, why) < 0)
		return false;
	one = t.kind == TARGET_FLOW;
	target_free(&t);
	return one && ((uint32_t)t.flow >= flow_slots_high(&telem.flows) || !flow_read(&telem.flows, (uint32_t)t.flow, &f) || f.f.id != t.flow);
}

/* A place for the next one: the oldest that nothing depends on. NULL: all of them hold. */
static struct verdict *place(void)
{
	for (uint32_t i = 0; i < VERDICTS; i++) {
		uint64_t at = store->last++ % VERDICTS;
		struct verdict *v = &store->list[at];

		if (runs[at] || (v->status == VERDICT_HOLDS && !is_over(v)))
			continue;
		memset(v, 0, sizeof(*v));
		v->id = store->last;
		return v;
	}
	return NULL;
}

/* --- carrying out --- */

/* While the INS carried it out it may have been replaced, or its undoing begun: it stays that. */
static void finish(struct run *r)
{
	struct verdict *v = r->v;
	uint32_t meanwhile = r->after == VERDICT_HOLDS && v->status != VERDICT_RUNNING ? v->status : VERDICT_NONE;
	const char *why = NULL;

	if (r->after == VERDICT_HOLDS || r->after == VERDICT_DONE || v->verb == VERB_BLOCK) { /* BLOCK: all that it refused */
		v->hits += r->hits;
		v->missed += r->missed;
	}
	v->status = r->after;
	if (v->status == VERDICT_HOLDS || v->status == VERDICT_DONE) {
		v->error = r->error;
		if (r->error && !r->hits) {
			v->status = VERDICT_FAILED;
			why = verdict_error(r->error);
		}
	}
	if (v->status != VERDICT_HOLDS)
		v->ended_ns = loop_now_ns();
	if (v->verb == VERB_MINRATE)
		minrate_watch();
	audit(v, v->status == VERDICT_HOLDS || v->status == VERDICT_DONE || v->status == VERDICT_FAILED ? verb_name(v->verb)
											       : verdict_status_name(v->status));
	if (r->fn)
		r->fn(r->arg, v, why, r->flows, r->count);
	if (meanwhile)
		v->status = meanwhile;
	runs[v - store->list]--;
	free(r->flows);
	free(r);
}

static void answered(void *arg, const struct verb_msg *m, const uint8_t *value)
{
	struct run *r = arg;

	(void)value;
	if (m->status == 0) {
		bool many = m->verb == VERB_BLOCK || m->verb == VERB_UNBLOCK || m->verb == VERB_CAP || m->slot == VERB_ALL;

		r->hits += many ? (uint32_t)m->number : 1;
		if (!many && r->flows)
			r->flows[r->count++] = (uint64_t)m->gen << 32 | m->slot;
	} else {
		r->missed++;
		if (!r->error)
			r->error = -m->status;
	}
	if (--r->left == 0)
		finish(r);
}

static void ask(struct run *r, uint32_t verb, uint64_t flow, uint32_t flags)
{
	const struct verdict *v = r->v;
	struct verb_msg m = { .verb = verb, .verdict = v->id, .slot = (uint32_t)flow, .gen = (uint32_t)(flow >> 32), .level = v->level,
			      .name = v->name, .bytes = (verb == VERB_SET || verb == VERB_GATE) && !(flags & VERB_UNDO) ? v->bytes : 0, .flags = flags,
			      .addr = v->addr, .prefix = v->prefix, .number = v->number };

	r->left++;
	if (verbs_ask(&m, v->value, answered, r) < 0) {
		r->left--;
		r->missed++;
		r->error = ENOMEM;
	}
}

static struct run *begin(struct verdict *v, uint32_t after, policy_done *fn, void *arg)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	*r = (struct run){ .v = v, .after = after, .left = 1, .fn = fn, .arg = arg };
	runs[v - store->list]++;
	return r;
}

static void asked_all(struct run *r)
{
	if (--r->left == 0)
		finish(r);
}

static void undo(struct verdict *v, uint32_t after, policy_done *fn, void *arg)
{
	struct run *r = begin(v, after, fn, arg);

	if (!r) {
		fn(arg, v, "no memory", NULL, 0);
		return;
	}
	v->status = VERDICT_ENDING;
	if (v->verb == VERB_BLOCK)
		ask(r, VERB_UNBLOCK, 0, 0);
	else if (v->verb != VERB_MINRATE)
		ask(r, v->verb, VERB_ALL, VERB_UNDO); /* wherever it is in force */
	asked_all(r);
}

void policy_ignore(void *arg, const struct verdict *v, const char *why, const uint64_t *flows, uint32_t count)
{
	(void)arg;
	(void)v;
	(void)why;
	(void)flows;
	(void)count;
}

/* A block of many takes a while, and ends at once. */
static bool may_end(const struct verdict *v)
{
	return v->status == VERDICT_HOLDS || (v->status == VERDICT_RUNNING && v->verb == VERB_BLOCK);
}

void policy_undo(uint64_t id, const char *who, policy_done *fn, void *arg)
{
	struct verdict *v = find(id);

	if (!v || !may_end(v) || !verbs[v->verb].undoable) {
		fn(arg, v, !v ? "there is no such verdict" : !verbs[v->verb].undoable ? "what is ended cannot be undone"
									     : "it does not hold any more", NULL, 0);
		return;
	}
	snprintf(v->who, sizeof(v->who), "%s", who);
	undo(v, VERDICT_UNDONE, fn, arg);
}

/* --- expiry --- */

static void look_at_expiry(struct timer *t)
{
	uint64_t now = loop_steady_ns();
	bool more = false;

	for (uint32_t i = 0; i < VERDICTS; i++) {
		struct verdict *v = &store->list[i];

		if (!v->expires_ns || (v->status != VERDICT_HOLDS && v->status != VERDICT_RUNNING))
			continue;
		if (v->status == VERDICT_HOLDS && v->due_ns <= now)
			undo(v, VERDICT_EXPIRED, policy_ignore, NULL);
		else
			more = true;
	}
	if (more)
		loop_timer(t, TICK_MS);
}

/* --- orders --- */

static bool same_key(const struct verdict *a, const struct verdict *b)
{
	return a->verb == b->verb && a->level == b->level && a->name == b->name && (a->prefix == b->prefix || a->verb == VERB_CAP) &&
	       !memcmp(&a->addr, &b->addr, sizeof(a->addr)) && !strcmp(a->target, b->target);
}

static void replace_earlier(const struct verdict *v)
{
	for (uint32_t i = 0; i < VERDICTS; i++) {
		struct verdict *old = &store->list[i];

		if (old == v || (old->status != VERDICT_HOLDS && old->status != VERDICT_RUNNING) || !same_key(old, v))
			continue;
		old->status = VERDICT_REPLACED;
		old->ended_ns = loop_now_ns();
		audit(old, "replaced");
	}
}

/* With :PORT, of the listeners there. */
static bool is_of_listeners(uint32_t verb)
{
	return verb == VERB_SET || verb == VERB_BACKLOG || verb == VERB_CAP || verb == VERB_GATE;
}

/* NULL: it can be done to that target. */
static const char *refusal(const struct verdict *v, const struct target *t)
{
	uint32_t rates = 0;

	for (uint32_t i = 0; i < VERDICTS && v->verb == VERB_MINRATE; i++)
		rates += store->list[i].verb == VERB_MINRATE && store->list[i].status == VERDICT_HOLDS && !same_key(&store->list[i], v);
	if (rates >= MINRATES)
		return "64 minimum rates hold: undo some";
	if (v->verb == VERB_BACKLOG && t->kind == TARGET_FILTER)
		return "all, or a listener is needed: :PORT, or its id";
	return is_of_listeners(v->verb) && t->kind == TARGET_PORT && !target_listeners(t, NULL) ? "nothing listens on that port" : NULL;
}

static void carry_out(struct run *r, const struct target *t)
{
	struct verdict *v = r->v;
	uint64_t *flows;
	uint32_t n;

	if (v->verb == VERB_MINRATE)
		return; /* minrate.c takes it from the table */
	if (v->verb == VERB_BLOCK || v->verb == VERB_CAP || v->verb == VERB_GATE || (is_of_listeners(v->verb) && t->kind == TARGET_ALL)) {
		ask(r, v->verb, VERB_ALL, 0);
		return;
	}
	flows = malloc(FLOWS_AT_ONCE * sizeof(*flows));
	r->flows = malloc(2 * FLOWS_AT_ONCE * sizeof(*r->flows)); /* listeners, and connections */
	if (!flows || !r->flows) {
		free(flows);
		r->error = ENOMEM;
		return;
	}
	n = is_of_listeners(v->verb) ? target_listeners(t, flows) : 0;
	for (uint32_t i = 0; i < n; i++)
		ask(r, v->verb, flows[i], 0);
	n = v->verb != VERB_BACKLOG || t->kind == TARGET_FLOW ? target_flows(t, flows) : 0;
	for (uint32_t i = 0; i < n; i++)
		ask(r, v->verb, flows[i], 0);
	free(flows);
}

/* UNBLOCK is the undoing of the block that holds. */
static void unblock(const struct order *o, policy_done *fn, void *arg)
{
	struct verdict wanted = o->v;

	wanted.verb = VERB_BLOCK;
	for (uint32_t i = 0; i < VERDICTS; i++) {
		if (!may_end(&store->list[i]) || !same_key(&store->list[i], &wanted))
			continue;
		if (o->dry_run)
			fn(arg, &o->v, NULL, NULL, 0);
		else
			policy_undo(store->list[i].id, o->v.who, fn, arg);
		return;
	}
	fn(arg, NULL, "that prefix is not blocked", NULL, 0);
}

static void take(const struct order *o, const struct target *t, policy_done *fn, void *arg)
{
	struct verdict *v = place();
	uint64_t id = v ? v->id : 0, now = loop_now_ns();
	struct run *r;

	if (!v) {
		fn(arg, NULL, "too many verdicts hold: undo some", NULL, 0);
		return;
	}
	*v = o->v;
	v->id = id;
	v->made_ns = now;
	r = begin(v, verbs[v->verb].lasts ? VERDICT_HOLDS : VERDICT_DONE, fn, arg);
	if (!r) {
		v->status = VERDICT_FAILED;
		v->ended_ns = now;
		fn(arg, v, "no memory", NULL, 0);
		return;
	}
	v->expires_ns = o->ttl_ns && verbs[v->verb].lasts ? now + o->ttl_ns : 0;
	v->due_ns = loop_steady_ns() + o->ttl_ns;
	replace_earlier(v);
	v->status = VERDICT_RUNNING;
	carry_out(r, t);
	asked_all(r);
	if (o->ttl_ns)
		loop_timer(&expiry, TICK_MS);
}

static void obey(const struct order *o, struct target *t, policy_done *fn, void *arg)
{
	if (o->dry_run)
		dry_run(o, t, fn, arg);
	else
		take(o, t, fn, arg);
	target_free(t);
}

/* An order that waits for fresh samples. */
struct postponed {
	struct order o;
	struct target t;
	policy_done *fn;
	void *arg;
};

static void on_fresh(void *arg, bool fresh)
{
	struct postponed *p = arg;

	(void)fresh; /* false: the kernel tells nothing, and such fields match nothing */
	obey(&p->o, &p->t, p->fn, p->arg);
	free(p);
}

static void postpone(const struct order *o, struct target *t, policy_done *fn, void *arg)
{
	struct postponed *p = malloc(sizeof(*p));

	if (!p) {
		target_free(t);
		fn(arg, NULL, "no memory", NULL, 0);
		return;
	}
	*p = (struct postponed){ *o, *t, fn, arg };
	sample_fresh(on_fresh, p);
}

void policy_order(const struct order *o, policy_done *fn, void *arg)
{
	char why[FILTER_WHY_BYTES] = "";
	struct target t = { .kind = TARGET_ALL };
	const char *no;

	if (o->v.verb == VERB_UNBLOCK) {
		unblock(o, fn, arg);
		return;
	}
	if (o->v.verb != VERB_BLOCK && target_parse(&t, o->v.target, why) < 0) {
		fn(arg, NULL, why, NULL, 0);
		return;
	}
	no = refusal(&o->v, &t);
	if (no) {
		fn(arg, NULL, no, NULL, 0);
		target_free(&t);
	} else if (t.kind == TARGET_FILTER && filter_sampled(t.filter)) {
		postpone(o, &t, fn, arg);
	} else {
		obey(o, &t, fn, arg);
	}
}

/* An earlier process may have died while the INS was answering: what it began and would last, holds. */
static void adopt(void)
{
	for (uint32_t i = 0; i < VERDICTS; i++)
		if (is_under_way(&store->list[i]))
			store->list[i].status = verbs[store->list[i].verb % VERBS].lasts ? VERDICT_HOLDS : VERDICT_DONE;
	minrate_watch();
	loop_timer(&expiry, TICK_MS);
}

/* On every socket and on those to come, whichever they are. */
static bool is_for_all(const struct verdict *v)
{
	return v->verb == VERB_BLOCK || v->verb == VERB_GATE || v->verb == VERB_MINRATE || v->verb == VERB_CAP ||
	       ((v->verb == VERB_SET || v->verb == VERB_BACKLOG) && !strcmp(v->target, "all"));
}

/*
 * The table is a copy of another INS's, and ours is new: what holds for all holds here too, and what is being undone
 * does not. What is about certain sockets, or about a listener, is that INS's business.
 */
static void inherit(void)
{
	for (uint32_t i = 0; i < VERDICTS; i++) {
		struct verdict *v = &store->list[i];
		bool lasts = verbs[v->verb % VERBS].lasts, holds = v->status == VERDICT_HOLDS || (v->status == VERDICT_RUNNING && lasts);
		struct run *r = holds && is_for_all(v) ? begin(v, VERDICT_HOLDS, policy_ignore, NULL) : NULL;

		if (v->status == VERDICT_ENDING || (holds && !r)) {
			memset(v, 0, sizeof(*v));
		} else if (r) {
			v->hits = v->missed = 0;
			v->status = VERDICT_RUNNING;
			if (v->verb != VERB_MINRATE)
				ask(r, v->verb, VERB_ALL, 0);
			asked_all(r);
		} else if (v->status == VERDICT_RUNNING) {
			v->status = VERDICT_DONE;
		}
	}
	minrate_watch();
	loop_timer(&expiry, TICK_MS);
}

int policy_init(void)
{
	store = mmap(NULL, POLICY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, TELEM_STATE_FD, 0);
	if (store == MAP_FAILED)
		return -errno;
	expiry.fn = look_at_expiry;
	if (store->ins && store->ins != telem.flows.ins + 1)
		inherit();
	else if (store->magic == POLICY_MAGIC)
		adopt();
	store->magic = POLICY_MAGIC;
	store->ins = telem.flows.ins + 1;
	return 0;
}
