// SPDX-License-Identifier: Apache-2.0
/*
 * lookup_fuzz.c - libFuzzer target: asks of a hostile application, well-formed ones too, carried out by a resolver whose libc writes all the
 * room that it is given and reads all that it is told of.
 * Trust: none. What is answered is a reply that the shim takes, or there is none.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include "test/fuzz/input.h"

static int model_ninit(res_state st);
static int model_addrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list);
static void model_freeaddrinfo(struct addrinfo *list);
static int model_nameinfo(const struct sockaddr *sa, socklen_t len, char *host, socklen_t host_room, char *service, socklen_t service_room, int flags);
static int model_byname(const char *name, struct hostent *h, char *room, size_t bytes, struct hostent **found, int *herror);
static int model_byname2(const char *name, int family, struct hostent *h, char *room, size_t bytes, struct hostent **found, int *herror);
static int model_byaddr(const void *addr, socklen_t len, int type, struct hostent *h, char *room, size_t bytes, struct hostent **found, int *herror);
static int model_query(const char *name, int class, int type, unsigned char *answer, int room);
static int model_querydomain(const char *name, const char *domain, int class, int type, unsigned char *answer, int room);
static int model_send(const unsigned char *message, int bytes, unsigned char *answer, int room);

#undef res_ninit
#undef res_query
#undef res_search
#undef res_querydomain
#undef res_send
#define res_ninit        model_ninit
#define getaddrinfo      model_addrinfo
#define freeaddrinfo     model_freeaddrinfo
#define getnameinfo      model_nameinfo
#define gethostbyname_r  model_byname
#define gethostbyname2_r model_byname2
#define gethostbyaddr_r  model_byaddr
#define res_query        model_query
#define res_search       model_query
#define res_querydomain  model_querydomain
#define res_send         model_send
#include "names/lookup.c"

static struct input *choices; /* libc's answers */
static volatile uint64_t sum; /* so that what is read is */

/* --- libc --- */

static void read_bytes(const void *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum += ((const uint8_t *)at)[i];
}

static void read_text(const char *s)
{
	sum += s ? strlen(s) : 0;
}

static void write_text(char *to, size_t room)
{
	if (!to || !room)
		return;
	memset(to, 'x', room);
	to[room - 1] = 0;
}

static int model_ninit(res_state st)
{
	for (int i = 0; i < MAXNS; i++) {
		free(st->_u._ext.nsaddrs[i]);
		st->_u._ext.nsaddrs[i] = NULL;
	}
	return next_byte(choices) & 1 ? -1 : 0;
}

static int model_addrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	uint8_t how = next_byte(choices);

	read_text(node);
	read_text(service);
	sum += hints ? (uint64_t)hints->ai_family : 0;
	if (how & 1)
		return EAI_NONAME;
	for (how >>= 5; how; how--) {
		struct addrinfo *ai = calloc(1, sizeof(*ai));

		must(ai != NULL);
		ai->ai_addrlen = how & 1 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
		ai->ai_addr = calloc(1, ai->ai_addrlen);
		ai->ai_canonname = how & 2 ? strdup("name") : NULL;
		ai->ai_next = *list;
		*list = ai;
	}
	return 0;
}

static void model_freeaddrinfo(struct addrinfo *list)
{
	while (list) {
		struct addrinfo *next = list->ai_next;

		free(list->ai_addr);
		free(list->ai_canonname);
		free(list);
		list = next;
	}
}

static int model_nameinfo(const struct sockaddr *sa, socklen_t len, char *host, socklen_t host_room, char *service, socklen_t service_room, int flags)
{
	(void)flags;
	read_bytes(sa, len);
	write_text(host, host_room);
	write_text(service, service_room);
	return next_byte(choices) & 1 ? EAI_OVERFLOW : 0;
}

/* Addresses and two aliases; or there is not room enough, or nobody. */
static int any_host(struct hostent *h, char *room, size_t bytes, struct hostent **found, int *herror)
{
	static char name[] = "host", *aliases[] = { name, name, NULL };
	uint8_t how = next_byte(choices);
	char **list;

	*found = NULL;
	memset(room, 1, bytes);
	if (how & 1 || bytes < 256) {
		*herror = NETDB_INTERNAL;
		errno = ERANGE;
		return ERANGE;
	}
	if (how & 2) {
		*herror = HOST_NOT_FOUND;
		return 0;
	}
	list = (char **)(void *)(room + (-(uintptr_t)room & 7));
	*h = (struct hostent){ .h_name = name, .h_addrtype = AF_INET6, .h_length = how & 4 ? 4 : 16, .h_addr_list = list };
	h->h_aliases = how & 8 ? aliases : NULL;
	list[0] = room + 128;
	list[1] = NULL;
	*found = h;
	return 0;
}

