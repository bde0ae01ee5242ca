// SPDX-License-Identifier: Apache-2.0
/*
 * gate.c - see gate.h.
 * Trust: as in the header.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/units.h"
#include "link/gate.h"

#define GATE_TEXT_BYTES 128

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

static bool number(double n, double least, double most, uint32_t *value)
{
	if (!(n >= least && n <= most))
		return false;
	*value = (uint32_t)(n + 0.5);
	return true;
}

bool gate_set(struct gate_settings *g, const char *name, const char *value)
{
	if (!strcmp(name, "deadline"))
		return number(units_span(value) * 1000, 1, GATE_DEADLINE_MS_MAX, &g->deadline_ms);
	if (!strcmp(name, "limit"))
		return number(units_size(value), 1, GATE_LIMIT_BYTES_MAX, &g->limit_bytes);
	return !strcmp(name, "per-peer") && number(units_size(value), 0, GATE_PER_PEER_MAX, &g->per_peer);
}

bool gate_parse(const char *text, uint16_t *port, struct gate_settings *g)
{
	char copy[GATE_TEXT_BYTES], *rest = copy, *word, *value;

	*port = 0;
	*g = (struct gate_settings){ GATE_KEEP, GATE_KEEP, GATE_KEEP, GATE_KEEP };
	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	value = strsep(&rest, ",");
	word = strchr(value, '=') ? strsep(&value, "=") : NULL;
	g->mode = gate_mode(value);
	if (g->mode == GATE_KEEP || (word && !units_port(word, port)))
		return false;
	while ((value = strsep(&rest, ","))) {
		word = strsep(&value, "=");
		if (!value || !gate_set(g, word, value))
			return false;
	}
	return true;
}
