// SPDX-License-Identifier: Apache-2.0
/*
 * doorbell_test.c - every interleaving of the doorbell's protocol (chan/PROTOCOL.md), as a model.
 * Trust: none; no input. It proves the order of the steps, not the code that takes them.
 *
 * ins publishes a few times, and for each looks at the event index, counts the token, sends it. app sleeps until
 * its descriptor is readable, reads until the ring is empty, re-arms. A state is a few small numbers; all states
 * that any interleaving reaches are visited. Wanted: when both rest, app has read everything (no lost wake-up) and
 * it does rest (no endless wake-up), and app never took the end marker.
 *
 * A second kind of reader, as nginx is: edge-triggered, it asks how much there is (FIONREAD), takes just that in
 * pieces, and waits for the edge of what came after it asked. Each piece arms behind what it saw (PROTOCOL.md 4).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PUBLISHES 4u
#define NEVER     15u
#define SEEN_BITS 22u

/* How app re-arms, and when ins counts. Only the first is the protocol. */
enum order {
	RIGHT,              /* read rx_rung, arm, look, take back what was rung before; ins counts, then sends */
	RUNG_AFTER_LOOK,    /* arm, look, and only then read rx_rung */
	TAKE_ALL,           /* take back whatever is queued */
	TAKE_NONE,          /* never take back */
	TAKE_BEFORE_ARM,    /* take back, arm, look: data seen by the look may have no token that tells poll of it */
	COUNTS,             /* the reader that counts; it never moves an event that was passed and not answered */
	COUNTS_ON_TOKEN,    /* the same, but it moves the event whenever a token is out */
};

enum ins_step { PUBLISH, LOOK_EVENT, COUNT, SEND, FIN, MARKER, INS_DONE };
enum app_step { SLEEP, READ, SETTLE, SNAP, ARM, LOOK, LATE_SNAP, TAKE, COUNT_BYTES, CHECK, ARM_BEHIND, LOOK_BEHIND, PIECE };

struct state {
	uint8_t prod, event, told, rung, tokens, marker, fin, ins; /* written by ins, but for event */
	uint8_t cons, taken, snap, app;
	uint8_t seen, goal, edge, mark; /* of the reader that counts: what it saw, what it wants; its ready mark */
};

static struct {
	uint64_t seen[1u << SEEN_BITS];
	size_t visited;
	enum order order;
	int end_of_stream;
	int lost, endless, marker_taken;
} world;

static uint64_t key_of(const struct state *s)
{
	const uint8_t *b = (const uint8_t *)s;
	uint64_t key = 0;

	for (size_t i = 0; i < sizeof(*s); i++) {
		if (b[i] > 15)
			abort();
		key = key << 4 | b[i];
	}
	return key;
}

static int seen_before(const struct state *s)
{
	uint64_t key = key_of(s);
	size_t at = (size_t)(key * 0x9e3779b97f4a7c15ULL >> (64 - SEEN_BITS));

	while (world.seen[at] && world.seen[at] != key)
		at = (at + 1) & ((1u << SEEN_BITS) - 1);
	if (world.seen[at] == key)
		return 1;
	world.seen[at] = key;
	if (++world.visited > (1u << SEEN_BITS) / 2)
		abort();
	return 0;
}

static void next_publish(struct state *s)
{
	s->ins = s->prod < PUBLISHES ? PUBLISH : world.end_of_stream ? FIN : INS_DONE;
}

static int counts(void)
{
	return world.order == COUNTS || world.order == COUNTS_ON_TOKEN;
}

static int step_ins(struct state *s)
{
	if (s->mark && (s->ins == PUBLISH || s->ins == INS_DONE)) {
		s->mark = 0;
		s->ins = LOOK_EVENT;
		return 1;
	}
	switch (s->ins) {
	case PUBLISH:
		s->prod++;
		s->ins = LOOK_EVENT;
		return 1;
	case LOOK_EVENT:
		if (s->event == s->told || s->event >= s->prod) {
			next_publish(s);
			return 1;
		}
		s->told = s->event;
		s->ins = COUNT;
		return 1;
	case COUNT:
		s->rung++;
		s->ins = SEND;
		return 1;
	case SEND:
		s->tokens++;
		s->edge = 1;
		next_publish(s);
		return 1;
	case FIN:
		s->fin = 1;
		s->ins = MARKER;
		return 1;
	case MARKER:
		s->marker = 1;
		s->ins = INS_DONE;
		return 1;
	default:
		return 0;
	}
}

static void take_back(struct state *s, unsigned int most)
{
	for (; most && (s->tokens || (s->marker && world.order == TAKE_ALL)); most--) {
		if (s->tokens)
			s->tokens--;
		else
			world.marker_taken = 1, most = 1;
		s->taken++;
	}
}

static enum app_step rearm_begins(void)
{
	return world.order == RUNG_AFTER_LOOK || world.order == TAKE_ALL ? ARM : SNAP;
}

/* May the event be moved behind what was seen? */
static int may_move(const struct state *s)
{
	if (world.order == COUNTS_ON_TOKEN)
		return s->rung != s->taken;
	return s->event < s->seen && s->told == s->event;
}

