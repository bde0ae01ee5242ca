/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.h - how a listener's gate is set, said by `mw run` to an INS that starts and by VERB_GATE to one that runs.
 * Used by ins/, telem/, broker/ and ctl/.
 * Trust: an INS checks each value by gate_ok.
 */
#ifndef MW_LINK_GATE_H
#define MW_LINK_GATE_H

#include "chan/port.h"

/* verb_gate.mode: what a new connection must have sent before the application sees it */
#define GATE_NONE 0u
#define GATE_DATA 1u /* a byte */
#define GATE_HTTP 2u /* a whole HTTP/1 header, whatever it begins with */
#define GATE_TLS  3u /* a whole ClientHello; what cannot be one is dropped */
#define GATE_AUTO 4u /* by the first byte: 0x16 as TLS, an uppercase letter as HTTP, anything else goes on at once */
#define GATE_NUM  5u

#define GATE_DEADLINE_MS     10000u
#define GATE_DEADLINE_MS_MAX 3600000u
#define GATE_LIMIT_BYTES     32768u
#define GATE_LIMIT_BYTES_MAX 65536u /* the rx ring */
#define GATE_PER_PEER        100u
#define GATE_PER_PEER_MAX    65536u
#define GATE_KEEP            0xffffffffu /* leave it as it is */

struct gate_settings {
	uint32_t mode;         /* GATE_ */
	uint32_t deadline_ms;  /* from accept, 1 to GATE_DEADLINE_MS_MAX */
	uint32_t limit_bytes;  /* of the header, 1 to GATE_LIMIT_BYTES_MAX */
	uint32_t per_peer;     /* held at a time from one IPv4 address or IPv6 /64; 0: any number */
};
MW_ASSERT(sizeof(struct gate_settings) == 16, "gate_settings");

/* How a listener's gate is. */
struct verb_gate {
	struct gate_settings settings;
	uint32_t held;         /* now */
	uint32_t pad;
	uint64_t passed, dropped; /* of those that were held */
};
MW_ASSERT(sizeof(struct verb_gate) == 40, "verb_gate");

/* All that is not GATE_KEEP is in its range. */
bool gate_ok(const struct gate_settings *g);
const char *gate_mode_name(uint32_t mode);
/* GATE_, or GATE_KEEP when there is no such mode. */
uint32_t gate_mode(const char *name);
/* "deadline" (10s), "limit" (16k) or "per-peer" (20), as text. False: no such setting, or no such value. */
bool gate_set(struct gate_settings *g, const char *name, const char *value);
/* [PORT=]MODE[,SETTING=VALUE]..., as in 80=http,deadline=5s,per-peer=20. *port is 0 without one; of g, what is not said is GATE_KEEP. */
bool gate_parse(const char *text, uint16_t *port, struct gate_settings *g);

#endif
