/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.h - what the registry says of one INS, and its text: a JSON object. Used by registry/ and front/.
 * Trust: none in the text: whoever may write to the registry wrote it. What is parsed is whole, within its limits, and safe to print.
 *
 * {"v":1, "app":"web", "ins":0, "host":"a.example", "address":"10.237.0.2", "address6":"fd6d:...", "state":"up", "heartbeat":1.5,
 *  "load":{"cpu":0.1,"connections":7,"rate":2.5}, "ports":[{"proto":"tcp","port":80,"host":"","host_port":8080}]}
 * and members that are not looked at here. address6 may be absent or empty, and so may address if the other is there.
 */
#ifndef MW_REGISTRY_ENTRY_H
#define MW_REGISTRY_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ENTRY_BYTES_MAX = 32768,	/* of the text */
	ENTRY_NAME_MAX = 32,		/* an application's name */
	ENTRY_HOST_MAX = 64,		/* Linux's HOST_NAME_MAX */
	ENTRY_PORTS_MAX = 256,		/* as many as one application publishes: PLAN_PORTS_MAX */
	ENTRY_INS_MAX = 99999999,
	ENTRY_KEY_BYTES = ENTRY_HOST_MAX + 1 + ENTRY_NAME_MAX + 1 + 8 + 1,
	ENTRY_WHY_BYTES = 128,
};

enum entry_state { ENTRY_STARTING, ENTRY_UP, ENTRY_DRAIN, ENTRY_DOWN };

/* family AF_UNSPEC: published on all addresses of its host; AF_INET, AF_INET6: on `addr`, which may be all zero. host_port 0: it listens
 * there, and is not published. */
struct entry_port {
	uint8_t proto;		/* IPPROTO_TCP or IPPROTO_UDP */
	uint8_t family;
	uint8_t addr[16];
	uint16_t host_port, port; /* the port that clients see; the INS's own */
};

struct entry {
	char app[ENTRY_NAME_MAX + 1], host[ENTRY_HOST_MAX + 1];
	uint32_t ins;
	bool has4, has6;
	uint8_t addr4[4], addr6[16];
	enum entry_state state;
	double heartbeat, cpu, connections, rate; /* s of its host's clock; 0 to 1; open now; new a second */
	struct entry_port ports[ENTRY_PORTS_MAX];
	size_t port_count;
};

/* 0, or -EINVAL with a few words in `why`; they quote nothing of the text. */
int entry_parse(struct entry *out, const char *text, size_t bytes, char why[ENTRY_WHY_BYTES]);

/* Published on its host's loopback alone. */
bool entry_port_is_loopback(const struct entry_port *p);

/* "HOST/APP/INS" */
void entry_key(char key[ENTRY_KEY_BYTES], const struct entry *e);

#endif
