// SPDX-License-Identifier: Apache-2.0
/*
 * flow_fuzz.c - libFuzzer target: telemetry's memory and the arena as a hostile INS leaves them, to all that reads flows and events.
 * Trust: none. The first bytes are the headers' sizes; then each 10 bytes are a place and what is there. What is read is told as JSON,
 * whose every line is an object.
 */
#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctl/top_rows.h"
#include "link/memfd.h"
#include "telem/flow.h"
#include "test/fuzz/input.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

#define SLOTS 64u

static int arena_fd, tele_fd, samples_fd;
static struct mw_view arena;
static struct mw_tele_view tele;
static uint8_t *samples;
static char line[FLOW_LINE_BYTES];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	void *at;

	(void)argc;
	(void)argv;
	arena_fd = memfd_make(&arena, SLOTS, MW_RING_BYTES_MIN, MW_RING_BYTES_MIN);
	tele_fd = memfd_make_tele(&tele, SLOTS);
	samples_fd = memfd_make_plain("samples", SAMPLES_BYTES, &at);
	samples = at;
	must(arena_fd >= 0 && tele_fd >= 0 && samples_fd >= 0);
	return 0;
}

/* Words of the parts that are read, and few others: slots, flows, the log, events, samples of the first slots. */
static uint64_t *word(uint8_t part, uint8_t at, uint16_t more)
{
	uint8_t *base = (uint8_t *)MW_WORD(tele.base);

	switch (part % 8) {
	case 0: return (uint64_t *)(void *)base + at % (MW_PAGE / 8);
	case 1: return (uint64_t *)(mw_uintptr)tele_event(&tele, at % 4) + more % (sizeof(struct mw_event) / 8);
	case 2: return (uint64_t *)(mw_uintptr)tele_log(&tele, at % 4) + more % (sizeof(struct mw_log_entry) / 8);
	case 3: return (uint64_t *)MW_WORD(arena.base) + at % 8; /* sizes */
	case 4: return (uint64_t *)(mw_uintptr)arena_slot(&arena, at % 4) + more % (sizeof(struct mw_slot) / 8);
	case 5: return (uint64_t *)(void *)(samples + SAMPLES_OFFSET) + at % 4 * sizeof(struct sample) / 8 + more % (sizeof(struct sample) / 8);
	default: return (uint64_t *)(mw_uintptr)tele_flow(&tele, at % 4) + more % (sizeof(struct mw_flow) / 8);
	}
}

static void told(size_t n)
{
	json_t *j;

	must(n && n < sizeof(line) && line[n - 1] == '\n');
	j = json_loadb(line, n, JSON_DECODE_INT_AS_REAL, NULL);
	must(json_is_object(j));
	json_decref(j);
}

static void shown(const char *name, const char *value, const char *help, void *arg)
{
	must(name && help && strlen(value) && !strchr(value, 27));
	++*(size_t *)arg;
}

static void told_of(const char *event, const struct flow *f)
{
	size_t fields = 0;

	told(flow_line(event, f, line));
	top_fields(f, 1800000000ull * 1000000000u, shown, &fields);
	must(fields == flow_field_count);
}

static void read_all(const struct flow_view *v)
{
	static struct flow f;
	struct mw_event e;

	for (uint32_t i = 0; i < flow_slots_high(v) && i < 4; i++)
		if (flow_id(v, i) && flow_read(v, i, &f))
			told_of("open", &f);
	for (uint64_t n = flow_closed_count(v), i = 0; i < 4; i++)
		if (flow_read_closed(v, i ? i - 1 : n - 1, &f))
			told_of("closed", &f);
	for (uint64_t n = flow_events(v), i = 0; i < 4; i++)
		if (flow_event(v, i ? i - 1 : n - 1, &e))
			told(flow_event_line("app", &e, line));
	for (uint32_t i = 0; i < flow_lingers_high(v) && i < 2; i++)
		if (flow_read_linger(v, i, &f))
			told_of(NULL, &f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	struct { uint64_t *at, was; } written[128];
	struct flow_view v = { .ins = 1 };
	size_t count = 0;

	mw_store(MW_WORD(&tele_header(&tele)->slots_high), next_byte(&in) + 0u);
	while (in.at < in.end && count < 128) {
		uint8_t part = next_byte(&in), at = next_byte(&in);
		uint64_t *w = word(part, at, next_byte(&in));

		written[count].at = w;
		written[count++].was = *w;
		*w = part & 128 ? next_lie(&in, *w) : next_byte(&in);
	}
	for (uint32_t i = 0; i < 4; i++) /* telemetry alone writes them */
		((struct sample *)(void *)(samples + SAMPLES_OFFSET))[i].cong[15] = 0;
	if (flow_map(&v, "app", arena_fd, tele_fd, samples_fd) == 0) {
		read_all(&v);
		flow_unmap(&v);
	}
	while (count--)
		*written[count].at = written[count].was;
	return 0;
}
