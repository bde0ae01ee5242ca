/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipfix.h - flow records to IPFIX collectors (RFC 7011, bidirectional by RFC 5103, elements described by RFC 5610). Shared by
 * ipfix.c (when), ipfix_encode.c (what) and ipfix_send.c (to whom); main.c calls the first.
 * Trust: records come from an INS that may be compromised: they are numbers that go out, never indices. Collectors are the user's
 * choice; nothing that they say is read.
 */
#ifndef MW_TELEM_IPFIX_H
#define MW_TELEM_IPFIX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "telem/flow.h"

/* A datagram that every network takes: IPv6's least MTU less its header and UDP's. Streams and files get the same. */
#define IPFIX_MESSAGE_MAX 1232

struct ipfix_message {
	uint16_t bytes, records;
	uint8_t data[IPFIX_MESSAGE_MAX];
};

/* Why a record is sent: the element mwReport. */
enum ipfix_kind { IPFIX_OPEN = 1, IPFIX_ACTIVE, IPFIX_VERDICT, IPFIX_CLOSE };

struct ipfix_report {
	const struct flow *flow;
	enum ipfix_kind kind;
	uint64_t rx, tx;       /* bytes since the last record of this flow */
};

/* --- ipfix.c --- */
/* Takes "ipfix ..." and "ipfix-timeout ..." from the command line, as broker/ipfix.c wrote them. 0 or -errno. */
int ipfix_init(char *const args[]);
bool ipfix_wanted(void);
/* The application ended: what is left to report goes out, then the process ends. */
void ipfix_end(void);

/* --- ipfix_encode.c --- */
/* `emit` gets each message: for one collector, or for all when `to` is NULL. 0 or -errno. */
int ipfix_encode_init(const char *app, uint32_t ins, void (*emit)(void *to, struct ipfix_message *m));
void ipfix_encode_flow(const struct ipfix_report *r);
void ipfix_encode_flush(void);
bool ipfix_encode_is_flows(const uint8_t *message); /* not an announcement; they are never mixed */
/* Templates, what our elements are, the domain's name, and how many records never went to this collector. */
void ipfix_encode_announce(void *to, uint64_t not_sent);

/* --- ipfix_send.c --- */
int ipfix_send_add(char *spec);  /* "udp PORT NAME ADDR...", "tcp ...", "file FD NAME": kept. 0 or -errno */
int ipfix_send_init(const char *app);
void ipfix_send(void *to, struct ipfix_message *m);
void ipfix_send_lost(uint64_t records); /* that nobody could get, since they were overwritten */
void ipfix_send_end(void);
json_t *ipfix_send_json(void);          /* each collector: name, state, flow records sent and dropped */

#endif
