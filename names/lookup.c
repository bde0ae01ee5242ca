// SPDX-License-Identifier: Apache-2.0
/*
 * lookup.c - one lookup: the application's call, made again by libc here, and its result written down.
 * Trust: numbers in an ask are the application's; those that size memory are bounded here, the rest is libc's to check.
 *
 * Runs in a thread of its own, whose _res and locale are nobody else's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <locale.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "names/names.h"

#define TEXT_ROOM 4096             /* longer than any name or service */
#define HOST_ROOM 8192
#define HOST_ROOM_MAX (1u << 20)
#define ANSWER_MAX 65536

static const char *string(struct names_text t)
{
	return (const char *)t.at;
}

static struct names_text bytes_text(const void *at, size_t n)
{
	struct names_text t = { at, (uint32_t)n };

	return t;
}

static int32_t clip(int32_t v, int32_t max)
{
	return v < 0 ? 0 : v > max ? max : v;
}

/* --- the application's own _res and locale --- */

/* Name servers of both families are in places of their own: see struct __res_state. */
static void set_server(struct __res_state *st, uint32_t i, const struct names_server *s)
{
	struct sockaddr_in6 *in6 = calloc(1, sizeof(*in6));

	free(st->_u._ext.nsaddrs[i]);
	st->_u._ext.nsaddrs[i] = NULL;
	memset(&st->nsaddr_list[i], 0, sizeof(st->nsaddr_list[i]));
	if (s->family == AF_INET || !in6) {
		st->nsaddr_list[i].sin_family = AF_INET;
		st->nsaddr_list[i].sin_port = s->port;
		memcpy(&st->nsaddr_list[i].sin_addr, s->addr, 4);
		free(in6);
		return;
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = s->port;
	in6->sin6_scope_id = s->scope;
	memcpy(&in6->sin6_addr, s->addr, 16);
	st->_u._ext.nsaddrs[i] = in6;
}

/* dnsrch[] points into defdname, as libc's own does; what does not fit there could not be in a real one either. */
static void set_search(struct __res_state *st, const struct names_conf *c)
{
	size_t n = c->search_bytes < sizeof(st->defdname) ? c->search_bytes : 0, at = 0, count = 0;

	memset(st->dnsrch, 0, sizeof(st->dnsrch));
	memset(st->defdname, 0, sizeof(st->defdname));
	memcpy(st->defdname, c->search, n);
	for (; at < n && count < MAXDNSRCH; at += strlen(st->defdname + at) + 1)
		st->dnsrch[count++] = st->defdname + at;
}

static void use_conf(const struct names_conf *c)
{
	struct __res_state *st = &_res;

	if (res_ninit(st) < 0)
		return;
	st->options = (c->options & ~(unsigned long)RES_DEBUG) | RES_INIT;
	st->retrans = clip(c->retrans, 30);
	st->retry = clip(c->retry, 5);
	st->ndots = c->ndots & 15;
	set_search(st, c);
	for (uint32_t i = 0; i < c->servers; i++)
		set_server(st, i, &c->server[i]);
	st->nscount = (int)c->servers;
	st->_u._ext.nscount = 0; /* libc copies the list again */
}

/* For internationalized names alone. A locale's name is no path. */
static void use_locale(struct names_text name)
{
	locale_t l;

	if (!name.at || name.bytes > 64 || strchr(string(name), '/'))
		return;
	l = newlocale(LC_CTYPE_MASK, string(name), (locale_t)0);
	if (l)
		uselocale(l);
}

static void leave_locale(void)
{
	locale_t l = uselocale(LC_GLOBAL_LOCALE);

	if (l != LC_GLOBAL_LOCALE)
		freelocale(l);
}

/* --- addresses and their names --- */

static int do_addrinfo(const struct names_ask *ask, struct names_reply *r, struct names_out *out)
{
	struct addrinfo hints = { .ai_flags = ask->n[1], .ai_family = ask->n[2], .ai_socktype = ask->n[3],
				  .ai_protocol = ask->n[4] };
	struct addrinfo *list = NULL;

	use_locale(ask->data);
	errno = 0;
	r->value = getaddrinfo(string(ask->a), string(ask->b), ask->n[0] ? &hints : NULL, &list);
	r->error = errno;
	leave_locale();
	names_reply_begin(out, r);
	for (struct addrinfo *ai = r->value ? NULL : list; ai; ai = ai->ai_next) {
		struct names_item item = { .n = { ai->ai_flags, ai->ai_family, ai->ai_socktype, ai->ai_protocol },
					   .a = bytes_text(ai->ai_addr, ai->ai_addrlen),
					   .b = names_text(ai->ai_canonname) };

		names_item_put(out, &item);
	}
	if (!r->value)
		freeaddrinfo(list);
	return names_reply_end(out);
}

static int do_nameinfo(const struct names_ask *ask, struct names_reply *r, struct names_out *out)
{
	struct sockaddr_storage ss = { 0 };
	char host[TEXT_ROOM] = "", service[TEXT_ROOM] = "";
	bool want_host = ask->n[1] >= 0, want_service = ask->n[2] >= 0;
	socklen_t len = ask->data.bytes < sizeof(ss) ? ask->data.bytes : sizeof(ss);
	struct names_item item = { .a = { NULL, 0 } };

	if (ask->data.at)
		memcpy(&ss, ask->data.at, len);
	use_locale(ask->a);
	errno = 0;
	r->value = getnameinfo((struct sockaddr *)&ss, len, want_host ? host : NULL,
			       (socklen_t)clip(ask->n[1], sizeof(host)), want_service ? service : NULL,
			       (socklen_t)clip(ask->n[2], sizeof(service)), ask->n[0]);
	r->error = errno;
	leave_locale();
	names_reply_begin(out, r);
	item.a = names_text(want_host ? host : NULL);
	item.b = names_text(want_service ? service : NULL);
	names_item_put(out, &item);
	return names_reply_end(out);
}

/* --- struct hostent --- */

static void put_host(struct names_out *out, const struct hostent *h)
{
	struct names_item item = { .n = { h->h_addrtype, h->h_length }, .b = names_text(h->h_name) };

	names_item_put(out, &item);
	for (char **alias = h->h_aliases; alias && *alias; alias++) {
		item = (struct names_item){ .n = { 0 }, .b = names_text(*alias) };
		names_item_put(out, &item);
	}
	for (char **addr = h->h_addr_list; addr && *addr; addr++) {
		item = (struct names_item){ .n = { 1 }, .a = bytes_text(*addr, (size_t)h->h_length) };
		names_item_put(out, &item);
	}
}

static int call_host(const struct names_ask *ask, const uint8_t addr[16], struct hostent *h, char *room, size_t bytes,
		     struct hostent **found, int *herror)
{
	if (ask->call == NAMES_BYADDR)
		return gethostbyaddr_r(addr, (socklen_t)ask->n[2], ask->n[1], h, room, bytes, found, herror);
	if (ask->n[1] < 0)
		return gethostbyname_r(string(ask->a), h, room, bytes, found, herror);
	return gethostbyname2_r(string(ask->a), ask->n[1], h, room, bytes, found, herror);
}

/* A caller's block counts as it is, so that it is too small here where it is too small for libc. */
static int do_host(const struct names_ask *ask, struct names_reply *r, struct names_out *out)
{
	bool grows = ask->n[0] < 0;
	size_t bytes = grows ? HOST_ROOM : (size_t)clip(ask->n[0], HOST_ROOM_MAX);
	uint8_t addr[32] = { 0 };
	struct hostent h, *found = NULL;
	char *room = NULL;
	int result;

	if (ask->call == NAMES_BYADDR ? ask->n[2] < 0 || ask->n[2] > 17 : !ask->a.at)
		return -EBADMSG;
	if (ask->data.at)
		memcpy(addr, ask->data.at, ask->data.bytes < 16 ? ask->data.bytes : 16);
	do {
		free(room);
		room = malloc(bytes + 1);
		if (!room)
			return -ENOMEM;
		errno = 0;
		r->herror = NAMES_HERRNO_KEPT;
		r->value = call_host(ask, addr, &h, room, bytes, &found, &r->herror);
		r->error = errno;
		bytes *= 2;
	} while (grows && r->value == ERANGE && r->herror == NETDB_INTERNAL && bytes <= HOST_ROOM_MAX);
	names_reply_begin(out, r);
	if (!r->value && found)
		put_host(out, found);
	result = names_reply_end(out);
	free(room);
	return result;
}

/* --- DNS messages --- */

static int call_res(const struct names_ask *ask, unsigned char *answer, int room)
{
	const char *name = string(ask->a);

	switch (ask->call) {
	case NAMES_RES_QUERY:
		return res_query(name, ask->n[0], ask->n[1], answer, room);
	case NAMES_RES_SEARCH:
		return res_search(name, ask->n[0], ask->n[1], answer, room);
	case NAMES_RES_DOMAIN:
		return res_querydomain(name, string(ask->b), ask->n[0], ask->n[1], answer, room);
	default:
		return res_send(ask->data.at, (int)ask->data.bytes, answer, room);
	}
}

static int do_res(const struct names_ask *ask, struct names_reply *r, struct names_out *out)
{
	bool send = ask->call == NAMES_RES_SEND;
	struct names_item item = { .n = { 0 } };
	unsigned char *answer;
	int room = clip(ask->n[2], ANSWER_MAX);

	if (send ? ask->data.bytes < sizeof(HEADER) : !ask->a.at)
		return -EBADMSG;
	answer = calloc(1, ANSWER_MAX);
	if (!answer)
		return -ENOMEM;
	errno = 0;
	h_errno = NAMES_HERRNO_KEPT;
	r->value = call_res(ask, answer, room);
	r->error = errno;
	r->herror = h_errno;
	names_reply_begin(out, r);
	item.a = bytes_text(answer, (size_t)clip(r->value, room));
	names_item_put(out, &item);
	free(answer);
	return names_reply_end(out);
}

int lookup(const struct names_ask *ask, struct names_out *out)
{
	struct names_reply r = { .call = ask->call, .herror = NAMES_HERRNO_KEPT };

	if (ask->has_conf)
		use_conf(&ask->conf);
	switch (ask->call) {
	case NAMES_ADDRINFO:
		return do_addrinfo(ask, &r, out);
	case NAMES_NAMEINFO:
		return do_nameinfo(ask, &r, out);
	case NAMES_BYNAME:
	case NAMES_BYADDR:
		return do_host(ask, &r, out);
	default:
		return do_res(ask, &r, out);
	}
}
