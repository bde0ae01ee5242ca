/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mwnf.h - the MAGICWAND NetFlow stream, byte for byte: what MAGICWAND analytics engines already speak. Used inside telem/.
 * Trust: mwnf_request takes bytes of anybody's; the rest writes what we know.
 *
 * Integers are big-endian, nothing is padded, there is no length field: the signature decides. A client reads 6 bytes, then the
 * rest without waiting, so a message must never be sent in two writes.
 */
#ifndef MW_TELEM_MWNF_H
#define MW_TELEM_MWNF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chan/tele.h"

#define MWNF_INFO_BYTES     116u
#define MWNF_REQUEST_BYTES  46u
#define MWNF_RESPONSE_BYTES 26u

/* Features. 0x0100: may be used to mitigate. 0x1000: of a whole stack. */
#define MWNF_MONITOR_ON    0x0001u
#define MWNF_MONITOR_OFF   0x0002u
#define MWNF_NONBLOCK      0x0003u
#define MWNF_REUSEADDR     0x0004u
#define MWNF_REUSEPORT     0x0005u
#define MWNF_KEEPALIVE     0x0006u
#define MWNF_DEFER_ACCEPT  0x0007u /* seconds */
#define MWNF_NODELAY       0x0008u
#define MWNF_CONGESTION_2  0x0020u /* some clients' name for 0x1101 */
#define MWNF_DELACK_2      0x0021u /* some clients' name for 0x1102 */
#define MWNF_OPEN          0x0101u /* read: 1 or 0; write: closes */
#define MWNF_OWNER         0x0102u /* read: 1 or 0; write: SIGINT */
#define MWNF_SNDBUF        0x0109u
#define MWNF_RCVBUF        0x010au
#define MWNF_SNDTIMEO      0x010bu /* seconds, microseconds */
#define MWNF_RCVTIMEO      0x010cu
#define MWNF_SNDLOWAT      0x010du
#define MWNF_RCVLOWAT      0x010eu
#define MWNF_ERROR         0x010fu /* read and clear SO_ERROR */
#define MWNF_CONGESTION    0x1101u
#define MWNF_DELACK        0x1102u /* delayed-ACK ticks, a signed change */
#define MWNF_BLOCK         0x1103u /* value 1 block, 0 unblock */

/* Values of MWNF_CONGESTION. */
#define MWNF_RENO    0x90u
#define MWNF_NEWRENO 0x91u
#define MWNF_CUBIC   0x92u

struct mwnf_request {
	uint32_t id;
	uint16_t name;         /* MWNF_ */
	bool write;
	bool by_socket, by_address; /* what ident is */
	uint64_t value, micros;
	uint64_t socket;       /* by_socket: as on the wire */
	struct mw_addr addr;   /* by_address: family MW_FAMILY_NONE when it is no address */
};

/* A socket's id: 'S', the INS's number, generation, slot. Never used again. */
uint64_t mwnf_id(uint8_t ins, uint64_t flow);
/* The flow that it names, or 0 when it is none of that INS's. */
uint64_t mwnf_flow(uint8_t ins, uint64_t id);

/* False for events that the stream does not know. */
bool mwnf_info(uint8_t out[MWNF_INFO_BYTES], uint8_t ins, const struct mw_event *e);

/* The first request in `in`. Bytes taken, 0 when there is only a part of it, -1 when it is none. */
int mwnf_request(struct mwnf_request *q, const uint8_t *in, size_t n);

/* Of the message that we wrote at `out`. */
size_t mwnf_bytes(const uint8_t *out);

/* status: 0 or a negative Linux errno. */
void mwnf_response(uint8_t out[MWNF_RESPONSE_BYTES], uint32_t id, int32_t status, uint64_t value, uint64_t micros);

#endif