static int model_byname(const char *name, struct hostent *h, char *room, size_t bytes, struct hostent **found, int *herror)
{
	read_text(name);
	return any_host(h, room, bytes, found, herror);
}

static int model_byname2(const char *name, int family, struct hostent *h, char *room, size_t bytes, struct hostent **found, int *herror)
{
	(void)family;
	return model_byname(name, h, room, bytes, found, herror);
}

static int model_byaddr(const void *addr, socklen_t len, int type, struct hostent *h, char *room, size_t bytes, struct hostent **found, int *herror)
{
	(void)type;
	read_bytes(addr, len);
	return any_host(h, room, bytes, found, herror);
}

/* What there was, which may be more than there was room for. */
static int any_answer(unsigned char *answer, int room)
{
	int have = (int)next_u32(choices);

	must(room >= 0);
	memset(answer, 1, (size_t)room);
	return next_byte(choices) & 1 ? have : room;
}

static int model_query(const char *name, int class, int type, unsigned char *answer, int room)
{
	(void)class, (void)type;
	read_text(name);
	must(name != NULL);
	return any_answer(answer, room);
}

static int model_querydomain(const char *name, const char *domain, int class, int type, unsigned char *answer, int room)
{
	read_text(domain);
	return model_query(name, class, type, answer, room);
}

static int model_send(const unsigned char *message, int bytes, unsigned char *answer, int room)
{
	must(bytes >= (int)sizeof(HEADER));
	read_bytes(message, (size_t)bytes);
	return any_answer(answer, room);
}

/* --- the target --- */

static struct names_text some(struct input *in, uint8_t *to, bool text)
{
	uint8_t n = next_byte(in);

	next_bytes(in, to, n);
	for (size_t i = 0; text && i < n; i++)
		to[i] = to[i] ? to[i] : '.';
	return (struct names_text){ n & 1 ? to : NULL, n };
}

static void choose_conf(struct input *in, struct names_conf *c)
{
	next_bytes(in, c, sizeof(*c) - sizeof(c->search));
	c->servers %= NAMES_SERVERS_MAX + 1;
	for (uint32_t i = 0; i < NAMES_SERVERS_MAX; i++)
		c->server[i].family = c->server[i].family & 1 ? AF_INET6 : AF_INET;
	c->search_bytes = next_byte(in) * 3u;
	memset(c->search, 'd', sizeof(c->search));
	for (uint32_t i = 7; i < c->search_bytes; i += 1u + next_byte(in))
		c->search[i] = 0;
	if (c->search_bytes)
		c->search[c->search_bytes - 1] = 0;
}

/* As a shim writes it; the reply as a shim reads it. */
static void carry_out(const struct names_ask *sent)
{
	struct names_out record = { 0 }, out = { 0 };
	struct names_ask ask;
	struct names_reply r;
	struct names_item item;

	if (names_ask_put(&record, sent) == 0 && names_ask_get(&ask, record.at, record.bytes) == 0 && lookup(&ask, &out) == 0) {
		must(names_reply_get(&r, out.at, out.bytes) == 0 && r.call == sent->call);
		while (names_item_get(&r, &item)) {
			read_bytes(item.a.at, item.a.at ? item.a.bytes : 0);
			read_bytes(item.b.at, item.b.at ? item.b.bytes : 0);
		}
	}
	free(record.at);
	free(out.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const int32_t edges[] = { -1, 0, 1, 16, 17, 255, 4096, 65536, INT32_MAX, INT32_MIN };
	struct input in = { data, data + n };
	uint8_t how = next_byte(&in), bytes[3][256];
	struct names_ask ask = { .call = NAMES_ADDRINFO + how % (NAMES_IF_ADDRESSES - NAMES_ADDRINFO), .has_conf = how & 128 };

	choices = &in;
	for (size_t i = 0; i < 6; i++) {
		uint8_t which = next_byte(&in);

		ask.n[i] = which & 128 ? (int32_t)next_u32(&in) : edges[which % (sizeof(edges) / sizeof(edges[0]))];
	}
	ask.a = some(&in, bytes[0], true);
	ask.b = some(&in, bytes[1], true);
	ask.data = some(&in, bytes[2], ask.call == NAMES_ADDRINFO);
	if (ask.has_conf)
		choose_conf(&in, &ask.conf);
	carry_out(&ask);
	return 0;
}
