// SPDX-License-Identifier: Apache-2.0
/*
 * prefix.c - see prefix.h.
 * Trust: as in the header.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/prefix.h"

#define MAPPED_BITS 96u /* of ::ffff:0:0/96 */

static bool same_bits(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
	uint8_t last = (uint8_t)(0xff00u >> bits % 8);

	return memcmp(a, b, bits / 8) == 0 && (bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) & last) == 0);
}

static int parse_bits(const char *text, uint32_t most, uint32_t *bits)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || n > most)
		return -EINVAL;
	*bits = (uint32_t)n;
	return 0;
}

int prefix_parse(struct prefix *p, const char *text)
{
	char copy[64];
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	uint32_t whole;

	memset(p, 0, sizeof(*p));
	if (n == 0 || n >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, n);
	copy[n] = 0;
	if (inet_pton(AF_INET, copy, p->addr.addr) == 1)
		p->addr.family = MW_FAMILY_IP4;
	else if (inet_pton(AF_INET6, copy, p->addr.addr) == 1)
		p->addr.family = MW_FAMILY_IP6;
	else
		return -EINVAL;
	p->bits = whole = p->addr.family == MW_FAMILY_IP4 ? 32 : 128;
	if (slash && parse_bits(slash + 1, whole, &p->bits) < 0)
		return -EINVAL;
	for (uint32_t bit = p->bits; bit < whole; bit++)
		if (p->addr.addr[bit / 8] & 0x80u >> bit % 8)
			return -EINVAL;
	if (p->bits >= MAPPED_BITS && addr_unmap(&p->addr))
		p->bits -= MAPPED_BITS;
	return 0;
}

bool prefix_has(const struct prefix *p, const struct mw_addr *a)
{
	struct mw_addr plain = *a;

	addr_unmap(&plain);
	return plain.family == p->addr.family && same_bits(plain.addr, p->addr.addr, p->bits);
}

const char *prefix_text(const struct prefix *p, char text[PREFIX_TEXT_BYTES])
{
	char addr[ADDR_TEXT_BYTES];

	snprintf(text, PREFIX_TEXT_BYTES, "%.46s/%u", addr_text_ip(&p->addr, addr), p->bits);
	return text;
}
