/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.c beside a naive model: a list that is walked. Prefixes of few bits and few addresses, so that they nest and collide.
 * Trust: the model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "ins/peers.h"

#define MOST 500

static struct peers table;

static struct {
	uint8_t bytes[16]; /* IPv4: ::ffff:a.b.c.d */
	uint32_t bits, tag; /* of the 128 */
	uint64_t id;
} model[MOST];
static uint32_t model_count;

static uint32_t any(uint32_t below)
{
	static uint64_t seed = 88172645463325252ull;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % below;
}

/* An address of any of three kinds, and how many bits of it. */
static uint32_t any_address(struct mw_addr *a)
{
	uint8_t *at = a->addr;

	memset(a, 0, sizeof(*a));
	switch (any(3)) {
	case 0:
		a->family = MW_FAMILY_IP4;
		break;
	case 1:
		a->family = MW_FAMILY_IP6;
		memset(at + 10, 0xff, 2);
		at += 12;
		break;
	default:
		a->family = MW_FAMILY_IP6;
		at[0] = 0x20;
		at[15] = (uint8_t)any(4);
	}
	at[0] |= (uint8_t)(any(2) << 7);
	at[1] = (uint8_t)(any(4) << 6);
	at[3] |= (uint8_t)any(8);
	return a->family == MW_FAMILY_IP4 ? any(33) : at == a->addr + 12 ? 96 + any(33) : any(8) ? any(129) : 128;
}

/* The 128 bits that stand for it in the model, whose IPv4 space no shorter prefix reaches. */
static void flatten(uint8_t flat[16], const struct mw_addr *a)
{
	memcpy(flat, a->addr, 16);
	if (a->family != MW_FAMILY_IP4)
		return;
	memset(flat, 0, 10);
	memset(flat + 10, 0xff, 2);
	memcpy(flat + 12, a->addr, 4);
}

static bool is_four(const uint8_t flat[16])
{
	return !memcmp(flat, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
}

static bool equal_bits(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
	for (uint32_t i = 0; i < bits; i++)
		if ((a[i / 8] ^ b[i / 8]) & (0x80 >> i % 8))
			return false;
	return true;
}

static uint32_t find(const uint8_t flat[16], uint32_t bits, uint32_t tag)
{
	uint32_t i = 0;

	while (i < model_count && !(model[i].bits == bits && model[i].tag == tag && equal_bits(model[i].bytes, flat, bits)))
		i++;
	return i;
}

static uint64_t longest(const uint8_t flat[16])
{
	uint64_t id = 0;
	uint32_t best = 0;

	for (uint32_t i = 0; i < model_count; i++) {
		if (model[i].tag || !equal_bits(model[i].bytes, flat, model[i].bits) || (id && model[i].bits < best) ||
		    (is_four(flat) && model[i].bits < 96))
			continue;
		id = model[i].id;
		best = model[i].bits;
	}
	return id;
}

static void change(uint64_t id, uint32_t tag)
{
	struct mw_addr a;
	uint32_t bits = any_address(&a), all, i;
	struct peers_value *v;
	struct peers_prefix p;
	uint8_t flat[16];

	assert_int_equal(peers_prefix_of(&p, &a, bits), 0);
	p.tag = (uint16_t)tag;
	flatten(flat, &a);
	all = a.family == MW_FAMILY_IP4 ? bits + 96 : bits;
	i = find(flat, all, tag);
	v = peers_find(&table, &p);
	assert_int_equal(v ? v->id : 0, i < model_count ? model[i].id : 0);
	if (any(2) && i < model_count) {
		peers_remove(&table, &p);
		model[i] = model[--model_count];
		return;
	}
	v = peers_add(&table, &p);
	if (i == model_count && model_count == MOST) {
		assert_null(v);
		return;
	}
	assert_non_null(v);
	v->id = id;
	memcpy(model[i].bytes, flat, 16);
	model[i].bits = all;
	model[i].tag = tag;
	model[i].id = id;
	model_count += i == model_count;
}

static void make(uint32_t most, uint64_t seed)
{
	void *memory = calloc(1, peers_bytes(most));

	assert_non_null(memory);
	peers_init(&table, memory, most, seed);
}

static void as_the_model(void **state)
{
	void *spare = malloc(peers_bytes(MOST));
	struct peers_value *v;
	struct mw_addr a;
	uint8_t flat[16];

	(void)state;
	make(MOST, 7);
	for (uint64_t i = 1; i < 200000; i++) {
		change(i, any(4) ? 0 : any(3));
		if (i % 1000 == 0) { /* another process has the memory alone, and what was in it is found again */
			peers_init(&table, table.at, MOST, 7);
			peers_recover(&table, spare);
		}
		any_address(&a);
		flatten(flat, &a);
		v = peers_match(&table, &a);
		assert_int_equal(v ? v->id : 0, longest(flat));
		assert_int_equal(table.used, model_count);
	}
	free(spare);
	free(table.at);
}

static void refused(void **state)
{
	struct mw_addr a = { .family = MW_FAMILY_IP4 };
	struct peers_prefix p;

	(void)state;
	assert_int_equal(peers_prefix_of(&p, &a, 33), -EINVAL);
	a.family = MW_FAMILY_IP6;
	assert_int_equal(peers_prefix_of(&p, &a, 129), -EINVAL);
	a.family = 5;
	assert_int_equal(peers_prefix_of(&p, &a, 0), -EINVAL);
}

/* Nothing more fits, what is there stays, and a place that is given back is used again. */
static void full(void **state)
{
	struct mw_addr a = { .family = MW_FAMILY_IP4 };
	struct peers_prefix p;

	(void)state;
	make(65536, 3);
	for (uint32_t i = 0; i <= 65536; i++) {
		memcpy(a.addr, &i, sizeof(i));
		assert_int_equal(peers_prefix_of(&p, &a, 32), 0);
		assert_int_equal(peers_add(&table, &p) != NULL, i < 65536);
	}
	assert_null(peers_match(&table, &a));
	memset(a.addr, 0, 4);
	assert_non_null(peers_match(&table, &a));
	peers_prefix_of(&p, &a, 32);
	peers_remove(&table, &p);
	peers_remove(&table, &p);
	assert_null(peers_match(&table, &a));
	assert_non_null(peers_add(&table, &p));
	free(table.at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_model),
		cmocka_unit_test(refused),
		cmocka_unit_test(full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
