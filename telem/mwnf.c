// SPDX-License-Identifier: Apache-2.0
/*
 * mwnf.c - see mwnf.h.
 * Trust: as in the header; every request has the same length, so nothing in it decides how far we read.
 */
#include <arpa/inet.h>
#include <string.h>

#include "lib/addr.h"
#include "telem/mwnf.h"

#define SIG_INFO     0xd310u
#define SIG_REQUEST  0xd320u
#define SIG_RESPONSE 0xd32fu

#define FLAG_WRITE   1u
#define FLAG_SOCKET  2u
#define FLAG_ADDRESS 4u

#define TEXT_FAMILY 2u /* existing clients send AF_INET and the address as text */

static uint8_t *put(uint8_t *at, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
	return at + bytes;
}

static uint64_t get(const uint8_t *at, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < bytes; i++)
		v = v << 8 | at[i];
	return v;
}

uint64_t mwnf_id(uint8_t ins, uint64_t flow)
{
	return (uint64_t)'S' << 56 | (uint64_t)ins << 48 | flow >> 32 << 16 | (flow & 0xffff);
}

uint64_t mwnf_flow(uint8_t ins, uint64_t id)
{
	if (id >> 56 != 'S' || (id >> 48 & 0xff) != ins)
		return 0;
	return (id >> 16 & 0xffffffff) << 32 | (id & 0xffff);
}

static uint8_t *put_time(uint8_t *at, uint64_t ns)
{
	at = put(at, ns / 1000000000u, 8);
	return put(at, ns % 1000000000u, 8);
}

/* Families are 4 and 6 and no other; an IPv4-mapped address is the IPv4 one, and a peer that is none is of the local family. */
static uint8_t *put_end(uint8_t *at, uint8_t family, uint8_t other, const uint8_t addr[16], uint16_t port)
{
	struct mw_addr a = { .family = family, .port = port };

	memcpy(a.addr, addr, sizeof(a.addr));
	if (family != MW_FAMILY_IP4 && family != MW_FAMILY_IP6)
		a = (struct mw_addr){ .family = other == MW_FAMILY_IP6 ? MW_FAMILY_IP6 : MW_FAMILY_IP4 };
	addr_unmap(&a);
	at = put(at, a.family == MW_FAMILY_IP6 ? 6 : 4, 4);
	memcpy(at, a.addr, sizeof(a.addr));
	return put(at + sizeof(a.addr), a.port, 2);
}

bool mwnf_info(uint8_t out[MWNF_INFO_BYTES], uint8_t ins, const struct mw_event *e)
{
	uint8_t *at = out;

	if (e->kind < MW_EV_CREATE || e->kind > MW_EV_CLOSE)
		return false;
	at = put(at, SIG_INFO, 2);
	at = put(at, 0, 4);
	at = put(at, e->kind, 2);
	at = put_time(at, e->opened_ns);
	at = put_time(at, e->time_ns);
	at = put(at, mwnf_id(ins, e->id), 8);
	at = put_end(at, e->local_family, e->peer_family, e->local, e->local_port);
	at = put_end(at, e->peer_family, e->local_family, e->peer, e->peer_port);
	at = put(at, e->rx_bytes, 8);
	at = put(at, e->tx_bytes, 8);
	put(at, mwnf_id(ins, e->extra), 8);
	return true;
}

/* Family 4 or 6 in binary; or whatever family with text, as existing clients do. */
static void get_addr(struct mw_addr *a, const uint8_t *at)
{
	uint32_t family = (uint32_t)get(at, 4);
	char text[17] = { 0 };

	memset(a, 0, sizeof(*a));
	if (family == 4 || family == 6) {
		a->family = family == 4 ? MW_FAMILY_IP4 : MW_FAMILY_IP6;
		memcpy(a->addr, at + 4, family == 4 ? 4 : 16);
		return;
	}
	memcpy(text, at + 4, 16);
	if (family == TEXT_FAMILY && inet_pton(AF_INET, text, a->addr) == 1)
		a->family = MW_FAMILY_IP4;
}

int mwnf_request(struct mwnf_request *q, const uint8_t *in, size_t n)
{
	uint16_t flags;

	if ((n > 0 && in[0] != SIG_REQUEST >> 8) || (n > 1 && in[1] != (SIG_REQUEST & 0xff)))
		return -1;
	if (n < MWNF_REQUEST_BYTES)
		return 0;
	memset(q, 0, sizeof(*q));
	q->id = (uint32_t)get(in + 2, 4);
	flags = (uint16_t)get(in + 6, 2);
	q->name = (uint16_t)get(in + 8, 2);
	q->value = get(in + 10, 8);
	q->micros = get(in + 18, 8);
	q->write = flags & FLAG_WRITE;
	q->by_socket = flags & FLAG_SOCKET;
	q->by_address = flags & FLAG_ADDRESS || (!q->by_socket && q->name == MWNF_BLOCK);
	q->socket = get(in + 26, 8);
	if (q->by_address)
		get_addr(&q->addr, in + 26);
	return MWNF_REQUEST_BYTES;
}

size_t mwnf_bytes(const uint8_t *out)
{
	return out[1] == (SIG_INFO & 0xff) ? MWNF_INFO_BYTES : MWNF_RESPONSE_BYTES;
}

void mwnf_response(uint8_t out[MWNF_RESPONSE_BYTES], uint32_t id, int32_t status, uint64_t value, uint64_t micros)
{
	uint8_t *at = put(out, SIG_RESPONSE, 2);

	at = put(at, id, 4);
	at = put(at, (uint32_t)status, 4);
	at = put(at, value, 8);
	put(at, micros, 8);
}