/* The counting reader, from the edge that wakes it to its next sleep; the steps of the re-arm are step_app's. */
static int step_counting(struct state *s)
{
	switch (s->app) {
	case SLEEP:
		if (!s->edge)
			return 0;
		s->edge = 0;
		s->app = s->tokens ? COUNT_BYTES : SLEEP;
		return 1;
	case COUNT_BYTES:
		s->seen = s->goal = s->prod;
		s->app = s->goal == s->cons ? SNAP : CHECK;
		return 1;
	case CHECK:
		s->app = may_move(s) ? ARM_BEHIND : PIECE;
		return 1;
	case ARM_BEHIND:
		s->event = s->seen;
		s->app = LOOK_BEHIND;
		return 1;
	case LOOK_BEHIND:
		s->mark |= s->prod != s->seen;
		s->app = PIECE;
		return 1;
	default: /* PIECE */
		if (s->cons == s->goal) {
			s->app = SLEEP;
			return 1;
		}
		s->cons++;
		s->seen = s->prod;
		s->app = s->cons == s->seen ? SNAP : CHECK;
		return 1;
	}
}

/* app. Where the look finds bytes it goes back to poll, as a server does that reads once for each event. */
static int step_app(struct state *s)
{
	if (counts() && (s->app == SLEEP || s->app >= COUNT_BYTES))
		return step_counting(s);
	switch (s->app) {
	case SLEEP:
		if (!s->tokens && !s->marker)
			return 0;
		s->app = READ;
		return 1;
	case READ:
		if (s->cons == s->prod) {
			s->app = s->fin && s->ins == INS_DONE ? SLEEP : (uint8_t)rearm_begins();
			return s->app != SLEEP;
		}
		s->cons = s->prod;
		s->app = SETTLE;
		return 1;
	case SETTLE:
		s->app = s->cons == s->prod ? (uint8_t)rearm_begins() : SLEEP;
		return 1;
	case SNAP:
		s->snap = s->rung;
		if (world.order == TAKE_BEFORE_ARM)
			take_back(s, (unsigned int)(s->snap - s->taken));
		s->app = ARM;
		return 1;
	case ARM:
		s->event = s->cons;
		s->app = LOOK;
		return 1;
	case LOOK:
		if (s->cons != s->prod) {
			s->app = SLEEP; /* poll must say so again: a token is there or comes */
			s->mark = (uint8_t)counts();
		} else if (world.order == TAKE_BEFORE_ARM) {
			s->app = SLEEP;
		} else {
			s->app = world.order == RUNG_AFTER_LOOK ? LATE_SNAP : TAKE;
		}
		return 1;
	case LATE_SNAP:
		s->snap = s->rung;
		s->app = TAKE;
		return 1;
	default:
		if (world.order != TAKE_NONE)
			take_back(s, world.order == TAKE_ALL ? 16 : (unsigned int)(s->snap - s->taken));
		s->app = SLEEP;
		return 1;
	}
}

/* With ins at rest app's own steps come to an end: else it wakes for nothing for ever. */
static int rests(struct state s)
{
	for (int i = 0; i < 64; i++)
		if (!step_app(&s))
			return 1;
	return 0;
}

static void visit(struct state s)
{
	struct state a = s, b = s;
	int moved_ins, moved_app;

	if (seen_before(&s))
		return;
	moved_ins = step_ins(&a);
	moved_app = step_app(&b);
	if (!moved_ins && !rests(s))
		world.endless = 1;
	if (moved_ins)
		visit(a);
	if (moved_app)
		visit(b);
	if (moved_ins || moved_app)
		return;
	if (s.cons != s.prod)
		world.lost = 1;
}

static void run(enum order order, int end_of_stream)
{
	struct state s = { .told = NEVER, .app = SLEEP, .ins = PUBLISH };

	memset(&world, 0, sizeof(world));
	world.order = order;
	world.end_of_stream = end_of_stream;
	visit(s);
	print_message("%zu states\n", world.visited);
}

static void protocol_holds(void **state)
{
	(void)state;
	for (int end = 0; end <= 1; end++) {
		run(RIGHT, end);
		assert_false(world.lost);
		assert_false(world.endless);
		assert_false(world.marker_taken);
	}
}

static void late_snapshot_loses_a_wakeup(void **state)
{
	(void)state;
	run(RUNG_AFTER_LOOK, 0);
	assert_true(world.lost);
}

static void taking_before_arming_loses_a_wakeup(void **state)
{
	(void)state;
	run(TAKE_BEFORE_ARM, 0);
	assert_true(world.lost);
}

static void taking_none_never_rests(void **state)
{
	(void)state;
	run(TAKE_NONE, 0);
	assert_true(world.endless);
}

static void taking_all_takes_the_marker(void **state)
{
	(void)state;
	run(TAKE_ALL, 1);
	assert_true(world.marker_taken);
}

static void counting_reader(void **state)
{
	(void)state;
	run(COUNTS, 0);
	assert_false(world.lost);
	assert_false(world.endless);
}

static void moving_an_unanswered_event_loses_an_edge(void **state)
{
	(void)state;
	run(COUNTS_ON_TOKEN, 0);
	assert_true(world.lost);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(protocol_holds),
		cmocka_unit_test(late_snapshot_loses_a_wakeup),
		cmocka_unit_test(taking_before_arming_loses_a_wakeup),
		cmocka_unit_test(taking_none_never_rests),
		cmocka_unit_test(taking_all_takes_the_marker),
		cmocka_unit_test(counting_reader),
		cmocka_unit_test(moving_an_unanswered_event_loses_an_edge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
