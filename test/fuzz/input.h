/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input.h - what fuzz targets share: the input as a stream of choices, and what must hold.
 * Trust: none. An input that has ended goes on as zeros.
 */
#ifndef MW_TEST_FUZZ_INPUT_H
#define MW_TEST_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct input {
	const uint8_t *at, *end;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The line is said: the compiler makes one abort() of many. */
#define must(good) must_at(good, __FILE__, __LINE__)
static inline void must_at(bool good, const char *where, int line)
{
	if (good)
		return;
	fprintf(stderr, "%s:%d: does not hold\n", where, line);
	abort();
}

static inline size_t input_left(const struct input *in)
{
	return (size_t)(in->end - in->at);
}

static inline uint8_t next_byte(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static inline void next_bytes(struct input *in, void *to, size_t n)
{
	size_t have = input_left(in) < n ? input_left(in) : n;

	memcpy(to, in->at, have);
	memset((uint8_t *)to + have, 0, n - have);
	in->at += have;
}

static inline uint32_t next_u32(struct input *in)
{
	uint32_t v;

	next_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint64_t next_u64(struct input *in)
{
	uint64_t v;

	next_bytes(in, &v, sizeof(v));
	return v;
}

/* A lie near the truth, or far from it. */
static inline uint64_t next_lie(struct input *in, uint64_t truth)
{
	uint8_t how = next_byte(in);

	return how & 1 ? next_u64(in) : truth + (how >> 1) - 64u;
}

/* All that is left, as a string on the heap: its end is where the sanitizer looks. */
static inline char *rest_text(struct input *in)
{
	size_t n = input_left(in);
	char *text = malloc(n + 1);

	must(text != NULL);
	next_bytes(in, text, n);
	text[n] = 0;
	return text;
}

#endif
