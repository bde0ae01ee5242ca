// SPDX-License-Identifier: Apache-2.0
/*
 * names.c - getaddrinfo and getnameinfo, asked of the resolver process.
 * Trust: as in names.h. Results are made of the heap's blocks in the very form that libc's freeaddrinfo takes apart: one for an
 * entry and its address, one for the canonical name.
 *
 * All is asked but pure arithmetic (an address and a port in digits), which libc does here: it needs neither network nor files,
 * and servers do it for each connection. So each answer is libc's own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/names.h"

#define ANY_IDN (AI_IDN | AI_CANONIDN)
#define NI_ANY_IDN NI_IDN

static int eai(int r)
{
	return r == -ENOMEM ? EAI_MEMORY : EAI_AGAIN;
}

/* With no descriptor to be had libc opens nothing either, and says what it can say without. */
static bool no_descriptor(int r)
{
	return r == -EMFILE || r == -ENFILE;
}

/* As libc reads it. inet_aton also takes blanks and what is behind them, libc's lookups do not. */
static bool is_address(const char *node)
{
	struct in_addr in;
	struct in6_addr in6;

	return (!node[strspn(node, "0123456789.xXabcdefABCDEF")] && inet_aton(node, &in)) || inet_pton(AF_INET6, node, &in6) == 1;
}

/* NULL hints include AI_ADDRCONFIG, which asks the network; so may the order of two addresses, for a NULL node. */
static bool is_arithmetic(const char *node, const char *service, const struct addrinfo *hints)
{
	return node && hints && !(hints->ai_flags & (AI_ADDRCONFIG | ANY_IDN)) && is_address(node) &&
	       (!service || (*service && !service[strspn(service, "0123456789")]));
}

/* A scope has an interface's name. */
static bool is_arithmetic_name(const struct sockaddr *sa, socklen_t len, int flags)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

	if (!sa || len < sizeof(struct sockaddr_in) || flags != (NI_NUMERICHOST | NI_NUMERICSERV))
		return false;
	return sa->sa_family == AF_INET ||
	       (sa->sa_family == AF_INET6 && len >= sizeof(*in6) && !in6->sin6_scope_id);
}

static struct names_text own_locale(void)
{
	return names_text(setlocale(LC_CTYPE, NULL));
}

static struct addrinfo *new_entry(const struct names_item *item)
{
	struct addrinfo *ai = item->a.at && item->a.bytes <= sizeof(struct sockaddr_storage) &&
					      item->a.bytes >= sizeof(sa_family_t)
				      ? calloc(1, sizeof(*ai) + item->a.bytes)
				      : NULL;

	if (!ai)
		return NULL;
	ai->ai_flags = item->n[0];
	ai->ai_family = item->n[1];
	ai->ai_socktype = item->n[2];
	ai->ai_protocol = item->n[3];
	ai->ai_addrlen = item->a.bytes;
	ai->ai_addr = (struct sockaddr *)(ai + 1);
	memcpy(ai->ai_addr, item->a.at, item->a.bytes);
	if (!item->b.at)
		return ai;
	ai->ai_canonname = strdup((const char *)item->b.at);
	if (ai->ai_canonname)
		return ai;
	free(ai);
	return NULL;
}

static int make_list(struct names_reply *r, struct addrinfo **list)
{
	struct addrinfo *first = NULL, **next = &first;
	struct names_item item;

	if (!r->count)
		return EAI_AGAIN; /* no such answer exists */
	while (names_item_get(r, &item)) {
		*next = new_entry(&item);
		if (!*next) {
			if (first)
				freeaddrinfo(first);
			return EAI_MEMORY;
		}
		next = &(*next)->ai_next;
	}
	*list = first;
	return 0;
}

EXPORT int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
		       struct addrinfo **restrict list)
{
	struct names_ask ask = { .call = NAMES_ADDRINFO, .a = names_text(node), .b = names_text(service) };
	struct names_answer answer;
	int r;

	if (is_arithmetic(node, service, hints))
		return libc()->getaddrinfo(node, service, hints, list);
	if (hints) {
		const int32_t n[6] = { 1, hints->ai_flags, hints->ai_family, hints->ai_socktype, hints->ai_protocol };

		memcpy(ask.n, n, sizeof(n));
		if (hints->ai_flags & ANY_IDN)
			ask.data = own_locale();
	}
	names_conf_of(&ask, &_res);
	r = names_lookup(&ask, &answer);
	if (r < 0)
		return no_descriptor(r) ? libc()->getaddrinfo(node, service, hints, list) : eai(r);
	r = answer.r.value;
	if (r == EAI_SYSTEM)
		errno = answer.r.error;
	if (r == 0)
		r = make_list(&answer.r, list);
	free(answer.record);
	return r;
}

static int copy_out(char *to, socklen_t room, struct names_text from)
{
	if (!to || !room || !from.at)
		return 0;
	if (from.bytes >= room)
		return EAI_OVERFLOW;
	memcpy(to, from.at, from.bytes + 1);
	return 0;
}

static int room_of(const char *to, socklen_t room)
{
	return !to ? -1 : room > 1u << 20 ? 1 << 20 : (int)room;
}

EXPORT int getnameinfo(const struct sockaddr *restrict sa, socklen_t len, char *restrict host, socklen_t host_room,
		       char *restrict service, socklen_t service_room, int flags)
{
	struct names_ask ask = { .call = NAMES_NAMEINFO,
				 .n = { flags, room_of(host, host_room), room_of(service, service_room) } };
	struct names_answer answer;
	struct names_item item;
	int r;

	if (is_arithmetic_name(sa, len, flags))
		return libc()->getnameinfo(sa, len, host, host_room, service, service_room, flags);
	if (sa) {
		ask.data.at = (const uint8_t *)sa;
		ask.data.bytes = len < sizeof(struct sockaddr_storage) ? len : sizeof(struct sockaddr_storage);
	}
	if (flags & NI_ANY_IDN)
		ask.a = own_locale();
	names_conf_of(&ask, &_res);
	r = names_lookup(&ask, &answer);
	if (r < 0)
		return no_descriptor(r) ? libc()->getnameinfo(sa, len, host, host_room, service, service_room, flags) : eai(r);
	r = answer.r.value;
	if (r == EAI_SYSTEM)
		errno = answer.r.error;
	if (r == 0 && !names_item_get(&answer.r, &item))
		r = EAI_AGAIN;
	if (r == 0)
		r = copy_out(host, host_room, item.a);
	if (r == 0)
		r = copy_out(service, service_room, item.b);
	free(answer.record);
	return r;
}
