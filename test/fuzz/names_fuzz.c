// SPDX-License-Identifier: Apache-2.0
/*
 * names_fuzz.c - libFuzzer target: asks as a hostile application sends them, and replies as a hostile resolver does.
 * Trust: none. Replies go all the way through the shim's own functions, whose results are read to the last byte. The first byte
 * picks what is tried; half of the replies are well-formed records with senseless contents, which luck would seldom make.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Under names of their own: a sanitizer has its own getaddrinfo. */
#define getaddrinfo tried_getaddrinfo
#define freeaddrinfo tried_freeaddrinfo
#define getnameinfo tried_getnameinfo
#define gethostbyname tried_gethostbyname
#define gethostbyname2 tried_gethostbyname2
#define gethostbyaddr tried_gethostbyaddr
#define gethostbyname_r tried_gethostbyname_r
#define gethostbyname2_r tried_gethostbyname2_r
#define gethostbyaddr_r tried_gethostbyaddr_r
#define getifaddrs tried_getifaddrs
#define if_nametoindex tried_if_nametoindex
#define if_indextoname tried_if_indextoname

void tried_freeaddrinfo(struct addrinfo *ai);

int tried_getifaddrs(struct ifaddrs **list);
unsigned int tried_if_nametoindex(const char *name);
char *tried_if_indextoname(unsigned int index, char name[IF_NAMESIZE]);

#include "shim/interfaces.c"
#include "shim/names.c"
#include "shim/names_host.c"
#include "shim/names_res.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const uint8_t *given;
static size_t given_bytes;
static bool well_formed;
static volatile uint8_t sink;

static void must(bool good)
{
	if (!good)
		abort();
}

const struct libc *libc(void)
{
	abort();
}

/* libc's own, written out: what the shim makes must be what this frees. */
void tried_freeaddrinfo(struct addrinfo *ai)
{
	while (ai) {
		struct addrinfo *next = ai->ai_next;

		free(ai->ai_canonname);
		free(ai);
		ai = next;
	}
}

static uint8_t next_byte(void)
{
	if (!given_bytes)
		return 0;
	given_bytes--;
	return *given++;
}

static struct names_text next_text(void)
{
	uint8_t n = next_byte();
	struct names_text t = { given, n > given_bytes ? (uint32_t)given_bytes : n };

	if (n == 255)
		return (struct names_text){ NULL, 0 };
	given += t.bytes;
	given_bytes -= t.bytes;
	return t;
}

static void make_reply(struct names_out *out, uint32_t call)
{
	struct names_reply r = { .call = call, .value = (int8_t)next_byte(), .error = next_byte(), .herror = (int8_t)next_byte() };

	names_reply_begin(out, &r);
	while (given_bytes) {
		struct names_item item = { .n = { (int8_t)next_byte(), (int8_t)next_byte(), next_byte(), next_byte() } };

		item.a = next_text();
		item.b = next_text();
		names_item_put(out, &item);
	}
	must(names_reply_end(out) == 0);
}

int names_lookup(struct names_ask *ask, struct names_answer *answer)
{
	return names_ask(ask, answer);
}

int names_ask(struct names_ask *ask, struct names_answer *answer)
{
	struct names_out out = { 0 };

	answer->record = NULL;
	answer->fd = -1;
	if (well_formed) {
		make_reply(&out, ask->call);
	} else {
		out.at = malloc(given_bytes + 1);
		must(out.at != NULL);
		memcpy(out.at, given, given_bytes);
		out.bytes = given_bytes;
	}
	if (names_reply_get(&answer->r, out.at, out.bytes) < 0 || answer->r.call != ask->call) {
		must(!well_formed);
		free(out.at);
		return -EAGAIN;
	}
	answer->record = out.at;
	return 0;
}

static void look(const void *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sink ^= ((const uint8_t *)at)[i];
}

static void look_host(const struct hostent *h)
{
	if (!h)
		return;
	look(h->h_name, strlen(h->h_name) + 1);
	for (char **alias = h->h_aliases; *alias; alias++)
		look(*alias, strlen(*alias) + 1);
	for (char **addr = h->h_addr_list; *addr; addr++)
		look(*addr, (size_t)h->h_length);
}

