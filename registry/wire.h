/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - etcd's v3 API in JSON, as its gRPC gateway speaks it over HTTP: requests to text, answers from text. Used by etcd.c.
 * Trust: an answer is parsed by jansson and looked up by name; keys and values in it may be anybody's.
 *
 * Source: etcd 3.4's api/etcdserverpb/rpc.proto; in JSON bytes are base64 and 64-bit numbers are decimal strings.
 */
#ifndef MW_REGISTRY_WIRE_H
#define MW_REGISTRY_WIRE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_PREFIX "/mwcomms/" /* of every key */

/* Bodies of requests, the caller's to free; NULL without memory. Keys are without WIRE_PREFIX. */
char *wire_range(void);                         /* all keys:           /v3/kv/range */
char *wire_ping(void);                          /* none:               /v3/kv/range */
char *wire_watch(int64_t from_revision);        /*                     /v3/watch */
char *wire_put(const char *key, const char *text, size_t bytes, int64_t lease); /* /v3/kv/put */
char *wire_delete(const char *key);             /*                     /v3/kv/deleterange */
char *wire_grant(unsigned int seconds);         /*                     /v3/lease/grant */
char *wire_lease(int64_t lease);                /* /v3/lease/keepalive and /v3/lease/revoke */

/* A number that may be a string; 0 for anything else. */
int64_t wire_number(const json_t *j);

/* Bytes of a base64 string, followed by a 0: how many, or -1 if it is none or needs more than `max`. out has max + 1 bytes. */
long wire_bytes(const json_t *j, char *out, size_t max);

/* One key and its value, of an answer's `kv`. */
struct wire_kv {
	char key[512];	/* without the prefix; printable or not */
	bool too_large, has_lease;
	char *text;	/* `bytes` of them, valid until the next call */
	size_t bytes;
};

/* False if it is none of ours. */
bool wire_kv(struct wire_kv *out, const json_t *kv);

#endif
