// SPDX-License-Identifier: Apache-2.0
/*
 * diag_test.c - records of NETLINK_SOCK_DIAG: what is taken from good ones, and that wrong lengths are not believed.
 * Trust: none needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include "telem/diag.h"

#define SEQ 42u

static uint8_t record[4096];
static size_t bytes;
static struct diag found[8];
static int count;

static void seen(void *arg, const struct diag *d)
{
	assert_ptr_equal(arg, record);
	assert_in_range(count, 0, 7);
	found[count++] = *d;
}

/* From memory that ends where the record does. */
static enum diag_end parse(size_t n)
{
	uint8_t *copy = malloc(n + !n);
	enum diag_end end;

	assert_non_null(copy);
	memcpy(copy, record, n);
	count = 0;
	end = diag_parse(copy, n, SEQ, seen, record);
	free(copy);
	return end;
}

static struct nlmsghdr *begin(uint16_t type, uint32_t seq)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)(record + bytes);

	*h = (struct nlmsghdr){ .nlmsg_len = sizeof(*h), .nlmsg_type = type, .nlmsg_seq = seq };
	bytes += sizeof(*h);
	return h;
}

static void put(struct nlmsghdr *h, const void *p, size_t n)
{
	memcpy(record + bytes, p, n);
	bytes += NLMSG_ALIGN(n);
	h->nlmsg_len += (uint32_t)NLMSG_ALIGN(n);
}

static void attribute(struct nlmsghdr *h, uint16_t type, const void *p, size_t n)
{
	struct rtattr a = { .rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(n) };

	put(h, &a, sizeof(a));
	put(h, p, n);
}

static struct nlmsghdr *socket_of(uint8_t state, uint32_t cookie, uint32_t rqueue, uint32_t wqueue)
{
	struct inet_diag_msg m = { .idiag_state = state, .idiag_timer = 4, .idiag_retrans = 3, .idiag_expires = 500, .idiag_rqueue = rqueue,
				   .idiag_wqueue = wqueue, .id.idiag_cookie = { cookie, 1 } };
	struct nlmsghdr *h = begin(SOCK_DIAG_BY_FAMILY, SEQ);

	put(h, &m, sizeof(m));
	return h;
}

static void whole(void **state)
{
	struct tcp_info i = { .tcpi_rtt = 1000, .tcpi_rttvar = 10, .tcpi_min_rtt = UINT32_MAX, .tcpi_snd_cwnd = 9, .tcpi_snd_mss = 1400,
			      .tcpi_unacked = 2, .tcpi_notsent_bytes = 300, .tcpi_busy_time = 7, .tcpi_rwnd_limited = 6,
			      .tcpi_snd_wnd = 55, .tcpi_delivery_rate = 1ull << 40, .tcpi_total_retrans = 4 };
	uint32_t memory[SK_MEMINFO_VARS] = { 1, 2, 4, 8, 16, 32, 64, 128, 256 };
	uint8_t info[240] = { 0 };
	uint32_t wnd = 77;
	struct nlmsghdr *h;

	(void)state;
	bytes = 0;
	memcpy(info, &i, sizeof(i) < sizeof(info) ? sizeof(i) : sizeof(info));
	memcpy(info + 232, &wnd, sizeof(wnd));
	h = socket_of(1, 5, 11, 1000);
	attribute(h, INET_DIAG_SKMEMINFO, memory, sizeof(memory));
	attribute(h, INET_DIAG_INFO, info, sizeof(info));
	attribute(h, INET_DIAG_CONG, "cubic", 6);
	attribute(h, 99, "?", 1);
	assert_int_equal(parse(bytes), DIAG_MORE);
	assert_int_equal(count, 1);
	assert_int_equal(found[0].cookie, 1ull << 32 | 5);
	assert_int_equal(found[0].s.kernel_state, 1);
	assert_int_equal(found[0].s.timer, DIAG_PROBES);
	assert_int_equal(found[0].s.timer_ms, 500);
	assert_int_equal(found[0].s.backoff, 3);
	assert_int_equal(found[0].s.rqueue, 11);
	assert_int_equal(found[0].s.notsent, 300);
	assert_int_equal(found[0].s.unacked, 700);
	assert_int_equal(found[0].s.unacked_segs, 2);
	assert_int_equal(found[0].s.rtt_us, 1000);
	assert_int_equal(found[0].s.min_rtt_us, 0);
	assert_int_equal(found[0].s.busy_ns, 7000);
	assert_int_equal(found[0].s.rwnd_limited_ns, 6000);
	assert_int_equal(found[0].s.snd_wnd, 55);
	assert_int_equal(found[0].s.rcv_wnd, 77);
	assert_int_equal(found[0].s.delivery_rate, 1ull << 40);
	assert_int_equal(found[0].s.mem, 1 + 16 + 32 + 64 + 128);
	assert_int_equal(found[0].s.rcvbuf, 2);
	assert_int_equal(found[0].s.sndbuf, 8);
	assert_string_equal(found[0].s.cong, "cubic");
}

