/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h - what the application's processes and the resolver (mw-names) say to each other. Used by shim/, trap/ and names/.
 * Trust: neither side believes the other: names_ask_get and names_reply_get check every length before it is used.
 *
 * One connection for each lookup, to the abstract UNIX name below, in the application's own network namespace: one ask, one
 * reply, the end. Both begin with their length in bytes, so a stream carries them: a reply (19,000 addresses are possible) does
 * not fit one record. Numbers are the host's own, since both sides are on it; the constants are libc's.
 *
 *   ask    bytes call flags n[6] | conf, if flagged | texts a, b, data
 *   reply  bytes call value error herror count | count times: n[4], texts a, b
 *   text   its length + 1, the bytes, a NUL; or 0: there is none
 */
#ifndef MW_LINK_NAMES_H
#define MW_LINK_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NAMES_CONNECT_NAME "\0mwcomms-names"
#define NAMES_HERRNO_KEPT 0x7fffffff /* in a reply: libc did not set h_errno */

/* Descriptors that the broker gives a new resolver. */
#define NAMES_BROKER_FD 3 /* its end is ours */
#define NAMES_LISTEN_FD 4 /* where the application's processes connect */
#define NAMES_NETNS_FD  5 /* isolated: the INS's network namespace */

enum {
	NAMES_ASK_MAX = 160 << 10,	/* a DNS message has at most 64 KiB, a longer name fails in libc */
	NAMES_REPLY_MAX = 4 << 20,
	NAMES_SERVERS_MAX = 3,		/* MAXNS of <resolv.h> */
	NAMES_SEARCH_MAX = 1024,
};

/* call        n (a room of -1: there is no block of the caller's)   a       b       data      value */
enum {
	NAMES_ADDRINFO = 1, /* has hints, flags, family, type, protocol  node    service locale    EAI_ */
	NAMES_NAMEINFO,     /* flags, host room, service room            locale          sockaddr  EAI_ */
	NAMES_BYNAME,       /* room, family, or -1: gethostbyname        name                      0 or errno */
	NAMES_BYADDR,       /* room, type, length                                        address   0 or errno */
	NAMES_RES_QUERY,    /* class, type, room                         name                      bytes or -1 */
	NAMES_RES_SEARCH,   /* the same */
	NAMES_RES_DOMAIN,   /* the same                                  name    domain */
	NAMES_RES_SEND,     /* 0, 0, room                                                message   bytes or -1 */
	NAMES_IF_ADDRESSES, /*                                                                     0 or -1 */
	NAMES_IF_LIST,      /*                                                                     0 or -1 */
	NAMES_IF_INDEX,     /*                                            name                     index or 0 */
	NAMES_IF_NAME,      /* index                                                               0 or -1 */
	NAMES_ROUTE,        /* type: a netlink socket goes with the reply                          0 or -1 */
	NAMES_CALLS,
};

/* Bytes that lie in a record; at[bytes] is a NUL. at == NULL: none. */
struct names_text {
	const uint8_t *at;
	uint32_t bytes;
};

/* A resolver configuration that the application changed (its _res). Numbers as in <resolv.h>. */
struct names_conf {
	uint32_t options;
	int32_t retrans, retry;
	uint32_t ndots, servers;
	struct names_server {
		uint32_t family, scope; /* AF_INET, AF_INET6 */
		uint16_t port;          /* network order */
		uint16_t zero;
		uint8_t addr[16];
	} server[NAMES_SERVERS_MAX];
	uint32_t search_bytes;
	char search[NAMES_SEARCH_MAX]; /* domains, each with its NUL */
};

struct names_ask {
	uint32_t call;
	bool has_conf;
	int32_t n[6];
	struct names_text a, b, data;
	struct names_conf conf;
};

struct names_reply {
	uint32_t call;
	int32_t value, error, herror; /* the call's result, errno, h_errno */
	uint32_t count;
	const uint8_t *at, *end; /* the items that were not looked at yet */
};

/* call      n                              a        b
 * ADDRINFO  flags family type protocol     address  canonical name
 * NAMEINFO                                 host     service
 * BY...     type length; then each: 0, 1   (name: first) alias, address
 * RES_...                                  answer
 * IF_LIST   index                                   name
 * IF_NAME                                           name
 * IF_ADDR.. three items for each entry:
 *           flags                          address  name
 *                                          netmask  broadcast or other end's address
 *                                          statistics */
struct names_item {
	int32_t n[4];
	struct names_text a, b;
};

/* A record while it is written; memory is the heap's. */
struct names_out {
	uint8_t *at;
	size_t bytes, room;
	bool bad;   /* no memory, or longer than any record may be: what follows is not written */
};

struct names_text names_text(const char *s); /* s may be NULL */

/* 0, -EMSGSIZE or -ENOMEM; out->at is the caller's to free in every case. */
int names_ask_put(struct names_out *out, const struct names_ask *ask);
/* The first 4 bytes of a record: how long it is; 0 when that cannot be (too short, or more than `max`). */
size_t names_bytes(const uint8_t head[4], size_t max);
/* 0 or -EBADMSG. What ask points to lies in `from`. */
int names_ask_get(struct names_ask *ask, const uint8_t *from, size_t bytes);

void names_reply_begin(struct names_out *out, const struct names_reply *r);
void names_item_put(struct names_out *out, const struct names_item *item);
/* Fills in the length and the count. 0 or -EMSGSIZE. */
int names_reply_end(struct names_out *out);
/* 0 or -EBADMSG: every item is looked at, so names_item_get cannot fail but at the end. */
int names_reply_get(struct names_reply *r, const uint8_t *from, size_t bytes);
bool names_item_get(struct names_reply *r, struct names_item *item);

#endif
