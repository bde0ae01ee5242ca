/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stress.h - what the two sides of doorbell_stress.c share: control messages, the pattern, random numbers.
 * Trust: a test's own processes.
 *
 * On each connection the peer sends requests: a struct request, then `bytes` of the pattern. When the application
 * has read all of it, it sends `reply` bytes of the pattern. Up to three requests are under way at once.
 */
#ifndef MW_SAME_STRESS_H
#define MW_SAME_STRESS_H

#include <stdint.h>
#include <string.h>

#define CONNS_MAX  64
#define CHUNK      65536u
#define PATTERN    65521u /* a prime: no ring size divides it */
#define FRAME_MAX  (300u * 1024)
#define CONTROL_FD 0

enum control_kind {
	CT_CONNECT = 1, /* app: I am about to connect: accept, then answer */
	CT_ACCEPT,      /* app: connect to `arg`, then answer */
	CT_START,       /* app: all connections are made, go on */
	CT_ENOUGH,      /* app: as many wake-ups as asked for. Peer answers CT_IDLE when all is quiet */
	CT_IDLE,
	CT_FINISH,      /* app: idle was looked at: end the streams */
	CT_DUMP,        /* peer: something hangs: say what you see */
	CT_OK,
};

struct control {
	int32_t kind, arg, mode, id;
};

struct request {
	uint32_t bytes, reply;
};

struct options {
	uint32_t seed;
	uint64_t wakeups;
	int seconds, conns; /* conns of each mode */
	const char *only;   /* a mode's name */
	const char *mw;     /* NULL: native */
};

static inline uint32_t roll(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Mostly small, sometimes as large as FRAME_MAX. Never 0. */
static inline uint32_t roll_size(uint32_t *state)
{
	uint32_t kind = roll(state) % 1000;

	if (kind < 940)
		return 1 + roll(state) % 300;
	if (kind < 990)
		return 1 + roll(state) % 9000;
	return 1 + roll(state) % FRAME_MAX;
}

extern uint8_t stress_pattern[PATTERN + CHUNK];
void stress_pattern_init(void);
static inline const uint8_t *stress_at(uint64_t pos)
{
	return stress_pattern + pos % PATTERN;
}

/* stress_app.c: exit status */
int stress_app(const struct options *o, int port);
/* stress_peer.c: exit status; mw_pid is 0 when native */
int stress_peer(const struct options *o, int listener, int channel, int mw_pid);

#endif
