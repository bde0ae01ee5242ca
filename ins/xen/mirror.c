// SPDX-License-Identifier: Apache-2.0
/*
 * mirror.c - see front.h: telemetry for the other machine.
 * Trust: what is mirrored lies in the other machine's memory and is never read. The INS itself reads its flow records (whose
 * connection it is, how many bytes were moved), so it has them for itself, and gives a copy away.
 *
 * At the end of a round what was touched in it is copied, in the order that PROTOCOL.md, section 7, wants; a worker that takes over
 * copies every record.
 */
#include "chan/bits.h"
#include "ins/observe.h"
#include "ins/state.h"
#include "ins/xen/front.h"

static struct {
	uint64_t events, log; /* copied so far */
} *kept;

static struct mw_tele_view theirs;
static uint64_t top[MW_SLOTS_MAX / 4096], words[MW_SLOTS_MAX / 64]; /* slots that were touched */

int mirror_init(void)
{
	kept = state_block("mirror", sizeof(*kept));
	return kept ? 0 : -ENOMEM;
}

static struct mw_bits touched(void)
{
	return (struct mw_bits){ .top = top, .words = words, .slots = ins.view.slots };
}

/* The other machine's header is its own; how many slots there are is known. */
void mirror_start(void)
{
	if (!memory_tele)
		return;
	theirs = ins.tele;
	theirs.base = MW_PEER(memory_tele);
	for (uint32_t i = 0; i < observe_header()->slots_high; i++)
		mirror_touch(i);
}

void mirror_touch(uint32_t slot)
{
	words[slot / 64] |= 1ull << slot % 64;
	top[slot / 4096] |= 1ull << slot / 64 % 64;
}

/* A record whose first word says that it is whole: `mark`, or 0. */
static void copy(void *to, const void *from, size_t bytes, uint64_t mark)
{
	uint64_t *word = to;

	mw_store_release(word, (uint64_t)0);
	mw_fence();
	memcpy(word + 1, (const uint64_t *)from + 1, bytes - sizeof(*word));
	mw_store_release(word, mark);
}

static void copy_flows(void)
{
	struct mw_bits b = touched();
	uint64_t bits;
	int32_t first;

	for (uint32_t from = 0; (first = bits_next(&b, from, &bits)) >= 0; from = (uint32_t)first + 64) {
		for (; bits; bits &= bits - 1) {
			uint32_t slot = (uint32_t)first + (uint32_t)__builtin_ctzll(bits);
			const struct mw_flow *f = flow_of(sock_at(slot));

			copy((void *)(mw_uintptr)tele_flow(&theirs, slot), f, sizeof(*f), f->id);
		}
	}
}

static void copy_log(uint64_t next)
{
	uint64_t n = next - kept->log > MW_LOG_ENTRIES ? next - MW_LOG_ENTRIES : kept->log;

	for (; n < next; n++)
		copy((void *)(mw_uintptr)tele_log(&theirs, n), (const void *)(mw_uintptr)tele_log(&ins.tele, n), sizeof(struct mw_log_entry), n + 1);
	kept->log = next;
}

static void copy_events(uint64_t next)
{
	uint64_t n = next - kept->events > MW_EVENTS ? next - MW_EVENTS : kept->events;

	for (; n < next; n++)
		copy((void *)(mw_uintptr)tele_event(&theirs, n), (const void *)(mw_uintptr)tele_event(&ins.tele, n), sizeof(struct mw_event), n + 1);
	kept->events = next;
}

/* Totals, behind what they count. The worker's number is of this machine, and nobody there. */
void mirror_round(void)
{
	const struct mw_tele *t = observe_header();
	struct mw_tele *to = (struct mw_tele *)memory_tele;
	const size_t from = offsetof(struct mw_tele, slots_high);

	if (!to)
		return;
	copy_events(t->event_next);
	copy_log(t->log_next);
	copy_flows();
	memcpy((uint8_t *)to + from, (const uint8_t *)t + from, offsetof(struct mw_tele, worker_pid) - from);
	mw_store(&to->workers, t->workers);
	mw_store(&to->upgrades, t->upgrades);
	mw_store_release(&to->log_next, t->log_next);
	mw_store_release(&to->event_next, t->event_next);
}
