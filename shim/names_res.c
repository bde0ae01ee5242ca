// SPDX-License-Identifier: Apache-2.0
/*
 * names_res.c - DNS messages by libc's res_ functions, asked of the resolver process.
 * Trust: as in names.h; an answer longer than the caller's room is cut, as libc does.
 *
 * An application may change its _res (name servers, options, search list): then that goes with the ask, and counts there. One that
 * only had it filled in by res_init or res_ninit has the host's configuration, and goes on having it when its own root has no
 * resolv.conf, or when the file changes. To tell the two, the last filling in of each thread is remembered by a hash.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/names.h"

static __thread const struct __res_state *filled __attribute__((tls_model("initial-exec")));
static __thread uint64_t filled_hash __attribute__((tls_model("initial-exec")));

/* --- the configuration --- */

static void take_server(struct names_server *s, const struct __res_state *st, int i)
{
	const struct sockaddr_in6 *in6 = st->_u._ext.nsaddrs[i];

	if (st->nsaddr_list[i].sin_family == AF_INET || !in6) {
		s->family = AF_INET;
		s->port = st->nsaddr_list[i].sin_port;
		memcpy(s->addr, &st->nsaddr_list[i].sin_addr, 4);
		return;
	}
	s->family = AF_INET6;
	s->port = in6->sin6_port;
	s->scope = in6->sin6_scope_id;
	memcpy(s->addr, &in6->sin6_addr, 16);
}

static void take_conf(struct names_conf *c, const struct __res_state *st)
{
	memset(c, 0, sizeof(*c));
	c->options = (uint32_t)st->options;
	c->retrans = st->retrans;
	c->retry = st->retry;
	c->ndots = st->ndots;
	for (int i = 0; i < st->nscount && i < NAMES_SERVERS_MAX; i++)
		take_server(&c->server[c->servers++], st, i);
	for (int i = 0; i < MAXDNSRCH && st->dnsrch[i]; i++) {
		size_t n = strlen(st->dnsrch[i]) + 1;

		if (n > sizeof(st->defdname) - c->search_bytes)
			break;
		memcpy(c->search + c->search_bytes, st->dnsrch[i], n);
		c->search_bytes += (uint32_t)n;
	}
}

static uint64_t hash_of(const struct names_conf *c) /* FNV-1a */
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < sizeof(*c); i++)
		h = (h ^ ((const uint8_t *)c)[i]) * 1099511628211u;
	return h;
}

void names_conf_of(struct names_ask *ask, const struct __res_state *st)
{
	if (!(st->options & RES_INIT))
		return;
	take_conf(&ask->conf, st);
	ask->has_conf = st != filled || hash_of(&ask->conf) != filled_hash;
}

static void remember(const struct __res_state *st)
{
	struct names_conf c;

	take_conf(&c, st);
	filled = st;
	filled_hash = hash_of(&c);
}

EXPORT int res_init(void)
{
	int r = libc()->__res_init();

	if (r == 0)
		remember(&_res);
	return r;
}

EXPORT int res_ninit(res_state st)
{
	int r = libc()->__res_ninit(st);

	if (r == 0)
		remember(st);
	return r;
}

/* --- asking --- */

static int res_ask(res_state st, struct names_ask *ask, unsigned char *answer, int room)
{
	struct names_answer a;
	struct names_item item;
	int r;

	ask->n[2] = room;
	names_conf_of(ask, st);
	r = names_lookup(ask, &a);
	if (r < 0) {
		st->res_h_errno = h_errno = r == -EAGAIN ? TRY_AGAIN : NETDB_INTERNAL;
		errno = r == -EAGAIN ? ECONNREFUSED : -r;
		return -1;
	}
	r = a.r.value;
	if (a.r.herror != NAMES_HERRNO_KEPT)
		st->res_h_errno = h_errno = a.r.herror;
	if (r < 0 && a.r.error)
		errno = a.r.error;
	if (r > 0 && room > 0 && names_item_get(&a.r, &item) && item.a.at)
		memcpy(answer, item.a.at, item.a.bytes < (uint32_t)room ? item.a.bytes : (uint32_t)room);
	free(a.record);
	return r;
}

EXPORT int res_nquery(res_state st, const char *name, int class, int type, unsigned char *answer, int room)
{
	struct names_ask ask = { .call = NAMES_RES_QUERY, .n = { class, type }, .a = names_text(name) };

	return res_ask(st, &ask, answer, room);
}

EXPORT int res_nsearch(res_state st, const char *name, int class, int type, unsigned char *answer, int room)
{
	struct names_ask ask = { .call = NAMES_RES_SEARCH, .n = { class, type }, .a = names_text(name) };

	return res_ask(st, &ask, answer, room);
}

EXPORT int res_nquerydomain(res_state st, const char *name, const char *domain, int class, int type, unsigned char *answer,
			    int room)
{
	struct names_ask ask = { .call = NAMES_RES_DOMAIN, .n = { class, type }, .a = names_text(name),
				 .b = names_text(domain) };

	return res_ask(st, &ask, answer, room);
}

EXPORT int res_nsend(res_state st, const unsigned char *message, int bytes, unsigned char *answer, int room)
{
	struct names_ask ask = { .call = NAMES_RES_SEND, .data = { message, bytes < 0 ? 0 : (uint32_t)bytes } };

	return res_ask(st, &ask, answer, room);
}

EXPORT int res_query(const char *name, int class, int type, unsigned char *answer, int room)
{
	return res_nquery(&_res, name, class, type, answer, room);
}

EXPORT int res_search(const char *name, int class, int type, unsigned char *answer, int room)
{
	return res_nsearch(&_res, name, class, type, answer, room);
}

EXPORT int res_querydomain(const char *name, const char *domain, int class, int type, unsigned char *answer, int room)
{
	return res_nquerydomain(&_res, name, domain, class, type, answer, room);
}

EXPORT int res_send(const unsigned char *message, int bytes, unsigned char *answer, int room)
{
	return res_nsend(&_res, message, bytes, answer, room);
}

/* The names that programs built before glibc 2.34 link to. */
#if __has_attribute(copy)
#define OLD_NAME(name) EXPORT extern __typeof__(name) __##name __attribute__((alias(#name), copy(name)))
#else
#define OLD_NAME(name) EXPORT extern __typeof__(name) __##name __attribute__((alias(#name)))
#endif

OLD_NAME(res_query);
OLD_NAME(res_search);
OLD_NAME(res_querydomain);
OLD_NAME(res_send);
OLD_NAME(res_nquery);
OLD_NAME(res_nsearch);
OLD_NAME(res_nquerydomain);
OLD_NAME(res_nsend);
