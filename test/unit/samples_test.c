// SPDX-License-Identifier: Apache-2.0
/*
 * samples_test.c - who is a suspect, what two looks say together, whose a cookie is, and copies that are whole.
 * Trust: none needed.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chan/msg.h"
#include "telem/history.h"
#include "telem/sample.h"
#include "telem/suspect.h"

#define S   1000000000ull
#define NOW (1000 * S)

static struct flow flow_now(void)
{
	struct flow f = { .f = { .id = 7, .type = MW_TYPE_STREAM, .state = MW_ST_ESTABLISHED, .listener = 3, .opened_ns = NOW - 10 * S,
				 .first_rx_ns = NOW - 9 * S, .last_rx_ns = NOW, .last_tx_ns = NOW } };

	return f;
}

static void suspects(void **state)
{
	struct flow f = flow_now();

	(void)state;
	assert_int_equal(suspect(&f, NOW + S), 0);
	assert_int_equal(suspect(&f, NOW + S + 1), SUSPECT_SILENT);
	f.unread = 1;
	f.unsent = 1;
	assert_int_equal(suspect(&f, NOW + S), 0);
	assert_int_equal(suspect(&f, NOW + 2 * S), SUSPECT_SILENT | SUSPECT_UNREAD | SUSPECT_UNSENT);
	f.f.last_tx_ns = NOW + 2 * S;
	assert_int_equal(suspect(&f, NOW + 2 * S), SUSPECT_UNREAD);

	f = flow_now();
	f.f.head = MW_HEAD_PARTIAL;
	assert_int_equal(suspect(&f, NOW), SUSPECT_HEAD);
	f.f.first_rx_ns = NOW - S / 2;
	assert_int_equal(suspect(&f, NOW), 0);

	f = flow_now();
	f.f.first_rx_ns = f.f.last_rx_ns = 0;
	assert_int_equal(suspect(&f, NOW), SUSPECT_NO_BYTE);
	f.f.listener = 0; /* one that it made itself: its peer need not speak first */
	assert_int_equal(suspect(&f, NOW), 0);
}

static void by_kernel(void **state)
{
	struct flow f = flow_now();

	(void)state;
	f.s = (struct sample){ .zero_since_ns = 1, .timer = 1, .backoff = 1, .rqueue = 1, .notsent = 1 };
	assert_int_equal(suspect(&f, NOW), 0); /* no sample of it */
	f.s.id = 7;
	assert_int_equal(suspect(&f, NOW), SUSPECT_ZERO_WINDOW | SUSPECT_RETRANSMIT);
	f.f.last_rx_ns = f.f.last_tx_ns = NOW - 2 * S;
	assert_int_equal(suspect(&f, NOW), SUSPECT_ZERO_WINDOW | SUSPECT_RETRANSMIT | SUSPECT_UNREAD | SUSPECT_UNSENT | SUSPECT_SILENT);
	f.f.state = MW_ST_LISTEN;
	assert_int_equal(suspect(&f, NOW), 0);
	f.f.state = MW_ST_CLOSING;
	f.f.type = MW_TYPE_DGRAM;
	assert_int_equal(suspect(&f, NOW), 0);
}

static struct sample look(uint32_t kernel_state, uint32_t window, uint32_t timer)
{
	return (struct sample){ .kernel_state = kernel_state, .snd_wnd = window, .timer = timer, .min_rtt_us = 50000 };
}

