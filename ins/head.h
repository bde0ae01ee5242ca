/* SPDX-License-Identifier: Apache-2.0 */
/*
 * head.h - the first header of a connection: where it ends, and nothing else of it. Used by ins/.
 * Trust: the bytes are the network's, and the application may change them while they are read: each is read once, in
 * order, and none is a length that anything but counting is done with.
 */
#ifndef MW_INS_HEAD_H
#define MW_INS_HEAD_H

#include "chan/tele.h"

#define HEAD_BYTES_MAX 65536u /* then it is none that we know */

/* head.kind */
#define HEAD_ANY   0u /* the first byte decides: an uppercase letter, 0x16, or neither */
#define HEAD_HTTP  1u /* HTTP/1: ends with an empty line, CRLF or LF */
#define HEAD_TLS   2u /* ClientHello, in as many records as it takes (RFC 8446, 4.1.2 and 5.1) */
#define HEAD_PLAIN 3u /* neither */

/* All zeroes is the beginning. */
struct head {
	uint8_t kind;         /* HEAD_; set to HTTP or TLS at the beginning, the first byte does not decide */
	uint8_t state;        /* MW_HEAD_ */
	uint8_t step;
	uint8_t hello_step;   /* bytes of the handshake's header so far */
	uint32_t bytes;       /* so far; of a complete one, all */
	uint32_t record_left;
	uint32_t hello_left;
};

static inline bool head_decided(const struct head *h)
{
	return h->state >= MW_HEAD_COMPLETE;
}

/* Takes the next n bytes. The outcome is the same however they are split. */
void head_scan(struct head *h, const uint8_t *p, uint32_t n);

#endif