static void try_addrinfo(void)
{
	struct addrinfo *list = NULL;

	if (getaddrinfo("name", "80", NULL, &list))
		return;
	for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		look(ai->ai_addr, ai->ai_addrlen);
		if (ai->ai_canonname)
			look(ai->ai_canonname, strlen(ai->ai_canonname) + 1);
	}
	freeaddrinfo(list);
}

static void try_nameinfo(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	char host[20] = "", service[8] = "";

	if (getnameinfo((struct sockaddr *)&in, sizeof(in), host, sizeof(host), service, sizeof(service), 0) == 0)
		must(memchr(host, 0, sizeof(host)) && memchr(service, 0, sizeof(service)));
}

static void try_host_r(size_t bytes)
{
	char *room = malloc(bytes + 1); /* exactly as long as is said, and often not aligned */
	struct hostent h, *found = NULL;
	int herror, r;

	must(room != NULL);
	r = gethostbyname_r("name", &h, room + 1, bytes, &found, &herror);
	must(!found || (r == 0 && found == &h));
	look_host(found);
	free(room);
}

static void try_res(size_t room)
{
	unsigned char *answer = malloc(room + 1);

	must(answer != NULL);
	res_query("name", 1, 1, answer, (int)room);
	free(answer);
}

static void look_address(const struct sockaddr *sa)
{
	if (sa)
		look(sa, sizeof(*sa));
}

static void try_addresses(void)
{
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		look(i->ifa_name, strlen(i->ifa_name) + 1);
		look_address(i->ifa_addr);
		look_address(i->ifa_netmask);
		look_address(i->ifa_broadaddr);
	}
	freeifaddrs(list);
}

static void try_interfaces(uint8_t which)
{
	char name[IF_NAMESIZE];
	struct if_nameindex *list;

	if (which % 3 == 0) {
		if_nametoindex("name");
	} else if (which % 3 == 1) {
		must(!if_indextoname(1, name) || memchr(name, 0, sizeof(name)));
	} else {
		list = if_nameindex();
		for (size_t i = 0; list && list[i].if_index; i++)
			look(list[i].if_name, strlen(list[i].if_name) + 1);
		if (list)
			if_freenameindex(list);
	}
}

static void try_ask(const uint8_t *record, size_t n)
{
	struct names_ask ask, again;
	struct names_out out;

	if (names_ask_get(&ask, record, n) < 0)
		return;
	must(!ask.a.at || strlen((const char *)ask.a.at) == ask.a.bytes);
	must(!ask.b.at || strlen((const char *)ask.b.at) == ask.b.bytes);
	must(ask.conf.servers <= NAMES_SERVERS_MAX && ask.conf.search_bytes <= NAMES_SEARCH_MAX);
	must(names_ask_put(&out, &ask) == 0 && out.bytes == n && memcmp(out.at, record, n) == 0);
	must(names_ask_get(&again, out.at, out.bytes) == 0);
	free(out.at);
}

/* An ask of good form from any bytes. */
static void try_made_ask(void)
{
	struct names_ask ask = { .call = NAMES_ADDRINFO + next_byte() % (NAMES_CALLS - 1), .has_conf = next_byte() & 1 };
	struct names_out out;

	if (ask.has_conf)
		for (size_t i = 0; i < sizeof(ask.conf) && given_bytes; i++)
			((uint8_t *)&ask.conf)[i] = next_byte();
	ask.a = next_text();
	ask.b = next_text();
	ask.data = next_text();
	must(names_ask_put(&out, &ask) == 0);
	try_ask(out.at, out.bytes);
	free(out.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 2)
		return 0;
	given = data + 2;
	given_bytes = n - 2;
	well_formed = data[0] & 0x80;
	switch (data[0] % 9) {
	case 0: try_addrinfo(); break;
	case 1: try_nameinfo(); break;
	case 2: look_host(gethostbyname("name")); break;
	case 3: try_host_r(data[1] * 4u); break;
	case 4: try_res(data[1]); break;
	case 5: try_ask(given, given_bytes); break;
	case 6: try_addresses(); break;
	case 7: try_interfaces(data[1]); break;
	default: try_made_ask(); break;
	}
	return 0;
}
