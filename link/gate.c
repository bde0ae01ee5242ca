// SPDX-License-Identifier: Apache-2.0
/*
 * gate.c - see gate.h.
 * Trust: as in the header.
 */
#include <stdlib.h>
#include <string.h>

#include "link/gate.h"

static const char *const names[GATE_NUM] = { "none", "data", "http", "tls", "auto" };

static bool within(uint32_t value, uint32_t least, uint32_t most)
{
	return value == GATE_KEEP || (value >= least && value <= most);
}

bool gate_ok(const struct gate_settings *g)
{
	return within(g->mode, 0, GATE_NUM - 1) && within(g->deadline_ms, 1, GATE_DEADLINE_MS_MAX) &&
	       within(g->limit_bytes, 1, GATE_LIMIT_BYTES_MAX) && within(g->per_peer, 0, GATE_PER_PEER_MAX);
}

const char *gate_mode_name(uint32_t mode)
{
	return mode < GATE_NUM ? names[mode] : "?";
}

uint32_t gate_mode(const char *name)
{
	for (uint32_t i = 0; i < GATE_NUM; i++)
		if (!strcmp(name, names[i]))
			return i;
	return GATE_KEEP;
}

bool gate_parse(const char *text, uint16_t *port, uint32_t *mode)
{
	unsigned long n = 0;
	char *end;

	if (strchr(text, '=')) {
		n = strtoul(text, &end, 10);
		if (text[0] < '0' || text[0] > '9' || *end != '=' || n == 0 || n > 65535)
			return false;
		text = end + 1;
	}
	*port = (uint16_t)n;
	*mode = gate_mode(text);
	return *mode != GATE_KEEP;
}