static void zero_window(void **state)
{
	struct mw_flow f = flow_now().f;
	struct sample none = { 0 }, a = look(1, 0, 0), b = look(1, 10, DIAG_PROBES), open = look(1, 10, 0), again = look(8, 0, 0);

	(void)state;
	sample_complete(&a, &none, &f, NOW);
	assert_int_equal(a.id, 7);
	assert_int_equal(a.syn_ns, f.opened_ns - 50000000);
	assert_int_equal(a.zero_since_ns, NOW);
	assert_int_equal(a.zero_ns, 0);
	b.min_rtt_us = 1; /* the first estimate stays */
	sample_complete(&b, &a, &f, NOW + 3 * S);
	assert_int_equal(b.syn_ns, a.syn_ns);
	assert_int_equal(b.zero_since_ns, NOW);
	assert_int_equal(b.zero_ns, 3 * S);
	sample_complete(&open, &b, &f, NOW + 4 * S);
	assert_int_equal(open.zero_since_ns, 0);
	assert_int_equal(open.zero_ns, 3 * S);
	sample_complete(&again, &open, &f, NOW + 5 * S);
	assert_int_equal(again.zero_since_ns, NOW + 5 * S);
	assert_int_equal(again.zero_ns, 3 * S);
	b = look(2, 0, 0); /* it is only connecting */
	sample_complete(&b, &none, &f, NOW);
	assert_int_equal(b.zero_since_ns, 0);
	b = look(1, 0, 0);
	again.id = 8; /* the slot's former connection */
	sample_complete(&b, &again, &f, NOW + 6 * S);
	assert_int_equal(b.zero_ns, 0);
	assert_int_equal(b.zero_since_ns, NOW + 6 * S);
	f.listener = 0;
	b = look(1, 1, 0);
	sample_complete(&b, &none, &f, NOW);
	assert_int_equal(b.syn_ns, f.opened_ns);
}

static void time_wait(void **state)
{
	struct mw_flow f = flow_now().f;
	struct sample last = { .id = 7, .time_ns = NOW, .kernel_state = 5, .rtt_us = 5, .mem = 9, .zero_since_ns = 1, .zero_ns = 2 };
	struct sample now = { .kernel_state = DIAG_TIME_WAIT, .timer = 3, .timer_ms = 60000 };

	(void)state;
	sample_complete(&now, &last, &f, NOW + S);
	assert_int_equal(now.kernel_state, DIAG_TIME_WAIT);
	assert_int_equal(now.rtt_us, 5);
	assert_int_equal(now.timer_ms, 60000);
	assert_int_equal(now.time_ns, NOW + S);
	assert_int_equal(now.mem + now.zero_since_ns, 0);
	assert_int_equal(now.zero_ns, 2);
}

static void cookies(void **state)
{
	(void)state;
	cookies_clear(0);
	assert_null(cookies_find(1));
	cookies_put(0, 1, 1); /* the kernel has not numbered it */
	assert_null(cookies_find(0));
	cookies_clear(70000);
	for (uint64_t i = 1; i <= 70000; i++)
		cookies_put(i << 7, i, (uint32_t)i);
	for (uint64_t i = 1; i <= 70000; i++) {
		assert_non_null(cookies_find(i << 7));
		assert_int_equal(cookies_find(i << 7)->id, i);
	}
	assert_null(cookies_find(3));
	cookies_put(1 << 7, 9, 9);
	assert_int_equal(cookies_find(1 << 7)->id, 1);
	cookies_clear(3);
	assert_null(cookies_find(1 << 7));
	for (uint64_t i = 1; i <= 1000; i++) /* more than was said */
		cookies_put(i, i, 1);
	assert_null(cookies_find(2000));
}

static struct sample shared;
static uint32_t finished;

static void *write_all(void *arg)
{
	(void)arg;
	for (uint32_t i = 1; i <= 300000; i++) {
		struct sample s;

		memset(&s, (int)(i & 0xff), sizeof(s));
		s.id = 1;
		sample_store(&shared, &s);
	}
	mw_store_release(&finished, 1u);
	return NULL;
}

static void whole_copies(void **state)
{
	uint64_t good = 0;
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_all, NULL), 0);
	while (!mw_load_acquire(&finished) || !good) {
		struct sample s;

		if (!sample_load(&shared, 1, &s))
			continue;
		good++;
		assert_memory_equal(&s.time_ns, &s.syn_ns, sizeof(s) - offsetof(struct sample, syn_ns));
		assert_false(sample_load(&shared, 2, &s));
	}
	pthread_join(writer, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(suspects), cmocka_unit_test(by_kernel), cmocka_unit_test(zero_window),
					    cmocka_unit_test(time_wait), cmocka_unit_test(cookies), cmocka_unit_test(whole_copies) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
