// SPDX-License-Identifier: Apache-2.0
/*
 * diag.c - see diag.h. Records: linux/inet_diag.h and sock_diag(7); struct tcp_info is as long as the kernel is new.
 * Trust: as in the header.
 */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "telem/diag.h"

#define SYN_RECV 3 /* not a socket yet */
#define EXT(a)   (1u << ((a) - 1))

#define INFO_RCV_WND 232u /* tcpi_rcv_wnd, since Linux 6.2 */
MW_ASSERT(offsetof(struct tcp_info, tcpi_snd_wnd) == INFO_RCV_WND - 4, "where tcpi_rcv_wnd would be");

int diag_ask(int fd, int family, uint32_t seq, bool time_wait)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 q;
	} m = { .h = { .nlmsg_len = sizeof(m), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		       .nlmsg_seq = seq },
		.q = { .sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP,
		       .idiag_ext = EXT(INET_DIAG_INFO) | EXT(INET_DIAG_CONG) | EXT(INET_DIAG_SKMEMINFO),
		       .idiag_states = ((1u << DIAG_STATES) - 1) & ~(1u << SYN_RECV) & ~(time_wait ? 0 : 1u << DIAG_TIME_WAIT) } };

	return send(fd, &m, sizeof(m), MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void take_info(struct sample *s, const void *data, size_t n)
{
	struct tcp_info i = { 0 };

	memcpy(&i, data, n < sizeof(i) ? n : sizeof(i));
	if (n >= INFO_RCV_WND + sizeof(s->rcv_wnd))
		memcpy(&s->rcv_wnd, (const uint8_t *)data + INFO_RCV_WND, sizeof(s->rcv_wnd));
	s->rtt_us = i.tcpi_rtt;
	s->rttvar_us = i.tcpi_rttvar;
	s->min_rtt_us = i.tcpi_min_rtt == UINT32_MAX ? 0 : i.tcpi_min_rtt;
	s->rto_us = i.tcpi_rto;
	s->retransmits = i.tcpi_total_retrans;
	s->lost = i.tcpi_lost;
	s->unacked_segs = i.tcpi_unacked;
	s->notsent = i.tcpi_notsent_bytes;
	s->cwnd = i.tcpi_snd_cwnd;
	s->mss = i.tcpi_snd_mss;
	s->snd_wnd = i.tcpi_snd_wnd;
	s->busy_ns = i.tcpi_busy_time * 1000;
	s->rwnd_limited_ns = i.tcpi_rwnd_limited * 1000;
	s->sndbuf_limited_ns = i.tcpi_sndbuf_limited * 1000;
	s->delivery_rate = i.tcpi_delivery_rate;
	s->bytes_acked = i.tcpi_bytes_acked;
	s->tx_rate = rate_of(s->bytes_acked, s->busy_ns);
	s->bytes_received = i.tcpi_bytes_received;
	s->bytes_sent = i.tcpi_bytes_sent;
	s->bytes_retrans = i.tcpi_bytes_retrans;
	s->last_sent_ms = i.tcpi_last_data_sent;
	s->last_received_ms = i.tcpi_last_data_recv;
	s->last_ack_ms = i.tcpi_last_ack_recv;
}

static void take_memory(struct sample *s, const void *data, size_t n)
{
	uint32_t m[SK_MEMINFO_VARS] = { 0 };

	memcpy(m, data, n < sizeof(m) ? n : sizeof(m));
	s->rmem = m[SK_MEMINFO_RMEM_ALLOC];
	s->wmem = m[SK_MEMINFO_WMEM_QUEUED];
	s->rcvbuf = m[SK_MEMINFO_RCVBUF];
	s->sndbuf = m[SK_MEMINFO_SNDBUF];
	s->mem = s->rmem + s->wmem + m[SK_MEMINFO_FWD_ALLOC] + m[SK_MEMINFO_OPTMEM] + m[SK_MEMINFO_BACKLOG];
}

static void take_cong(struct sample *s, const void *data, size_t n)
{
	memcpy(s->cong, data, n < sizeof(s->cong) ? n : sizeof(s->cong) - 1);
	s->cong[sizeof(s->cong) - 1] = 0;
}

static void take_attributes(struct sample *s, const uint8_t *p, size_t n)
{
	while (n >= sizeof(struct rtattr)) {
		struct rtattr a;
		size_t step, bytes;

		memcpy(&a, p, sizeof(a));
		if (a.rta_len < sizeof(a) || a.rta_len > n)
			return;
		bytes = a.rta_len - sizeof(a);
		if (a.rta_type == INET_DIAG_INFO && s->kernel_state != DIAG_LISTEN)
			take_info(s, p + sizeof(a), bytes);
		else if (a.rta_type == INET_DIAG_SKMEMINFO)
			take_memory(s, p + sizeof(a), bytes);
		else if (a.rta_type == INET_DIAG_CONG)
			take_cong(s, p + sizeof(a), bytes);
		step = RTA_ALIGN(a.rta_len);
		step = step < n ? step : n;
		p += step;
		n -= step;
	}
}

/* The send queue counts from the oldest byte that is not acknowledged to the last one written. */
static void take_socket(struct diag *d, const struct inet_diag_msg *m, const uint8_t *attributes, size_t n)
{
	memset(d, 0, sizeof(*d));
	d->cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0];
	d->s.kernel_state = m->idiag_state;
	d->s.timer = m->idiag_timer;
	d->s.timer_ms = m->idiag_expires;
	d->s.backoff = m->idiag_retrans;
	take_attributes(&d->s, attributes, n);
	if (m->idiag_state == DIAG_LISTEN) {
		d->s.backlog = m->idiag_rqueue;
		d->s.backlog_max = m->idiag_wqueue;
		return;
	}
	d->s.rqueue = m->idiag_rqueue;
	d->s.unacked = m->idiag_wqueue > d->s.notsent ? m->idiag_wqueue - d->s.notsent : 0;
}

enum diag_end diag_parse(const void *record, size_t bytes, uint32_t seq, void (*fn)(void *arg, const struct diag *d), void *arg)
{
	const uint8_t *p = record;

	while (bytes >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr h;
		struct inet_diag_msg m;
		struct diag d;
		size_t step;

		memcpy(&h, p, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > bytes)
			return DIAG_FAILED;
		if (h.nlmsg_seq == seq && h.nlmsg_type == NLMSG_DONE)
			return DIAG_DONE;
		if (h.nlmsg_seq == seq && h.nlmsg_type == NLMSG_ERROR)
			return DIAG_FAILED;
		if (h.nlmsg_seq == seq && h.nlmsg_type == SOCK_DIAG_BY_FAMILY && h.nlmsg_len >= sizeof(h) + sizeof(m)) {
			memcpy(&m, p + sizeof(h), sizeof(m));
			take_socket(&d, &m, p + sizeof(h) + sizeof(m), h.nlmsg_len - sizeof(h) - sizeof(m));
			fn(arg, &d);
		}
		step = NLMSG_ALIGN(h.nlmsg_len);
		step = step < bytes ? step : bytes;
		p += step;
		bytes -= step;
	}
	return DIAG_MORE;
}

const char *diag_state_name(uint32_t kernel_state)
{
	static const char *const names[] = { "none", "established", "syn_sent", "syn_recv", "fin_wait_1", "fin_wait_2", "time_wait", "close",
					     "close_wait", "last_ack", "listen", "closing", "syn_recv" };

	MW_ASSERT(sizeof(names) / sizeof(names[0]) == DIAG_STATES, "a name for each state");
	return kernel_state < DIAG_STATES ? names[kernel_state] : "?";
}
