/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - what an application's network shall look like: addresses and nftables text. Pure: no system call. Used by net.c, ports.c, nft.c, tests.
 * Trust: every name and port is validated before it becomes text.
 */
#ifndef MW_BROKER_PLAN_H
#define MW_BROKER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	PLAN_NAME_MAX = 32,	/* an application's name, without the terminator */
	PLAN_IF_BYTES = 16,	/* IFNAMSIZ */
	PLAN_ADDR_BYTES = 46,	/* INET6_ADDRSTRLEN */
	PLAN_PORTS_MAX = 256,	/* published at once by one application */
};

enum { PLAN_BLOCKS = 256, PLAN_BLOCK_SLOTS = 64 };

#define PLAN_IF_PREFIX "mw-"	/* of every host end; nothing else on the host may be named so */

/* A published port. family AF_UNSPEC: every address of both families; AF_INET or AF_INET6 with addr all zero: every
 * address of that one; else that address. addr is in network order, 4 or 16 bytes used. Ports are in host order. */
struct plan_port {
	int proto;		/* IPPROTO_TCP or IPPROTO_UDP */
	int family;
	uint8_t addr[16];
	uint16_t host_port;
	uint16_t ins_port;
	uint32_t only;		/* number + 1 of the INS that alone serves it (datagrams); 0: all do */
};

/* An address range that the host already uses or routes. */
struct plan_prefix {
	uint8_t family;		/* AF_INET, AF_INET6 */
	uint8_t bits;
	uint8_t addr[16];
};

/* The pair of addresses of one slot, as text: IPv4 /30, IPv6 /64. */
struct plan_addrs {
	unsigned slot;			/* 0 to 65535; at most one application of a host has it */
	char host_if[PLAN_IF_BYTES];	/* "mw-" and the slot in hex */
	char host4[PLAN_ADDR_BYTES], ins4[PLAN_ADDR_BYTES];
	char host6[PLAN_ADDR_BYTES], ins6[PLAN_ADDR_BYTES];
};

enum { PLAN_INS_MAX = 64 };	/* INSs of one application at a time */

struct plan_ins {
	uint32_t number;	/* among those of the application */
	bool open;		/* gets new connections */
	struct plan_addrs addrs;
};

struct plan {
	const char *name;
	const struct plan_ins *ins;
	size_t ins_count;	/* at most PLAN_INS_MAX */
	const struct plan_port *ports;
	size_t port_count;
	const unsigned *guard4, *guard6;	/* interface indexes that must not become routes between networks */
	size_t guard4_count, guard6_count;
	bool first;		/* create the table, and fail if there is one of that name; else replace its rules */
	bool has_v6;
	bool reach;		/* other hosts may connect to the INS's own address, to what is published */
};

/* lib/name.h; 1 to 32 */
bool plan_name_ok(const char *name);

/* Protocol, family and ports are such as can be published. */
bool plan_port_ok(const struct plan_port *port);
bool plan_port_is_any(const struct plan_port *port);
bool plan_port_is_loopback(const struct plan_port *port);

/* "[ADDR:]PORT" or "any" address left out; for messages. */
void plan_port_text(char *out, size_t bytes, const struct plan_port *port);

/* Fills the addresses of a slot. */
void plan_slot(struct plan_addrs *out, unsigned slot);

/* The first slot, from a hash of the name on, whose ranges overlap none of `used`: 0, or -EADDRNOTAVAIL. */
int plan_pick(struct plan_addrs *out, const char *name, const struct plan_prefix *used, size_t count);

/* The same among the slots of one block, which is one prefix of each family, so that other hosts can route them: blocks 0 to 255. */
int plan_pick_block(struct plan_addrs *out, unsigned block, const struct plan_prefix *used, size_t count);
/* A host's, from its name. */
unsigned plan_block(const char *host);
/* "10.237.7.0/24 and fd6d:7763:6f6d:1c0::/58" */
void plan_block_text(char *out, size_t bytes, unsigned block);

/* Writes one nftables transaction. 0, -EINVAL (name or a port), or -EIO (out). */
int plan_write(FILE *out, const struct plan *plan);

#endif
