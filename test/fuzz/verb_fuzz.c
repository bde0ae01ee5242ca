// SPDX-License-Identifier: Apache-2.0
/*
 * verb_fuzz.c - libFuzzer target: whatever an INS answers to the verbs that telemetry asks it to carry out.
 * Trust: none. Each question is answered at most once, by a record that names it, with no more bytes than came,
 * and 0 or an errno.
 */
#include <unistd.h>

#include "telem/verbs.c"

#include "test/fuzz/input.h"

#define ASKED 128

static struct {
	uint32_t verb;
	bool answered;
} question[ASKED];
static uint32_t count;
static volatile uint8_t sum;
static int far; /* the INS's end */

/* --- what mw-telem has beside it --- */

int loop_add(struct watch *w, uint32_t events)
{
	must(w && events);
	return 0;
}

void loop_change(struct watch *w, uint32_t events)
{
	must(w && events & EPOLLIN);
}

uint64_t loop_now_ns(void)
{
	return 0;
}

void metric_verb(uint32_t verb, int32_t status)
{
	(void)status; /* counted by its sign */
	must(verb && verb < VERB_NUM);
}

/* --- the target --- */

static void told(void *arg, const struct verb_msg *m, const uint8_t *value)
{
	size_t i = (size_t)(uintptr_t)arg;

	must(i < count && !question[i].answered && m->bytes <= VERB_VALUE_MAX && m->status <= 0 && m->status >= -4095);
	question[i].answered = true;
	sum ^= m->bytes ? value[m->bytes - 1] : 0; /* it is read */
}

static void ask_one(struct input *in)
{
	struct verb_msg m = { .verb = 1 + next_byte(in) % (VERB_NUM - 1), .bytes = next_byte(in) };
	uint8_t value[VERB_VALUE_MAX] = { 0 };

	if (count == ASKED)
		return;
	question[count].verb = m.verb;
	question[count].answered = false;
	count++;
	must(verbs_ask(&m, value, told, (void *)(uintptr_t)(count - 1)) == 0);
}

/* The record that was asked first, with lies, or any. */
static void answer_one(struct input *in)
{
	uint8_t record[sizeof(struct verb_msg) + 2 * VERB_VALUE_MAX] = { 0 }, how = next_byte(in);
	ssize_t n = recv(far, record, sizeof(record), MSG_DONTWAIT);
	struct verb_msg *m = (void *)record;

	if (how & 1)
		m->seq = last_seq - next_byte(in);
	m->status = (int32_t)next_byte(in) - 128;
	if (how & 2)
		m->bytes = next_u32(in);
	if (how & 4)
		next_bytes(in, record + next_byte(in), 8);
	n = how & 8 ? next_byte(in) : n < 0 ? (ssize_t)sizeof(*m) : n + (how & 16 ? next_byte(in) : 0);
	send(far, record, (size_t)n, MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	count = 0;
	far = pair[1];
	verbs_init();
	ins.fd = pair[0];
	while (in.at < in.end) {
		uint8_t op = next_byte(&in);

		if (op & 1)
			ask_one(&in);
		else
			answer_one(&in);
		if (op & 2)
			on_ins(&ins, EPOLLIN);
	}
	on_ins(&ins, EPOLLIN);
	must(in_flight <= VERBS_IN_FLIGHT);
	while (under_way || waiting) {
		struct asked *a = under_way ? under_way : waiting;

		*(under_way ? &under_way : &waiting) = a->next;
		free(a);
	}
	waiting_end = &waiting;
	in_flight = 0;
	close(pair[0]);
	close(pair[1]);
	return 0;
}