/* A listener's queues are connections, and tcp_info means something else of it. */
static void listener(void **state)
{
	struct tcp_info i = { .tcpi_unacked = 3, .tcpi_sacked = 128 };
	struct nlmsghdr *h;

	(void)state;
	bytes = 0;
	h = socket_of(DIAG_LISTEN, 5, 3, 128);
	attribute(h, INET_DIAG_INFO, &i, sizeof(i));
	assert_int_equal(parse(bytes), DIAG_MORE);
	assert_int_equal(found[0].s.backlog, 3);
	assert_int_equal(found[0].s.backlog_max, 128);
	assert_int_equal(found[0].s.unacked_segs + found[0].s.unacked + found[0].s.rqueue, 0);
}

static void ends(void **state)
{
	(void)state;
	bytes = 0;
	socket_of(1, 5, 0, 0);
	begin(NLMSG_DONE, SEQ - 1); /* another question's */
	begin(NLMSG_ERROR, SEQ - 1);
	socket_of(6, 6, 0, 0);
	begin(NLMSG_DONE, SEQ);
	assert_int_equal(parse(bytes), DIAG_DONE);
	assert_int_equal(count, 2);
	assert_int_equal(found[1].s.kernel_state, DIAG_TIME_WAIT);
	bytes = 0;
	begin(NLMSG_ERROR, SEQ);
	assert_int_equal(parse(bytes), DIAG_FAILED);
	assert_int_equal(parse(0), DIAG_MORE);
}

/* Cut anywhere, and with every length of the first attribute and of the message. */
static void lengths(void **state)
{
	struct tcp_info i = { .tcpi_rtt = 1 };
	struct nlmsghdr *h;
	struct rtattr *a;
	size_t end;

	(void)state;
	bytes = 0;
	h = socket_of(1, 5, 0, 0);
	a = (struct rtattr *)(void *)(record + bytes);
	attribute(h, INET_DIAG_CONG, "a name that is far too long", 27);
	attribute(h, INET_DIAG_INFO, &i, sizeof(i));
	end = bytes;
	for (size_t n = 0; n < end; n++)
		assert_int_equal(parse(n), n < sizeof(*h) ? DIAG_MORE : DIAG_FAILED);
	assert_int_equal(parse(end), DIAG_MORE);
	assert_string_equal(found[0].s.cong, "a name that is ");
	assert_int_equal(found[0].s.rtt_us, 1);
	for (uint32_t n = 0; n <= UINT16_MAX; n++) {
		a->rta_len = (uint16_t)n;
		assert_int_equal(parse(end), DIAG_MORE);
		assert_int_equal(count, 1);
	}
	for (uint32_t n = 0; n < end + 100; n++) {
		h->nlmsg_len = n;
		parse(end);
	}
	h->nlmsg_len = UINT32_MAX;
	assert_int_equal(parse(end), DIAG_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(whole), cmocka_unit_test(listener), cmocka_unit_test(ends),
					    cmocka_unit_test(lengths) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
