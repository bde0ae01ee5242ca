// SPDX-License-Identifier: Apache-2.0
/*
 * ready_fuzz.c - libFuzzer target: the ready bitmap and `sleeping`, an honest app and an honest ins, and the lies told to either.
 * Trust: none. Until a lie each mark is found by the next pass, exactly once, and who sleeps is kicked by the first mark. After lies a
 * pass is bounded, names slots that exist, and all is as before once the words are zero again.
 */
#include "chan/arena.h"
#include "test/fuzz/input.h"

#define SLOTS 8192u /* two words of ready_top */
#define BYTES (MW_READY_OFFSET + MW_READY_BYTES)

struct state {
	struct mw_view view;
	uint64_t *ready, *top;
	uint32_t *sleeping;
	uint64_t marked[SLOTS / 64];
	bool asleep, lied;
};

static void mark(struct state *s, uint32_t slot)
{
	bool kick = ready_mark(&s->view, slot);

	s->marked[slot / 64] |= 1ull << slot % 64;
	must(s->lied || kick == s->asleep);
	if (kick)
		s->asleep = false;
}

/* As main.c's loop: says so, and looks once more. */
static void sleep_once(struct state *s)
{
	bool any = false;

	mw_store(s->sleeping, 1u);
	mw_fence();
	for (uint32_t i = 0; i < SLOTS / 64; i++)
		any |= s->marked[i] != 0;
	if (ready_any(&s->view)) {
		must(s->lied || any);
		mw_store(s->sleeping, 0u);
		return;
	}
	must(s->lied || !any);
	s->asleep = true;
}

static void pass(struct state *s)
{
	uint64_t bits;
	int32_t first;
	uint32_t n = 0;

	mw_store(s->sleeping, 0u);
	s->asleep = false;
	for (uint32_t from = 0; (first = ready_take(&s->view, from, &bits)) >= 0; from = (uint32_t)first + 64) {
		must((uint32_t)first < SLOTS && first % 64 == 0 && bits && (uint32_t)first >= from && ++n <= SLOTS / 64);
		must(s->lied || bits == s->marked[first / 64]);
		s->marked[first / 64] = 0;
	}
	for (uint32_t i = 0; i < SLOTS / 64; i++)
		must(s->lied || !s->marked[i]);
}

static void lie(struct state *s, struct input *in)
{
	uint8_t how = next_byte(in), at = next_byte(in);

	s->lied = true;
	switch (how % 4) {
	case 0: s->ready[at % (MW_SLOTS_MAX / 64)] = next_u64(in); break;
	case 1: s->top[at % (MW_SLOTS_MAX / 4096)] = next_u64(in); break;
	case 2: *s->sleeping = next_u32(in); break;
	default: /* sizes in the header: nobody looks again */
		((uint32_t *)MW_WORD(s->view.base))[at % 16] = next_u32(in);
	}
}

/* Nothing of it lasts. */
static void truth(struct state *s)
{
	memset(s->ready, 0, MW_READY_BYTES);
	memset(s->top, 0, MW_SLOTS_MAX / 4096 * 8);
	memset(s->marked, 0, sizeof(s->marked));
	*s->sleeping = 0;
	s->asleep = s->lied = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	uint8_t *base = aligned_alloc(MW_PAGE, BYTES); /* no slots, and no rings: none is touched */
	struct state *s = calloc(1, sizeof(*s));

	must(base && s);
	memset(base, 0, BYTES);
	must(arena_init(&s->view, base, arena_bytes(SLOTS, MW_RING_BYTES_MIN, MW_RING_BYTES_MIN), SLOTS, MW_RING_BYTES_MIN, MW_RING_BYTES_MIN) == 0);
	s->ready = (uint64_t *)(void *)(base + MW_READY_OFFSET);
	s->top = ((struct mw_arena *)(void *)base)->ready_top;
	s->sleeping = &((struct mw_arena *)(void *)base)->sleeping;
	while (in.at < in.end) {
		switch (next_byte(&in) % 8) {
		case 0: pass(s); break;
		case 1: sleep_once(s); break;
		case 2: lie(s, &in); break;
		case 3: truth(s); break;
		default: mark(s, next_u32(&in) % SLOTS);
		}
	}
	free(s);
	free(base);
	return 0;
}
