// SPDX-License-Identifier: Apache-2.0
/*
 * head.c - see head.h.
 * Trust: as in the header.
 */
#include <string.h>

#include "ins/head.h"

/* head.step of HTTP */
#define BEFORE     0u /* empty lines in front of the request, which servers skip (RFC 9112, 2.2) */
#define IN_LINE    1u
#define LINE_START 2u
#define LINE_CR    3u

/* head.step of TLS: so many bytes of the record's header, or all five of them */
#define IN_RECORD        5u
#define TLS_HANDSHAKE    0x16u
#define TLS_MAJOR        3u
#define TLS_CLIENT_HELLO 1u
#define TLS_RECORD_MAX   16384u
#define HELLO_HEADER     4u

static uint8_t http_step(uint8_t step, uint8_t c)
{
	bool end = c == '\n' || c == '\r';

	if (step == BEFORE)
		return end ? BEFORE : IN_LINE;
	return c == '\r' && step == LINE_START ? LINE_CR : IN_LINE;
}

/* Bytes used. */
static uint32_t scan_http(struct head *h, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t c = p[i];

		if (h->step == IN_LINE) {
			const uint8_t *line_end = c == '\n' ? p + i : memchr(p + i, '\n', n - i);

			if (!line_end)
				return n;
			i = (uint32_t)(line_end - p);
			h->step = LINE_START;
		} else if (c == '\n' && h->step != BEFORE) {
			h->state = MW_HEAD_COMPLETE;
			return i + 1;
		} else {
			h->step = http_step(h->step, c);
		}
	}
	return n;
}

/* One byte of a record's header. */
static bool record_header(struct head *h, uint8_t c)
{
	switch (h->step++) {
	case 0:
		return c == TLS_HANDSHAKE;
	case 1:
		return c == TLS_MAJOR;
	case 2:
		return true;
	case 3:
		h->record_left = (uint32_t)c << 8;
		return true;
	default:
		h->record_left |= c;
		return h->record_left && h->record_left <= TLS_RECORD_MAX;
	}
}

/* One byte of the handshake's header: a kind, and three of length. */
static bool hello_header(struct head *h, uint8_t c)
{
	if (h->hello_step++ == 0)
		return c == TLS_CLIENT_HELLO;
	h->hello_left = h->hello_left << 8 | c;
	return h->hello_left <= HEAD_BYTES_MAX;
}

static bool tls_byte(struct head *h, uint8_t c)
{
	if (h->step < IN_RECORD)
		return record_header(h, c);
	if (--h->record_left == 0)
		h->step = 0;
	if (h->hello_step < HELLO_HEADER)
		return hello_header(h, c);
	h->hello_left--;
	return true;
}

static uint32_t scan_tls(struct head *h, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!tls_byte(h, p[i])) {
			h->state = MW_HEAD_OTHER;
			return i + 1;
		}
		if (h->hello_step == HELLO_HEADER && h->hello_left == 0) {
			h->state = MW_HEAD_COMPLETE;
			return i + 1;
		}
	}
	return n;
}

static uint8_t kind_of(uint8_t first)
{
	return first >= 'A' && first <= 'Z' ? HEAD_HTTP : first == TLS_HANDSHAKE ? HEAD_TLS : HEAD_PLAIN;
}

void head_scan(struct head *h, const uint8_t *p, uint32_t n)
{
	uint32_t room = HEAD_BYTES_MAX - h->bytes;

	if (!n || head_decided(h))
		return;
	n = n < room ? n : room;
	h->state = MW_HEAD_PARTIAL;
	if (h->kind == HEAD_ANY)
		h->kind = kind_of(p[0]);
	if (h->kind == HEAD_HTTP) {
		h->bytes += scan_http(h, p, n);
	} else if (h->kind == HEAD_TLS) {
		h->bytes += scan_tls(h, p, n);
	} else {
		h->bytes = 1;
		h->state = MW_HEAD_OTHER;
	}
	if (h->bytes == HEAD_BYTES_MAX && !head_decided(h))
		h->state = MW_HEAD_OTHER;
}
