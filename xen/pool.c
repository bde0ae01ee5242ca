// SPDX-License-Identifier: Apache-2.0
/*
 * pool.c - see pool.h.
 * Trust: as in the header.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/pool.h"

#define ADDRESSES_MAX 65536

static size_t bytes_of(int family)
{
	return family == AF_INET ? 4 : 16;
}

static uint32_t tail_of(int family, const uint8_t *address)
{
	uint32_t n;

	memcpy(&n, address + bytes_of(family) - 4, 4);
	return ntohl(n);
}

static bool parse_one(const char *text, int *family, uint8_t address[16])
{
	*family = strchr(text, ':') ? AF_INET6 : AF_INET;
	return inet_pton(*family, text, address) == 1;
}

/* The bits behind the prefix are in the last four bytes, or the two would be told apart by more than those. */
static bool is_one_network(const struct pool *p)
{
	unsigned host = (unsigned)bytes_of(p->family) * 8 - p->bits;

	return host >= 32 || p->first >> host == p->last >> host;
}

bool pool_parse(struct pool *p, const char *text)
{
	char copy[2 * POOL_TEXT_BYTES + 8], *dash, *slash, *end;
	uint8_t last[16];
	unsigned long bits;
	int family;

	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	dash = strchr(copy, '-');
	slash = dash ? strchr(dash, '/') : NULL;
	if (!slash)
		return false;
	*dash = *slash = 0;
	if (!parse_one(copy, &p->family, p->base) || !parse_one(dash + 1, &family, last) || family != p->family)
		return false;
	bits = strtoul(slash + 1, &end, 10);
	if (slash[1] < '0' || slash[1] > '9' || *end || bits < 1 || bits > bytes_of(family) * 8 || memcmp(p->base, last, bytes_of(family) - 4))
		return false;
	p->bits = (unsigned)bits;
	p->first = p->next = tail_of(family, p->base);
	p->last = tail_of(family, last);
	return p->first <= p->last && p->last - p->first < ADDRESSES_MAX && is_one_network(p);
}

static void text_of(const struct pool *p, uint32_t tail, char out[POOL_TEXT_BYTES])
{
	uint8_t address[16];

	memcpy(address, p->base, sizeof(address));
	tail = htonl(tail);
	memcpy(address + bytes_of(p->family) - 4, &tail, 4);
	inet_ntop(p->family, address, out, POOL_TEXT_BYTES);
}

bool pool_has(const struct pool *p, const char *text, char out[POOL_TEXT_BYTES])
{
	uint8_t address[16];
	uint32_t tail;
	int family;

	if (!parse_one(text, &family, address) || family != p->family || memcmp(address, p->base, bytes_of(family) - 4))
		return false;
	tail = tail_of(family, address);
	if (tail < p->first || tail > p->last)
		return false;
	text_of(p, tail, out);
	return true;
}

bool pool_give(struct pool *p, bool (*taken)(const char *address), char out[POOL_TEXT_BYTES])
{
	for (uint32_t i = 0; i <= p->last - p->first; i++) {
		uint32_t tail = p->next;

		p->next = tail == p->last ? p->first : tail + 1;
		text_of(p, tail, out);
		if (!taken(out))
			return true;
	}
	return false;
}
